import { randomFillSync } from "node:crypto";

/** To ask the system for each id alone costs more than all else about it. */
const POOL_BYTES = 8_192;
const pool: Buffer = Buffer.allocUnsafeSlow(POOL_BYTES);
let used = POOL_BYTES;

/** Enough for one of each kind. */
const ID_BYTES = 40;
const VARIANTS = "89ab";

/** Random digits, of which a request's new ids are parts: one call for them all. */
export class RandomDigits {
  readonly #hex: string;

  constructor() {
    if (used + ID_BYTES > POOL_BYTES) {
      randomFillSync(pool);
      used = 0;
    }
    const start = used;
    used += ID_BYTES;
    this.#hex = pool.toString("hex", start, used);
  }

  /** An id of a trace by W3C Trace Context. */
  get traceId(): string {
    return this.#hex.slice(0, 32);
  }

  /** An id of a span in it. */
  get spanId(): string {
    return this.#hex.slice(32, 48);
  }

  /** A UUID of version 4 (RFC 9562). */
  get uuid(): string {
    const hex = this.#hex;
    const variant = VARIANTS.charAt(hex.charCodeAt(64) & 3);
    return `${hex.slice(48, 56)}-${hex.slice(56, 60)}-4${hex.slice(61, 64)}-${variant}${hex.slice(65, 68)}-${hex.slice(68)}`;
  }
}
