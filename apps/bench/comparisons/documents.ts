import { isDeepStrictEqual } from "node:util";

const BYTES = 1024;

/** The document of an id: JSON of exactly 1 KiB. */
export function documentOf(id: number): string {
  const head = `{"id":${id},"object":"document","tags":["alpha","beta","gamma"],"score":0.875,"text":"`;
  return `${head}${"abcdefghij".repeat(BYTES / 10).slice(0, BYTES - head.length - 2)}"}`;
}

/** Kept, so that what a check costs is the comparison alone; the same for every contender. */
const parsed = new Map<number, unknown>();

/** Whether a parsed document is that of the id, in every field. */
export function isDocument(value: unknown, id: number): boolean {
  let expected = parsed.get(id);
  if (expected === undefined) parsed.set(id, (expected = JSON.parse(documentOf(id))));
  return isDeepStrictEqual(value, expected);
}
