import type { InternalAxiosRequestConfig } from "axios";
import { ACCEPT_ENCODING } from "../exchange/decode.ts";

/** The pool's own business; axios adds some of them, and callers out of habit. */
const IGNORED = new Set(["connection", "keep-alive", "transfer-encoding", "upgrade", "content-length", "expect"]);

/** The headers of an axios request, with what its other settings say of them. */
export function axiosHeaders(
  { headers, auth, decompress }: InternalAxiosRequestConfig,
  contentType: string | undefined,
): Record<string, string | string[]> {
  const result: Record<string, string | string[]> = {};
  for (const [name, value] of Object.entries(headers.toJSON() as Record<string, unknown>)) {
    const key = name.toLowerCase();
    if (IGNORED.has(key) || value === null || value === undefined || value === false) continue;
    result[key] = Array.isArray(value) ? value.map((item) => String(item as number)) : String(value as number);
  }
  if (contentType !== undefined) result["content-type"] = contentType;
  if (auth !== undefined) {
    const pair = Buffer.from(`${auth.username ?? ""}:${auth.password ?? ""}`);
    result["authorization"] = `Basic ${pair.toString("base64")}`;
  }
  // Who names it undoes it: the pool then leaves the body as it came.
  if (decompress === false) result["accept-encoding"] ??= ACCEPT_ENCODING;
  return result;
}
