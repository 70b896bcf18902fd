/** An answer before it is node:http's or fetch's. */
import { currentRequest, type RequestContext } from "../../request/request-context.ts";
import type { CacheOutcome } from "../cache-status.ts";
import type { HeaderReader } from "../directives.ts";
import type { InferenceError } from "../inference-error.ts";
import { DONE_FRAME, frameOf } from "../piece.ts";
import { failureOf, SHUTDOWN, toldToEnd } from "./failure.ts";

/** nginx's code for a client that left before its answer; never on a wire. */
const CLIENT_LEFT = 499;

/** A request, whatever transport it came by. */
export interface HttpCall {
  readonly method: string;
  /** Path and query. */
  readonly target: string;
  readonly header: HeaderReader;
  readonly tenant: string;
  /** Aborts when the client leaves, or when a shutdown cannot wait any longer. Made when somebody asks for it. */
  readonly signal: AbortSignal;
  /** As `signal`, and at a shutdown's last call: a stream needs the time that is left for its last event. */
  readonly streamSignal: AbortSignal;
  /** Its bytes, or what a framework has made of them. */
  readBody(): unknown;
  /** Where the answer comes from, as soon as that is known. */
  outcome: CacheOutcome | undefined;
}

export interface Reply {
  readonly status: number;
  /** Its own: who hands it on may add some. */
  readonly headers: Record<string, string>;
  /** The whole answer; undefined where it comes piece by piece. */
  readonly body: Buffer | undefined;
  /** What goes wrong in the middle is its last event, so it never throws. */
  readonly stream?: AsyncGenerator<Buffer>;
}

export function jsonReply(status: number, body: Buffer, headers: Readonly<Record<string, string>>): Reply {
  return {
    status,
    headers: { "content-type": "application/json; charset=utf-8", "content-length": String(body.length), ...headers },
    body,
  };
}

export function streamReply(
  events: AsyncGenerator<Buffer>,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Reply {
  return {
    status: 200,
    headers: {
      "content-type": "text/event-stream; charset=utf-8",
      "cache-control": "no-cache, no-transform",
      // nginx would hold events back.
      "x-accel-buffering": "no",
      ...headers,
    },
    body: undefined,
    stream: withLastWord(events, signal, currentRequest()),
  };
}

/**
 * A stream's status is out: what breaks it off is its last event, and there is no [DONE]. But for a shutdown: nothing has
 * failed, so its stream has the end that every stream has after the reason.
 */
async function* withLastWord(
  events: AsyncGenerator<Buffer>,
  signal: AbortSignal,
  context: RequestContext | undefined,
): AsyncGenerator<Buffer> {
  try {
    yield* events;
  } catch (error) {
    const reason = toldToEnd(signal);
    if (signal.aborted && reason === undefined) return;
    const failure = failureOf(reason ?? error);
    note(failure, context);
    if (context !== undefined) context.status = failure.status;
    const last = frameOf(JSON.stringify(failure.toDocument()));
    yield failure.type === SHUTDOWN ? Buffer.concat([last, DONE_FRAME]) : last;
  }
}

export function failureReply(
  error: unknown,
  headers: Readonly<Record<string, string>> = {},
  signal?: AbortSignal,
): Reply {
  const reason = toldToEnd(signal);
  // Nobody reads this one; nothing went wrong either.
  if (signal?.aborted === true && reason === undefined) return { status: CLIENT_LEFT, headers: {}, body: undefined };
  const failure = failureOf(reason ?? error);
  note(failure, currentRequest());
  const { retryAfterSeconds } = failure;
  return jsonReply(failure.status, Buffer.from(JSON.stringify(failure.toDocument())), {
    ...headers,
    ...(retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) }),
  });
}

/**
 * A failure that is not the client's belongs into the log, with its cause. A shutdown is none; a 503 is known to who gives it,
 * and says when to come back.
 */
function note(failure: InferenceError, context: RequestContext | undefined): void {
  const { status, reason, type } = failure;
  if (status < 500 || reason === "not_cached" || type === SHUTDOWN) return;
  context?.logger[status === 503 ? "warn" : "error"]("The inference failed", failure, { status, reason });
}
