const MAGIC = 0xfd2fb528;
/** The low four bits of a skippable frame's are anything. */
const SKIPPABLE = 0x184d2a5;
const DICTIONARY_ID_BYTES = [0, 1, 2, 4];
const CONTENT_SIZE_BYTES = [0, 2, 4, 8];
const RLE_BLOCK = 1;

/**
 * Finds where the frames of a zstd stream end (RFC 8878, section 3.1), without inflating anything: a body may consist of
 * several, and Node's decoder takes what is left of a write after the end of one for the end of all.
 */
export class ZstdFrames {
  #awaits: "magic" | "descriptor" | "block" | "length" | "frame end" | "nothing" = "magic";
  /** Little-endian, of the field that is being read. */
  #field = 0;
  #fieldBytes = 0;
  #fieldWants = 4;
  /** To be passed over before the next field. */
  #skip = 0;
  #checksumBytes = 0;

  /** Reads on in `data`, from `at`, to the first end of a frame, and returns where that is; the end of `data` without one. */
  read(data: Uint8Array, at: number): number {
    for (let next = at; ;) {
      if (this.#skip > 0) {
        const passed = Math.min(this.#skip, data.length - next);
        this.#skip -= passed;
        next += passed;
        if (this.#skip > 0) return next;
      }
      if (this.#awaits === "frame end") {
        this.#await("magic", 4);
        return next;
      }
      if (next >= data.length) return next;
      // What is no frame is the decoder's to refuse.
      if (this.#awaits === "nothing") return data.length;
      this.#field += (data[next++] as number) * 2 ** (8 * this.#fieldBytes++);
      if (this.#fieldBytes === this.#fieldWants) this.#fieldRead(this.#field);
    }
  }

  #fieldRead(field: number): void {
    switch (this.#awaits) {
      case "magic":
        if (field === MAGIC) this.#await("descriptor", 1);
        else if (Math.floor(field / 16) === SKIPPABLE) this.#await("length", 4);
        else this.#awaits = "nothing";
        break;
      case "length":
        this.#skip = field;
        this.#awaits = "frame end";
        break;
      case "descriptor": {
        const oneSegment = (field & 0x20) !== 0;
        const sizeFlag = field >> 6;
        this.#skip =
          (oneSegment ? 0 : 1) +
          (DICTIONARY_ID_BYTES[field & 3] as number) +
          (oneSegment && sizeFlag === 0 ? 1 : (CONTENT_SIZE_BYTES[sizeFlag] as number));
        this.#checksumBytes = (field & 4) === 0 ? 0 : 4;
        this.#await("block", 3);
        break;
      }
      default: {
        const isLast = (field & 1) !== 0;
        this.#skip = ((field >> 1) & 3) === RLE_BLOCK ? 1 : field >> 3;
        if (isLast) this.#skip += this.#checksumBytes;
        this.#await(isLast ? "frame end" : "block", 3);
      }
    }
  }

  #await(what: "magic" | "descriptor" | "block" | "length" | "frame end", bytes: number): void {
    this.#awaits = what;
    this.#field = 0;
    this.#fieldBytes = 0;
    this.#fieldWants = bytes;
  }
}

/** Whether it is one frame and nothing more, or nothing that could be told apart. */
export function isOneFrame(data: Uint8Array): boolean {
  return new ZstdFrames().read(data, 0) === data.length;
}
