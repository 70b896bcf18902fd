import { field } from "../harness/values.ts";

const BYTES = 1024;

/** The document of an id: JSON of exactly 1 KiB. */
export function documentOf(id: number): string {
  const head = `{"id":${id},"object":"document","tags":["alpha","beta","gamma"],"score":0.875,"text":"`;
  return `${head}${"abcdefghij".repeat(BYTES / 10).slice(0, BYTES - head.length - 2)}"}`;
}

export function isDocument(value: unknown, id: number): boolean {
  const text = field(value, "text");
  return (
    field(value, "id") === id && Array.isArray(field(value, "tags")) && typeof text === "string" && text.length > 900
  );
}
