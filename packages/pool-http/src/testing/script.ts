import type { Socket } from "node:net";
import type { FaultRequest } from "./records.ts";

/** What a step may do to the one exchange (or new connection) that its script is for. */
export interface FaultExchange {
  /** "tcp" in a script for connections: nothing has been read or encrypted yet. */
  readonly protocol: "tcp" | "http/1.1" | "h2";
  /** Absent in a script for connections. */
  readonly request: FaultRequest | undefined;
  /** Aborted when the connection (of HTTP/2: the stream) has ended, from whichever side. */
  readonly signal: AbortSignal;
  /** The socket, for what no step does: over TLS the decrypted one, of HTTP/2 the one below it. */
  readonly socket: Socket;
  /** The head of a response. A status below 200 may be followed by others. Resolves once it may go on writing. */
  respond(status: number, headers: FaultHeaders, statusText?: string): Promise<void>;
  /** A piece of the body, framed as the head said. */
  body(bytes: string | Uint8Array): Promise<void>;
  /**
   * Ends the body: the last chunk, the stream of HTTP/2, or the connection, where nothing else tells of the end. Nothing
   * where the length was declared.
   */
  end(): void;
  /** Bytes as they are. Not in HTTP/2. */
  write(bytes: string | Uint8Array): Promise<void>;
  /** Ends the connection in order, after what has been written. */
  close(): void;
  /** Ends the connection with a TCP reset, now. */
  reset(): void;
  /** Reads nothing more from the client, so that it cannot go on sending. */
  stopReading(): void;
  /** HTTP/2: ends this stream with an error code, "REFUSED_STREAM" or another name or number of RFC 9113, section 7. */
  resetStream(code: string | number): void;
  /** HTTP/2: no stream after this one, nor this one itself where `includingThis`, is processed any more. */
  goAway(options: { code: string | number; includingThis: boolean }): void;
  /** Waits, with the server's `sleep`; rejects when the exchange ends. */
  sleep(ms: number): Promise<void>;
  /** Waits until the server's `release(gate)` was called; rejects when the exchange ends. */
  hold(gate: string): Promise<void>;
  /** Runs a script beside this one, for as long as the connection lives. */
  meanwhile(script: Script): void;
}

/** A header that is an array is sent once for each value. */
export type FaultHeaders = Readonly<Record<string, string | number | readonly string[]>>;

/** One thing that a server does. The functions of this module make them; an object of your own works as well. */
export interface Step {
  /** Shows in errors: "drip(1 byte each 100 ms)". */
  readonly name: string;
  run(exchange: FaultExchange): void | Promise<void>;
}

/** Steps, run one after another; the next request of a connection of HTTP/1.1 waits for the end of this one's. */
export type Script = Step | readonly Step[];

/** The script for a request, which is complete. */
export type RequestScript = Script | ((request: FaultRequest) => Script);

/** A script could not do what it says. The server ended that exchange, and went on. */
export class FaultScriptError extends Error {
  readonly code = "ERR_VG_HTTP_FAULT_SCRIPT";
  override name = "FaultScriptError";
  /** The step that failed; absent where the function that gives the script threw. */
  readonly step: string | undefined;

  constructor(message: string, options: { cause: unknown; step: string | undefined }) {
    super(message, { cause: options.cause });
    this.step = options.step;
  }
}

/** What a run needs of its server. */
export interface Reporter {
  /** "FaultServer: request 3 (GET /a, the 2nd of connection 1)". */
  where(exchange: FaultExchange): string;
  failed(error: FaultScriptError): void;
}

/** Runs the steps. Never rejects: failures are reported, and a client that has left ends the script silently. */
export async function runScript(
  give: () => Script,
  exchange: FaultExchange,
  reporter: Reporter,
): Promise<"done" | "ended"> {
  let steps: readonly Step[] = [];
  let at = -1;
  try {
    steps = [give()].flat();
    for (at = 0; at < steps.length; at++) {
      if (exchange.signal.aborted) return "ended";
      await steps[at]?.run(exchange);
    }
    return "done";
  } catch (error) {
    // Its socket may be dead a moment before it says so.
    if (exchange.signal.aborted || exchange.socket.destroyed) return "ended";
    const step = steps[at];
    const reason = error instanceof Error ? error.message : String(error);
    const what =
      step === undefined
        ? "the function that gives its script failed"
        : `step ${at + 1} of ${steps.length}, ${step.name}, failed`;
    const message = `${reporter.where(exchange)}: ${what}: ${reason}`;
    reporter.failed(new FaultScriptError(message, { cause: error, step: step?.name }));
    exchange.reset();
    return "ended";
  }
}
