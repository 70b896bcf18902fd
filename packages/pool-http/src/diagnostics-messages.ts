/** What is published to the channels of `node:diagnostics_channel`. Nothing here holds a credential or a query. */
import type { HttpAttempt, HttpPhase } from "./errors.ts";
import type { RetryCause } from "./exchange/retry-policy.ts";
import type { CloseReason } from "./transport/connection-watcher.ts";

/** What the messages about one request have in common. After a redirect it is the request that followed from it. */
interface OfRequest {
  /** The pool's name. */
  readonly pool: string;
  /** The same in all messages about one request, and about no other of this process. */
  readonly id: number;
  readonly method: string;
  /** "https://api.example.com" */
  readonly origin: string;
  /** Without the query. */
  readonly path: string;
}

/** Published to `vg:pool-http:request:start` when a request begins, in the context of its caller. */
export type HttpRequestStartMessage = OfRequest;

/** Published to `vg:pool-http:request:end` when a response is complete; a stream is with its last byte. */
export interface HttpRequestEndMessage extends OfRequest {
  readonly status: number;
  /** Whether the status counts as an error in the statistics. */
  readonly isError: boolean;
  readonly durationMs: number;
  readonly attempts: readonly HttpAttempt[];
}

/** Published to `vg:pool-http:request:error` when a request ends without a complete response. */
export interface HttpRequestErrorMessage extends OfRequest {
  /** As in `attempts`: "ECONNRESET", "ERR_VG_HTTP_TIMEOUT"; "ABORT_ERR" where the caller gave up. */
  readonly errorCode: string;
  readonly phase: HttpPhase;
  /** The caller gave up: its signal, or a stream that it stopped reading. */
  readonly canceled: boolean;
  readonly durationMs: number;
  readonly attempts: readonly HttpAttempt[];
}

/** Published to `vg:pool-http:queue` when a wait for a connection is over, for a dial included. */
export interface HttpQueueMessage extends OfRequest {
  /** Of all the wait, what was not its dial. */
  readonly queueMs: number;
  readonly connectMs: number;
  readonly tlsMs: number;
  /** Whether there is a connection now. */
  readonly served: boolean;
}

/** Published to `vg:pool-http:attempt` at the end of each attempt; of a streamed response's at its headers. */
export interface HttpAttemptMessage extends OfRequest {
  readonly attempt: HttpAttempt;
}

/** Published to `vg:pool-http:retry` when a retry was decided on, before its backoff. */
export interface HttpRetryMessage extends OfRequest {
  /** From 1. */
  readonly retry: number;
  readonly cause: RetryCause;
  readonly delayMs: number;
}

/** Published to `vg:pool-http:connect` at the end of each dial. */
export interface HttpConnectMessage {
  readonly pool: string;
  readonly origin: string;
  /** In all; the two below are 0 where it failed. */
  readonly durationMs: number;
  readonly connectMs: number;
  readonly tlsMs: number;
  /** What it failed with, such as "ECONNREFUSED". */
  readonly errorCode: string | undefined;
}

/** Published to `vg:pool-http:remove` for each connection that was closed. */
export interface HttpRemoveMessage {
  readonly pool: string;
  readonly origin: string;
  readonly reason: CloseReason;
  /** Requests that ended well on it. */
  readonly served: number;
}

/** Published to `vg:pool-http:leak` when nobody has read a streamed response for longer than `leakThresholdMs`. */
export interface HttpLeakMessage extends OfRequest {
  readonly unreadMs: number;
  /** It was garbage already, and its connection has been freed. */
  readonly collected: boolean;
  /** Where it was asked for: the frames of the caller's code, one a line; "" unless `leakThresholdMs` is set. */
  readonly calledAt: string;
}
