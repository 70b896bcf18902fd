import type {
  HttpAttemptMessage,
  HttpLeakMessage,
  HttpQueueMessage,
  HttpRequestEndMessage,
  HttpRequestErrorMessage,
  HttpRequestStartMessage,
  HttpRetryMessage,
} from "../diagnostics-messages.ts";
import { channels } from "../diagnostics.ts";
import type { HttpAttempt, HttpPhase } from "../errors.ts";
import type { RetryCause } from "./retry-policy.ts";
import type { Target } from "./target.ts";

/** What a message may tell of a request. */
export interface AboutRequest {
  readonly method: string;
  readonly target: Target;
}

let lastId = 0;

/** Tells the channels of `node:diagnostics_channel` about one request. Made only where somebody listens. */
export class RequestEvents {
  about: HttpRequestStartMessage;

  constructor(pool: string, request: AboutRequest) {
    this.about = aboutOf(pool, ++lastId, request);
  }

  redirected(to: AboutRequest): void {
    this.about = aboutOf(this.about.pool, this.about.id, to);
  }

  started(): void {
    channels.requestStart.publish(this.about);
  }

  waited(queueMs: number, connectMs: number, tlsMs: number, served: boolean): void {
    const message: HttpQueueMessage = { ...this.about, queueMs, connectMs, tlsMs, served };
    channels.queue.publish(message);
  }

  attempted(attempt: HttpAttempt): void {
    const message: HttpAttemptMessage = { ...this.about, attempt };
    channels.attempt.publish(message);
  }

  retried(retry: number, cause: RetryCause, delayMs: number): void {
    const message: HttpRetryMessage = { ...this.about, retry, cause, delayMs };
    channels.retry.publish(message);
  }

  leaked(unreadMs: number, collected: boolean, calledAt: string): void {
    const message: HttpLeakMessage = { ...this.about, unreadMs, collected, calledAt };
    channels.leak.publish(message);
  }

  ended(status: number, isError: boolean, durationMs: number, attempts: readonly HttpAttempt[]): void {
    const message: HttpRequestEndMessage = { ...this.about, status, isError, durationMs, attempts };
    channels.requestEnd.publish(message);
  }

  failed(
    errorCode: string,
    phase: HttpPhase,
    canceled: boolean,
    durationMs: number,
    attempts: readonly HttpAttempt[],
  ): void {
    const message: HttpRequestErrorMessage = { ...this.about, errorCode, phase, canceled, durationMs, attempts };
    channels.requestError.publish(message);
  }
}

function aboutOf(pool: string, id: number, { method, target }: AboutRequest): HttpRequestStartMessage {
  return { pool, id, method, origin: target.origin, path: target.url.pathname };
}
