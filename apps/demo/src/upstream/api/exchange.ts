import { randomUUID } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { UpstreamClosedError, UpstreamQueueFullError } from "../errors.ts";
import { ApiError } from "./api-error.ts";

/** How a request ended. */
export type Outcome = "success" | "error" | "cancelled";

/**
 * One request and its answer. `signal` aborts when the client leaves before the answer is complete, or when the server
 * gives up; from then on nothing more is written.
 */
export class Exchange {
  readonly request: IncomingMessage;
  readonly path: string;
  readonly signal: AbortSignal;
  readonly #response: ServerResponse;
  readonly #leaving = new AbortController();
  #outcome: Outcome | undefined;

  constructor(request: IncomingMessage, response: ServerResponse) {
    this.request = request;
    this.path = (request.url ?? "/").split("?", 1)[0] as string;
    this.signal = this.#leaving.signal;
    this.#response = response;
    response.setHeader("x-vg-upstream", "embedded-demo");
    response.setHeader("x-request-id", requestIdOf(request));
    response.once("close", () => {
      if (!response.writableFinished) this.#leaving.abort(new Error("the client left before the answer was complete"));
    });
    // A write to a connection that broke; the "close" that follows tells the rest.
    response.on("error", () => {});
  }

  /** `undefined` while it goes on. */
  get outcome(): Outcome | undefined {
    return this.#outcome;
  }

  /** Ends the work on the answer and breaks the connection. */
  abandon(reason: Error): void {
    this.#leaving.abort(reason);
    this.#response.destroy();
  }

  setHeader(name: string, value: string): void {
    if (!this.#response.headersSent) this.#response.setHeader(name, value);
  }

  /** Answers with a whole document. */
  json(status: number, document: object, headers: Readonly<Record<string, string>> = {}): void {
    this.#head(status, { ...headers, "content-type": "application/json" });
    const body = JSON.stringify(document);
    this.#response.setHeader("content-length", Buffer.byteLength(body));
    this.#response.end(body);
    this.#outcome = status < 400 ? "success" : "error";
  }

  /** Begins a stream of server-sent events. */
  startEvents(): void {
    this.#head(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
    this.#response.flushHeaders();
  }

  /** Writes events; waits for a reader that is slower than the model. Throws the signal's reason when it has left. */
  async writeEvents(text: string): Promise<void> {
    this.signal.throwIfAborted();
    if (this.#response.write(text)) return;
    await new Promise<void>((resolve, reject) => {
      const done = (): void => {
        this.#response.off("drain", done);
        this.signal.removeEventListener("abort", done);
        if (this.signal.aborted) reject(this.signal.reason as Error);
        else resolve();
      };
      this.#response.once("drain", done);
      this.signal.addEventListener("abort", done, { once: true });
    });
  }

  endEvents(text: string): void {
    this.#response.end(text);
    this.#outcome = "success";
  }

  /** A fault: ends the answer in order, but with text that is not what it should be. */
  endBroken(text: string): void {
    if (!this.#response.headersSent) {
      this.#head(200, { "content-type": "application/json" });
      this.#response.setHeader("content-length", Buffer.byteLength(text));
    }
    this.#response.end(text);
    this.#outcome = "error";
  }

  /** A fault: breaks the connection once `text`, the beginning of the answer, is out. */
  cut(text: string): void {
    if (!this.#response.headersSent) {
      this.#head(200, { "content-type": "application/json" });
      this.#response.setHeader("content-length", Buffer.byteLength(text) * 2);
    }
    this.#outcome = "error";
    this.#response.write(text, () => this.#response.destroy());
  }

  /** Answers with what went wrong, or breaks off an answer that has begun. */
  fail(error: unknown): void {
    if (this.signal.aborted) {
      this.#outcome = "cancelled";
      return;
    }
    this.#outcome = "error";
    if (this.#response.headersSent) {
      this.#response.destroy();
      return;
    }
    const answer = asApiError(error);
    this.json(answer.status, answer, answer.headers);
  }

  #head(status: number, headers: Readonly<Record<string, string>>): void {
    this.#response.statusCode = status;
    for (const [name, value] of Object.entries(headers)) this.#response.setHeader(name, value);
  }
}

function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof UpstreamQueueFullError) {
    const headers = { "retry-after": String(error.retryAfterSeconds) };
    return new ApiError(503, error.message, { code: "overloaded", headers });
  }
  if (error instanceof UpstreamClosedError) {
    return new ApiError(503, error.message, { code: "shutting_down", headers: { connection: "close" } });
  }
  return new ApiError(500, "The upstream failed to answer; this is a bug in it.");
}

/** The caller's id, so that its log and ours can be joined, where it is short and plain; else a new one. */
function requestIdOf(request: IncomingMessage): string {
  const given = request.headers["x-request-id"];
  return typeof given === "string" && /^[\w.:-]{1,128}$/u.test(given) ? given : `req_${randomUUID()}`;
}
