import { openSync } from "node:fs";
import type { LogDestination } from "./config.ts";
import { closingDescriptor, sharedDescriptor } from "./destination/descriptor.ts";
import { codeOf, METADATA, type LineOwner, type Sink } from "./destination/sink.ts";
import { sharedStream } from "./destination/stream.ts";
import { LoggerDestinationError } from "./errors.ts";

/**
 * Where the lines of one logger and its children go. Nothing here throws once it is open: a line that can't be written
 * is dropped and counted.
 */
export interface Destination {
  write(line: string): void;
  /** Writes what is still held back, as far as that goes without waiting for others. */
  flushSync(): void;
  /** Settles when all lines have been taken or dropped. Never rejects. */
  flush(): Promise<void>;
  /** Flushes, and releases what was opened here. Idempotent. */
  close(): Promise<void>;
  readonly dropped: number;
  /** The code of the last failure, as "EPIPE". */
  readonly lastFailure: string | null;
}

/** @throws LoggerDestinationError */
export function openDestination(target: string | number | LogDestination): Destination {
  if (typeof target === "number") return new SharedDestination(sharedDescriptor(target));
  if (typeof target === "object") return new SharedDestination(sharedStream(target));
  try {
    return new SharedDestination(closingDescriptor(openSync(target, "a")));
  } catch (error) {
    const code = codeOf(error);
    const remedy = code === "ENOENT" ? "Create its folder first." : "Check that this user may write there.";
    throw new LoggerDestinationError(
      `createLogger: cannot open ${JSON.stringify(target)} for the log (${code}). ${remedy}`,
      { cause: error },
    );
  }
}

/**
 * Several loggers may write to one descriptor or stream. What is of that one thing (the rest of a line that was taken
 * in part, the listener for its errors) is in the sink that they share; what they count is each one's own.
 */
class SharedDestination implements Destination, LineOwner {
  readonly #sink: Sink;
  dropped = 0;

  // Set by pino before each write where METADATA is true.
  lastLevel?: number;
  lastObj?: unknown;
  lastMsg?: unknown;
  lastTime?: unknown;
  lastLogger?: unknown;
  readonly [METADATA]: boolean;

  constructor(sink: Sink) {
    this.#sink = sink;
    this[METADATA] = sink.wantsMetadata;
  }

  write(line: string): void {
    this.#sink.write(line, this);
  }

  flushSync(): void {
    this.#sink.flushSync();
  }

  flush(): Promise<void> {
    return this.#sink.flush();
  }

  close(): Promise<void> {
    return this.#sink.close();
  }

  get lastFailure(): string | null {
    return this.#sink.lastFailure;
  }
}
