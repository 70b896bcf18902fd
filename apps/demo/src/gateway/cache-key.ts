import { createHash, createHmac, randomBytes } from "node:crypto";
import type { IncomingMessage } from "node:http";

/** JSON with the keys of every object sorted, so that two spellings of one request have one key. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) =>
    inner !== null && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).toSorted(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)))
      : inner,
  );
}

/** `<kind>:<model>:<hash>`; the hash covers all that the answer depends on, and whose request it is. */
export function cacheKey(kind: "inference" | "embedding", model: string, tenant: string, content: unknown): string {
  const hash = createHash("sha256")
    .update(canonicalJson([tenant, content]))
    .digest("base64url");
  return `${kind}:${model}:${hash}`;
}

// A new secret each start: a key that leaks says nothing about a credential.
const secret = randomBytes(32);

/** Requests with different credentials never share an answer. */
export function tenantOf(request: IncomingMessage): string {
  const credential = request.headers.authorization ?? request.headers["x-api-key"] ?? "";
  return credential === "" ? "" : createHmac("sha256", secret).update(String(credential)).digest("base64url");
}
