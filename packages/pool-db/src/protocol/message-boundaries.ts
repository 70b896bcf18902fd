const HEADER = 5;
const READY_FOR_QUERY = 0x5a;

/**
 * Follows where messages begin and end in bytes that somebody else reads: a type of one byte, then a length of 32 bits that
 * counts itself, then the body. Wherever the chunks are cut.
 */
export class MessageBoundaries {
  /** What is still to come of the body under way. */
  #body = 0;
  /** How much has come of a header that is not complete, and the length that it spells. */
  #header = 0;
  #length = 0;
  #type = 0;
  #ready = 0;

  /** Whether no message is under way. */
  get between(): boolean {
    return this.#body === 0 && this.#header === 0;
  }

  /** Follows the message under way, and returns where it ends in the chunk, or the chunk's length. */
  finish(chunk: Buffer): number {
    let at = 0;
    while (!this.between && at < chunk.length) at = this.#step(chunk, at);
    return at;
  }

  /** Follows the rest of the chunk. Returns what the last ReadyForQuery in it says, or 0 where there is none. */
  follow(chunk: Buffer, from: number): number {
    let at = from;
    this.#ready = 0;
    while (at < chunk.length) at = this.#step(chunk, at);
    return this.#ready;
  }

  /** To the end of a message, or of the chunk. */
  #step(chunk: Buffer, from: number): number {
    let at = from;
    if (this.#body === 0) {
      for (; this.#header < HEADER && at < chunk.length; this.#header++, at++) {
        if (this.#header > 0) this.#length = this.#length * 256 + (chunk[at] as number);
        else this.#type = chunk[at] as number;
      }
      if (this.#header < HEADER) return at;
      this.#body = Math.max(0, this.#length - 4);
      this.#header = 0;
      this.#length = 0;
    }
    const taken = Math.min(this.#body, chunk.length - at);
    if (this.#type === READY_FOR_QUERY && taken > 0) this.#ready = chunk[at] as number;
    this.#body -= taken;
    return at + taken;
  }
}
