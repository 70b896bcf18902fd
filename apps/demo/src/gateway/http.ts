import type { IncomingMessage, ServerResponse } from "node:http";
import { ApiError } from "./api-error.ts";

/**
 * Reads a JSON object from the request's body.
 *
 * @throws ApiError payload_too_large beyond `maxBytes`, invalid_request for what is no JSON object
 */
export async function readJsonObject(request: IncomingMessage, maxBytes: number): Promise<Record<string, unknown>> {
  const tooLarge = (): ApiError =>
    new ApiError("payload_too_large", `The request's body is larger than ${maxBytes} bytes; shorten the messages.`);
  // Refuse by the announced length where there is one; count for those that announce none, or lie.
  if (Number(request.headers["content-length"] ?? 0) > maxBytes) throw tooLarge();
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > maxBytes) throw tooLarge();
    chunks.push(chunk);
  }
  const text = decodeUtf8(Buffer.concat(chunks));
  if (text.trim() === "") throw new ApiError("invalid_request", "The request has no body; send a JSON object.");
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new ApiError("invalid_request", `The request's body is not valid JSON: ${(cause as Error).message}`, {
      cause,
    });
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new ApiError("invalid_request", "The request's body must be a JSON object.");
  }
  if (isDeeperThan(value, MAX_DEPTH)) {
    throw new ApiError("invalid_request", `The request's body is nested deeper than ${MAX_DEPTH} levels.`);
  }
  return value as Record<string, unknown>;
}

/** Deeper than any real request, and far from where recursion ends. */
const MAX_DEPTH = 64;

function isDeeperThan(value: unknown, levels: number): boolean {
  if (value === null || typeof value !== "object") return false;
  return levels === 0 || Object.values(value).some((inner) => isDeeperThan(inner, levels - 1));
}

function decodeUtf8(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (cause) {
    throw new ApiError("invalid_request", "The request's body is not valid UTF-8.", { cause });
  }
}

/** A header by its lower-case name. */
export function headerReader({ headers }: IncomingMessage): (name: string) => string | undefined {
  return (name) => {
    const value = headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  };
}

export function sendJson(
  response: ServerResponse,
  status: number,
  document: unknown,
  headers: Record<string, string> = {},
): void {
  const body = JSON.stringify(document);
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(body),
    ...headers,
  });
  response.end(body);
}

/** As OpenAI's servers say how long an answer took, which its clients show. */
export function processingTime(latencyMs: number): Record<string, string> {
  return { "openai-processing-ms": String(Math.round(latencyMs)) };
}

/** How long a client may leave its stream unread once its buffers are full. */
const STALLED_CLIENT_MS = 30_000;

/** Server-sent events to one client. Nothing is on the wire before the first event, so that an early error can still be a status. */
export class EventStream {
  readonly #response: ServerResponse;
  readonly #headers: Record<string, string>;

  constructor(response: ServerResponse, headers: Record<string, string> = {}) {
    this.#response = response;
    this.#headers = headers;
  }

  get started(): boolean {
    return this.#response.headersSent;
  }

  /** Sends one event; resolves when the client's connection can take more. */
  async send(data: unknown): Promise<void> {
    if (!this.started) {
      this.#response.writeHead(200, {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache, no-transform",
        // nginx would hold events back.
        "x-accel-buffering": "no",
        ...this.#headers,
      });
    }
    const text = typeof data === "string" ? data : JSON.stringify(data);
    if (!this.#response.write(`data: ${text}\n\n`) && !this.#response.destroyed) await this.#drained();
  }

  /** A client that takes nothing for too long is as good as gone: what is kept for it would be kept for ever. */
  #drained(): Promise<void> {
    const response = this.#response;
    return new Promise((resolve) => {
      const giveUp = setTimeout(() => response.destroy(), STALLED_CLIENT_MS);
      const done = (): void => {
        clearTimeout(giveUp);
        response.off("drain", done).off("close", done);
        resolve();
      };
      response.once("drain", done).once("close", done);
    });
  }

  end(): void {
    this.#response.end();
  }
}
