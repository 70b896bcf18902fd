import type { LineOwner } from "./sink.ts";

/** A line that was not written at once. */
export interface HeldLine {
  readonly line: string;
  readonly bytes: number;
  readonly level: number;
  readonly owner: LineOwner;
}

const hold = (line: string, level: number, owner: LineOwner): HeldLine => ({
  line,
  bytes: Buffer.byteLength(line),
  level,
  owner,
});

/** Lines that are gathered to be written together. To add one costs little more than to add its text. */
export class LineBatch {
  readonly #lines: string[] = [];
  readonly #levels: number[] = [];
  readonly #owners: LineOwner[] = [];
  count = 0;
  text = "";

  add(line: string, level: number, owner: LineOwner): void {
    const index = this.count++;
    this.#lines[index] = line;
    this.#levels[index] = level;
    this.#owners[index] = owner;
    this.text += line;
  }

  /** Empties the batch; the room for its lines is used again. */
  clear(): void {
    this.count = 0;
    this.text = "";
  }

  /** Empties the batch, and gives its lines one by one. */
  take(): HeldLine[] {
    const held: HeldLine[] = [];
    for (let index = 0; index < this.count; index++) {
      held.push(hold(this.#lines[index] as string, this.#levels[index] as number, this.#owners[index] as LineOwner));
    }
    this.clear();
    return held;
  }
}

/** Lines that are being written, encoded: of the first of them a part may be out. */
export class Chunk {
  readonly #lines: readonly HeldLine[];
  #written: number;
  rest: Buffer;

  /** @param written bytes of these lines that are out already */
  constructor(lines: readonly HeldLine[], written = 0) {
    this.#lines = lines;
    this.#written = written;
    this.rest = Buffer.from(lines.map(({ line }) => line).join("")).subarray(written);
  }

  static ofLine(line: string, level: number, owner: LineOwner, written: number): Chunk {
    return new this([hold(line, level, owner)], written);
  }

  get isUntouched(): boolean {
    return this.#written === 0;
  }

  advance(bytes: number): void {
    this.#written += bytes;
    this.rest = this.rest.subarray(bytes);
  }

  /** The lines that are not wholly out, the one that is out in part first. */
  unfinished(): readonly HeldLine[] {
    let end = 0;
    return this.#lines.filter(({ bytes }) => {
      end += bytes;
      return end > this.#written;
    });
  }

  /** Whether a line is out in part. */
  get isTorn(): boolean {
    let start = 0;
    for (const { bytes } of this.#lines) {
      if (start >= this.#written) break;
      start += bytes;
    }
    return start > this.#written;
  }
}

interface Queued extends HeldLine {
  readonly order: number;
}

/** Takes at both ends. */
class LineQueue {
  #lines: (Queued | undefined)[] = [];
  #first = 0;

  get first(): Queued | undefined {
    return this.#lines[this.#first];
  }

  push(line: Queued): void {
    this.#lines.push(line);
  }

  shift(): void {
    this.#lines[this.#first++] = undefined;
    if (this.#first >= 1024 && this.#first * 2 >= this.#lines.length) {
      this.#lines = this.#lines.slice(this.#first);
      this.#first = 0;
    }
  }

  pop(): Queued | undefined {
    return this.#lines.length > this.#first ? this.#lines.pop() : undefined;
  }
}

/**
 * Lines that wait for a destination that takes none: in order, within a limit, and when that is reached the lowest level
 * makes room, its newest line first. One queue a level, so that both cost the same however many lines wait.
 */
export class Backlog {
  readonly #queues = new Map<number, LineQueue>();
  /** The levels that came up, the lowest first. */
  #levels: number[] = [];
  #order = 0;
  count = 0;
  bytes = 0;

  /** @param drop is given the lines that must go, which may be this one */
  add(held: HeldLine, limitBytes: number, drop: (line: HeldLine) => void): void {
    while (this.bytes + held.bytes > limitBytes) {
      const lower = this.#newestBelow(held.level);
      if (lower === undefined) {
        drop(held);
        return;
      }
      this.#removed(lower);
      drop(lower);
    }
    let queue = this.#queues.get(held.level);
    if (queue === undefined) {
      this.#queues.set(held.level, (queue = new LineQueue()));
      this.#levels = [...this.#queues.keys()].toSorted((a, b) => a - b);
    }
    queue.push({ ...held, order: this.#order++ });
    this.count++;
    this.bytes += held.bytes;
  }

  /** Takes the oldest lines, of so many bytes together, and one at least; none where there is none. */
  take(bytes: number): HeldLine[] {
    const taken: HeldLine[] = [];
    for (let room = bytes; ;) {
      const queue = this.#oldestQueue();
      const line = queue?.first;
      if (queue === undefined || line === undefined || (taken.length > 0 && line.bytes > room)) return taken;
      queue.shift();
      this.#removed(line);
      taken.push(line);
      room -= line.bytes;
    }
  }

  #oldestQueue(): LineQueue | undefined {
    let oldest: LineQueue | undefined;
    for (const queue of this.#queues.values()) {
      const order = queue.first?.order;
      if (order !== undefined && order < (oldest?.first?.order ?? Infinity)) oldest = queue;
    }
    return oldest;
  }

  #newestBelow(level: number): HeldLine | undefined {
    for (const lower of this.#levels) {
      if (lower >= level) return undefined;
      const line = this.#queues.get(lower)?.pop();
      if (line !== undefined) return line;
    }
    return undefined;
  }

  #removed(line: HeldLine): void {
    this.count--;
    this.bytes -= line.bytes;
  }
}
