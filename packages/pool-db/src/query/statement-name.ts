import { createHash } from "node:crypto";

/**
 * The name by which a connection prepares a text. It is made of the text, so nobody ever means another text by it: where
 * a pooler that was not declared mixes sessions up, a statement is missing or there twice, which the server says, and is
 * never a stranger's, which it would not say.
 */
export function nameFor(text: string): string {
  return `vg_${createHash("sha256").update(text).digest("base64url").slice(0, 22)}`;
}
