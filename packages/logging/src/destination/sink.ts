import type { Buffering } from "./buffering.ts";

/** pino's name for streams that want to know the level of the line; `pino.multistream` is one. */
export const METADATA: unique symbol = Symbol.for("pino.metadata");

/** Whose line it is, and who counts it when it is dropped. */
export interface LineOwner {
  /** How its lines are gathered; `undefined`: each is written before the call returns. */
  readonly buffering: Buffering | undefined;
  /** Counts one line that was not written. */
  drop(level: number, reason: string): void;
  /**
   * Logs what was dropped since the last time it said so; to be called when lines are taken again. Unless it must be
   * now, that is at most once a second.
   *
   * @returns false where it is too early
   */
  reportDrops(now: boolean): boolean;
  readonly lastLevel?: number;
  readonly lastObj?: unknown;
  readonly lastMsg?: unknown;
  readonly lastTime?: unknown;
  readonly lastLogger?: unknown;
}

/** What a flush could not write before its deadline. */
export interface FlushReport {
  /** Lines that the destination has neither taken nor refused. `close` drops those of a file, and counts them. */
  readonly lines_left: number;
  /** The length of these lines, as far as it is known. */
  readonly bytes_left: number;
}

/** One descriptor or stream, and all that must be known of it once however many loggers write to it. */
export interface Sink {
  readonly wantsMetadata: boolean;
  readonly lastFailure: string | null;
  readonly bufferedBytes: number;
  write(line: string, level: number, owner: LineOwner): void;
  flushSync(): void;
  flush(deadlineMs: number): Promise<FlushReport>;
  close(deadlineMs: number): Promise<FlushReport>;
  /** Opens the file anew; whether that was possible. */
  reopen(): boolean;
}

export function codeOf(error: unknown): string {
  const code: unknown = typeof error === "object" && error !== null ? (error as { code?: unknown }).code : undefined;
  return typeof code === "string" ? code : "UNKNOWN";
}

/** Owners whose lines were dropped, and who have not said so yet. */
export class Droppers {
  readonly #owners = new Set<LineOwner>();

  get isEmpty(): boolean {
    return this.#owners.size === 0;
  }

  drop(owner: LineOwner, level: number, reason: string): void {
    owner.drop(level, reason);
    this.#owners.add(owner);
  }

  /** Lets the owners say what was lost: the destination takes lines again. */
  report(now = false): void {
    const owners = [...this.#owners];
    // A report may be dropped, too, and then its owner is one of them again.
    this.#owners.clear();
    for (const owner of owners) {
      if (!owner.reportDrops(now)) this.#owners.add(owner);
    }
  }
}
