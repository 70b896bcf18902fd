import { createHash } from "node:crypto";

/** The weakest first: only the strongest that is named counts. */
const ALGORITHMS = ["sha256", "sha384", "sha512"];

/**
 * Whether a body is what `integrity` (Subresource Integrity, W3C) says: one of the digests of the strongest algorithm
 * that it names. What names no algorithm that is known says nothing; a malformed digest of a known one fits nothing.
 */
export function matchesIntegrity(body: Uint8Array, integrity: string): boolean {
  const digests = integrity.split(/\s+/).flatMap((item) => {
    const [, algorithm = "", digest = ""] = /^(sha256|sha384|sha512)-([^?]+)/i.exec(item) ?? [];
    return digest === "" ? [] : [{ strength: ALGORITHMS.indexOf(algorithm.toLowerCase()), digest }];
  });
  const strength = Math.max(-1, ...digests.map((one) => one.strength));
  if (strength < 0) return true;
  const expected = createHash(ALGORITHMS[strength] as string)
    .update(body)
    .digest();
  return digests.some((one) => one.strength === strength && Buffer.from(one.digest, "base64").equals(expected));
}
