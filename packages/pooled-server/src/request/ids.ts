import { randomFillSync } from "node:crypto";

/** To ask the system for each id alone costs more than all else about it. */
const POOL_BYTES = 8_192;
const pool: Buffer = Buffer.allocUnsafeSlow(POOL_BYTES);
let used = POOL_BYTES;

/** So many random bytes, in lower-case hex. */
function randomHex(bytes: number): string {
  if (used + bytes > POOL_BYTES) {
    randomFillSync(pool);
    used = 0;
  }
  const start = used;
  used += bytes;
  return pool.toString("hex", start, used);
}

/** An id of a trace by W3C Trace Context. */
export function newTraceId(): string {
  return randomHex(16);
}

/** An id of a span in it. */
export function newSpanId(): string {
  return randomHex(8);
}
