/**
 * The events of a stream, kept small: a chunk differs from the one before it in a few characters, so of each event only
 * what lies between the bytes that it begins with and ends with in common is kept. A stream of tokens takes about a tenth.
 */
export class PackedFrames {
  /** For each event: bytes in common at the start, bytes in common at the end, bytes of its own. */
  readonly table: Uint32Array;
  /** What each event has of its own, one after another. */
  readonly own: Buffer;
  /** All events together, unpacked. */
  readonly totalBytes: number;

  constructor(frames: readonly Buffer[]) {
    this.table = new Uint32Array(frames.length * 3);
    const parts: Buffer[] = [];
    let before: Buffer = EMPTY;
    let total = 0;
    for (const [i, frame] of frames.entries()) {
      const longest = Math.min(before.length, frame.length);
      let start = 0;
      while (start < longest && before[start] === frame[start]) start++;
      let end = 0;
      while (end < longest - start && before[before.length - 1 - end] === frame[frame.length - 1 - end]) end++;
      const middle = frame.subarray(start, frame.length - end);
      this.table.set([start, end, middle.length], i * 3);
      parts.push(middle);
      total += frame.length;
      before = frame;
    }
    // A copy of its own: a view would keep the whole frames alive. No pool: nor would it keep a stranger's slab.
    this.own = Buffer.alloc(parts.reduce((sum, part) => sum + part.length, 0));
    let offset = 0;
    for (const part of parts) offset += part.copy(this.own, offset);
    this.totalBytes = total;
  }

  get length(): number {
    return this.table.length / 3;
  }

  /** All events, byte for byte, in one buffer; each is a view of it. */
  unpack(): { all: Buffer; frames: Buffer[] } {
    const all = Buffer.allocUnsafe(this.totalBytes);
    const frames: Buffer[] = [];
    let at = 0;
    let taken = 0;
    let before: Buffer = EMPTY;
    for (let i = 0; i < this.table.length; i += 3) {
      const [start, end, middle] = this.table.subarray(i, i + 3) as unknown as [number, number, number];
      const from = at;
      at += before.copy(all, at, 0, start);
      at += this.own.copy(all, at, taken, taken + middle);
      at += before.copy(all, at, before.length - end);
      taken += middle;
      before = all.subarray(from, at);
      frames.push(before);
    }
    return { all, frames };
  }
}

const EMPTY = Buffer.alloc(0);
