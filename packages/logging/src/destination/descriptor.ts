import { EndWatch } from "./end-watch.ts";
import { Backlog, Chunk, LineBatch } from "./held-lines.ts";
import { NextTry } from "./next-try.ts";
import { processEnd, type HoldsLines } from "./process-end.ts";
import { codeOf, Droppers, type FlushReport, type LineOwner, type Sink } from "./sink.ts";
import { realSystem, withoutWaiting, type System } from "./system.ts";

/** How long a line may wait for a reader that is behind, before lines are dropped until it has caught up. */
const STALL_LIMIT_MS = 100;
const STALL_STEP_MS = 5;
/** The same at the end of the process, where nothing else waits; and how long that may take as a whole. */
const END_STALL_LIMIT_MS = 1000;
const END_LIMIT_MS = 5000;
/** How often it is checked that a number still means the same file. */
const IDENTITY_EVERY_MS = 50;
/** A write of that size to a pipe is not mixed with those of other processes (PIPE_BUF). */
const CHUNK_BYTES = 4096;
/** After these the descriptor will never take another line. */
const FINAL = new Set(["EPIPE", "EBADF", "ECONNRESET", "ENXIO"]);

/** How long may be waited for a reader: at a stretch, and altogether. */
interface Patience {
  readonly stallMs: number;
  readonly totalMs: number;
}
const NONE: Patience = { stallMs: 0, totalMs: STALL_LIMIT_MS };
const SOME: Patience = { stallMs: STALL_LIMIT_MS, totalMs: STALL_LIMIT_MS };
const LAST: Patience = { stallMs: END_STALL_LIMIT_MS, totalMs: END_LIMIT_MS };

interface DescriptorOptions {
  /** Opens the file of a descriptor that is the sink's own. */
  readonly open?: () => number;
  /** What must still be open under the number; `undefined`: that is not checked. */
  readonly file?: string | undefined;
  readonly system?: System;
}

/**
 * A file descriptor. A line is written before the log call returns, so that it is out before whatever ends the process;
 * or, for a logger that buffers, with others, when enough have come, some time has passed, or the process ends.
 *
 * Invariants: the descriptor only ever gets whole lines, in the order in which they were logged. What was handed to it
 * first is what it takes first: the rest of a chunk that it took in part, the backlog, the batch that is gathered now.
 */
export class DescriptorSink implements Sink, HoldsLines {
  #fd: number;
  readonly #open: (() => number) | undefined;
  readonly #file: string | undefined;
  readonly #system: System;
  #checkedAt = -Infinity;

  #chunk: Chunk | undefined;
  readonly #backlog = new Backlog();
  readonly #batch = new LineBatch();
  readonly #droppers = new Droppers();

  readonly #next: NextTry;
  readonly #endWatch: EndWatch;
  /** The reader is behind: don't wait for it again until it has taken something. */
  #stalled = false;
  #waiting: (() => void)[] = [];
  #closing: Promise<FlushReport> | undefined;
  #isGone = false;
  ended = false;
  lastFailure: string | null = null;
  readonly wantsMetadata = false;

  constructor(fd: number, { open, file, system = realSystem }: DescriptorOptions = {}) {
    this.#fd = fd;
    this.#open = open;
    this.#file = file;
    this.#system = system;
    this.#next = new NextTry(system, () => this.#drain(NONE));
    this.#endWatch = new EndWatch(this, system, () => !this.#holdsSome && (this.ended || this.#droppers.isEmpty));
  }

  /** Standard output and error only: others may be closed by those who opened them, and then their reader must see it. */
  stopWaiting(): void {
    if (this.#fd === 1 || this.#fd === 2) this.#fd = withoutWaiting(this.#fd);
  }

  get bufferedBytes(): number {
    return (this.#chunk?.rest.length ?? 0) + this.#backlog.bytes + Buffer.byteLength(this.#batch.text);
  }

  write(line: string, level: number, owner: LineOwner): void {
    const { buffering } = owner;
    if (buffering === undefined || this.ended || this.#closing !== undefined) {
      this.#writeNow(line, level, owner);
      return;
    }
    const batch = this.#batch;
    if (batch.count > 0 && batch.text.length + line.length > buffering.sizeBytes) this.#drain(NONE);
    // Which may have found that there is nothing to write to any more.
    if (this.ended) {
      this.#drop(level, owner);
      return;
    }
    batch.add(line, level, owner);
    if (batch.text.length >= buffering.sizeBytes) this.#drain(NONE);
    else if (batch.count === 1 || !this.#next.isSet) this.#gather(buffering.flushIntervalMs);
  }

  flushSync(): void {
    this.#stalled = false;
    this.#drain(SOME);
  }

  async flush(deadlineMs: number): Promise<FlushReport> {
    this.#stalled = false;
    if (!this.#drain(NONE) && !this.ended && deadlineMs > 0) {
      await new Promise<void>((resume) => {
        const deadline = this.#system.startTimer(resume, deadlineMs, true);
        this.#waiting.push(() => {
          deadline.cancel();
          resume();
        });
      });
      // Who had lost lines has just said so.
      this.#drain(NONE);
    }
    this.#endWatch.leaveIfIdle();
    return this.#left();
  }

  close(deadlineMs: number): Promise<FlushReport> {
    if (this.#open === undefined) return this.#leave(deadlineMs);
    return (this.#closing ??= this.#close(deadlineMs));
  }

  reopen(): boolean {
    if (this.#open === undefined || this.#closing !== undefined) return false;
    if (!this.ended) this.#drain(SOME);
    let fd: number;
    try {
      fd = this.#open();
    } catch (error) {
      this.lastFailure = codeOf(error);
      return false;
    }
    // A line of which a part is in the old file can't be finished in the new one.
    const left = this.#chunk;
    this.#chunk = undefined;
    if (left !== undefined) {
      const [first, ...others] = left.unfinished();
      if (first !== undefined && left.isTorn) this.#droppers.drop(first.owner, first.level, this.#reason());
      else if (first !== undefined) others.unshift(first);
      if (others.length > 0) this.#chunk = new Chunk(others);
    }
    this.#closeDescriptor();
    this.#fd = fd;
    this.#isGone = false;
    this.ended = false;
    this.#next.forgetFailures();
    this.#drain(NONE);
    this.#droppers.report();
    return true;
  }

  flushAtEnd(last: boolean): void {
    this.#stalled = false;
    if (last) this.#next.cancel();
    const patience = last ? LAST : SOME;
    this.#drain(patience);
    if (this.ended || this.#droppers.isEmpty) return;
    this.#droppers.report(true);
    this.#drain(patience);
  }

  settle(): undefined {
    return undefined;
  }

  async #leave(deadlineMs: number): Promise<FlushReport> {
    await this.flush(deadlineMs);
    if (!this.ended) this.#droppers.report(true);
    this.#drain(NONE);
    this.#endWatch.leaveIfIdle();
    return this.#left();
  }

  async #close(deadlineMs: number): Promise<FlushReport> {
    // Before it first waits, so that no line that comes later is taken.
    if (!this.ended) {
      this.#drain(NONE);
      this.#droppers.report(true);
    }
    const left = this.#drain(NONE) || this.ended ? this.#left() : await this.flush(deadlineMs);
    if (!this.ended) this.#giveUp();
    this.#closeDescriptor();
    return left;
  }

  #writeNow(line: string, level: number, owner: LineOwner): void {
    if (this.ended || this.#closing !== undefined || (this.#holdsSome && !this.#drain(SOME))) {
      this.#drop(level, owner);
      return;
    }
    const size = Buffer.byteLength(line);
    let chunk: Chunk;
    try {
      const written = this.#system.write(this.#fd, line);
      this.#stalled = false;
      if (written === size) {
        if (!this.#droppers.isEmpty) this.#report();
        return;
      }
      chunk = Chunk.ofLine(line, level, owner, written);
    } catch (error) {
      if (!this.#retryLater(error)) {
        this.#drop(level, owner);
        return;
      }
      chunk = Chunk.ofLine(line, level, owner, 0);
    }
    this.#chunk = chunk;
    if (this.#drain(SOME) || this.ended || !chunk.isUntouched) return;
    // Not a byte of it went out, so it need not be finished.
    this.#chunk = undefined;
    this.#drop(level, owner);
    this.#next.cancel();
  }

  get #holdsSome(): boolean {
    return this.#chunk !== undefined || this.#backlog.count > 0 || this.#batch.count > 0;
  }

  /**
   * Writes what is held. What the descriptor doesn't take now waits, within the limit, and is tried again later.
   *
   * @returns whether it has taken all
   */
  #drain(patience: Patience): boolean {
    if (this.ended) return false;
    if (this.#file !== undefined && !this.#isSameFile()) return false;
    if (this.#chunk === undefined && this.#backlog.count === 0) {
      const batch = this.#batch;
      if (batch.count === 0) return true;
      const size = Buffer.byteLength(batch.text);
      let written = 0;
      try {
        written = this.#system.write(this.#fd, batch.text);
      } catch (error) {
        this.#retryLater(error);
        if (this.ended) return false;
      }
      if (written === size) {
        batch.clear();
        this.#stalled = false;
        this.#report();
        return true;
      }
      this.#chunk = new Chunk(batch.take(), written);
    }
    return this.#drainHeld(patience);
  }

  #drainHeld({ stallMs, totalMs }: Patience): boolean {
    const system = this.#system;
    const end = system.now() + totalMs;
    let waited = 0;
    let isTaking = false;
    while ((this.#chunk ??= this.#nextChunk()) !== undefined) {
      let written = 0;
      let canWait = true;
      try {
        written = system.write(this.#fd, this.#chunk.rest);
      } catch (error) {
        canWait = this.#retryLater(error);
        if (this.ended) return false;
      }
      if (written > 0) {
        isTaking = true;
        waited = 0;
        this.#stalled = false;
        this.#next.forgetFailures();
        this.#chunk.advance(written);
        if (this.#chunk.rest.length === 0) this.#chunk = undefined;
        if (system.now() < end) continue;
      } else if (canWait && !this.#stalled && waited < stallMs && system.now() < end) {
        system.pause(STALL_STEP_MS);
        waited += STALL_STEP_MS;
        continue;
      }
      if (written === 0) this.#stalled = true;
      this.#keepBatch();
      this.#retry(canWait);
      if (isTaking && this.#chunk === undefined) this.#droppers.report();
      return false;
    }
    this.#caughtUp();
    return true;
  }

  /** The oldest lines that wait: of the backlog, else of the batch. */
  #nextChunk(): Chunk | undefined {
    if (this.#backlog.count > 0) return new Chunk(this.#backlog.take(CHUNK_BYTES));
    return this.#batch.count > 0 ? new Chunk(this.#batch.take()) : undefined;
  }

  #keepBatch(): void {
    if (this.#batch.count === 0) return;
    for (const held of this.#batch.take()) {
      const { limitBytes = 0, sizeBytes = 0 } = held.owner.buffering ?? {};
      // The chunk, and the next batch, count too.
      const room = Math.max(limitBytes - (this.#chunk?.rest.length ?? 0) - Math.min(sizeBytes, limitBytes / 2), 0);
      this.#backlog.add(held, room, ({ owner, level }) => this.#droppers.drop(owner, level, this.#reason()));
    }
  }

  #caughtUp(): void {
    this.#next.cancelRetry();
    for (const resume of this.#waiting.splice(0)) resume();
    this.#report();
  }

  /** The descriptor has taken lines: so it may take word of those that it didn't. */
  #report(): void {
    if (!this.#droppers.isEmpty) this.#droppers.report();
    this.#endWatch.leaveSoon();
  }

  #drop(level: number, owner: LineOwner): void {
    this.#droppers.drop(owner, level, this.#reason());
    // The process should not end without a word about it, should there be room by then.
    if (!this.ended && this.#closing === undefined) this.#endWatch.start();
  }

  #reason(): string {
    return this.#closing === undefined ? (this.lastFailure ?? "closed") : "closed";
  }

  /** Notes a failure; whether it is only that the reader is behind. */
  #retryLater(error: unknown): boolean {
    const code = codeOf(error);
    this.lastFailure = code;
    if (code === "EBADF") this.#isGone = true;
    if (FINAL.has(code)) this.#giveUp();
    return code === "EAGAIN" || code === "EBUSY";
  }

  #isSameFile(): boolean {
    const now = this.#system.now();
    if (this.#batch.count === 0 || now < this.#checkedAt + IDENTITY_EVERY_MS) return true;
    this.#checkedAt = now;
    if (this.#system.identityOf(this.#fd) === this.#file) return true;
    // Somebody closed it, and the number may be another's file or connection by now.
    this.#isGone = true;
    this.lastFailure = "EBADF";
    this.#giveUp();
    return false;
  }

  /** Nothing more is written; what is held is dropped. */
  #giveUp(): void {
    this.ended = true;
    const left = [...(this.#chunk?.unfinished() ?? []), ...this.#backlog.take(Infinity), ...this.#batch.take()];
    this.#chunk = undefined;
    for (const { owner, level } of left) this.#droppers.drop(owner, level, this.#reason());
    this.#next.cancel();
    for (const resume of this.#waiting.splice(0)) resume();
    this.#endWatch.leave();
  }

  #closeDescriptor(): void {
    // The number may be another's by now.
    if (this.#isGone) return;
    try {
      this.#system.close(this.#fd);
    } catch (error) {
      this.lastFailure = codeOf(error);
    }
  }

  #left(): FlushReport {
    const lines = (this.#chunk?.unfinished().length ?? 0) + this.#backlog.count + this.#batch.count;
    return Object.freeze({ lines_left: lines, bytes_left: this.bufferedBytes });
  }

  /** The first line of a batch, or since the timer went off. */
  #gather(flushIntervalMs: number): void {
    this.#endWatch.start();
    if (processEnd().isEnding) this.#drain(LAST);
    else if (!this.#next.isSet) this.#next.setForBatch(flushIntervalMs);
  }

  #retry(isBehind: boolean): void {
    this.#endWatch.start();
    this.#next.setForRetry(isBehind, processEnd().isEnding);
  }
}
