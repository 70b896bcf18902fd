import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { start } from "./run.ts";

/**
 * A command that runs as if typed into a terminal: it leads a process group of its own, which `interrupt` reaches whole,
 * as Ctrl-C does. Its lines are shown and kept with the time at which they came.
 */
export class WatchedCommand {
  readonly #child: ChildProcess;
  readonly #from = performance.now();
  readonly #lines: { text: string; ms: number }[] = [];
  readonly #ended: Promise<number | NodeJS.Signals | null>;
  readonly #command: string;
  /** It has ended, and all that it printed has been read. */
  #closed = false;
  /** Wakes those who wait for a line. */
  #wake: () => void = () => undefined;
  #news: Promise<void> = this.#nextNews();

  constructor(command: string, args: readonly string[], options: { cwd: string; env: NodeJS.ProcessEnv }) {
    this.#command = [command, ...args].join(" ");
    this.#child = start(command, args, { ...options, detached: true, stdio: ["ignore", "pipe", "pipe"] });
    this.#ended = new Promise((resolve, reject) => {
      this.#child.once("error", reject);
      this.#child.once("close", (code, signal) => {
        this.#closed = true;
        resolve(code ?? signal);
        this.#announce();
      });
    });
    // Whoever waits for the end gets the error; nobody has to.
    this.#ended.catch(() => {
      this.#closed = true;
      this.#announce();
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      if (stream === null) continue;
      createInterface({ input: stream }).on("line", (text) => {
        console.log(text);
        this.#lines.push({ text, ms: performance.now() - this.#from });
        this.#announce();
      });
    }
  }

  /** 0 if it could not be started. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  /** Milliseconds since the start. */
  get elapsedMs(): number {
    return performance.now() - this.#from;
  }

  /** When the first line came that matches, and what matched. Rejects at the command's end or after `timeoutMs`. */
  async line(pattern: RegExp, timeoutMs: number): Promise<{ ms: number; match: RegExpExecArray }> {
    const deadline = AbortSignal.timeout(timeoutMs);
    const late = new Promise<void>((resolve) => {
      deadline.addEventListener("abort", () => resolve());
    });
    for (;;) {
      const news = this.#news;
      const found = this.find(pattern);
      if (found !== undefined) return found;
      if (this.#closed) throw new Error(`\`${this.#command}\` ended without a line like ${pattern}`);
      if (deadline.aborted) {
        throw new Error(`\`${this.#command}\` printed no line like ${pattern} within ${timeoutMs / 1000} s`);
      }
      await Promise.race([news, late]);
    }
  }

  /** The first line so far that matches. */
  find(pattern: RegExp): { ms: number; match: RegExpExecArray } | undefined {
    for (const { text, ms } of this.#lines) {
      const match = pattern.exec(text);
      if (match !== null) return { ms, match };
    }
    return undefined;
  }

  /** Resolves at the end of the command, when all its output has been read: with its exit code or signal. */
  async end(): Promise<number | NodeJS.Signals | null> {
    return await this.#ended;
  }

  /** Ctrl-C. */
  interrupt(): void {
    if (this.pid !== 0) process.kill(-this.pid, "SIGINT");
  }

  #announce(): void {
    this.#wake();
    this.#news = this.#nextNews();
  }

  #nextNews(): Promise<void> {
    return new Promise((resolve) => (this.#wake = resolve));
  }
}
