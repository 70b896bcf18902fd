import { randomUUID } from "node:crypto";
import { describeValue } from "@vg/internal";

/** A FormData, of whichever implementation: Node's own, undici's, and others' all call themselves so. */
export function isFormData(value: object): value is FormData {
  const { entries } = value as { entries?: unknown };
  return (
    (value as { [Symbol.toStringTag]?: unknown })[Symbol.toStringTag] === "FormData" && typeof entries === "function"
  );
}

/**
 * A form as multipart/form-data (RFC 7578, with names escaped as the HTML standard does it). It is a Blob of the form's
 * own Blobs, so files stay where they are until they are sent; its size is known, and it can be sent again.
 */
export function multipart(form: FormData): Blob {
  const boundary = `vg-form-${randomUUID()}`;
  const parts: (string | Blob)[] = [];
  for (const [name, value] of form.entries() as Iterable<[string, unknown]>) {
    const head = `--${boundary}\r\ncontent-disposition: form-data; name="${escapeName(normalizeLines(name))}"`;
    if (typeof value === "string") {
      parts.push(`${head}\r\n\r\n${normalizeLines(value)}\r\n`);
    } else if (value instanceof Blob) {
      const { name: file } = value as { name?: unknown };
      const type = value.type === "" ? "application/octet-stream" : value.type;
      const filename = escapeName(typeof file === "string" ? file : "blob");
      parts.push(`${head}; filename="${filename}"\r\ncontent-type: ${type}\r\n\r\n`, value, "\r\n");
    } else {
      throw new Error(`a form's field must be a string, a Blob or a File, got ${describeValue(value)}`);
    }
  }
  parts.push(`--${boundary}--\r\n`);
  return new Blob(parts, { type: `multipart/form-data; boundary=${boundary}` });
}

function normalizeLines(text: string): string {
  return text.replace(/\r\n|\r|\n/g, "\r\n");
}

function escapeName(name: string): string {
  return name.replace(/\r/g, "%0D").replace(/\n/g, "%0A").replace(/"/g, "%22");
}
