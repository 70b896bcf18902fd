/** The two ways to a handler: node:http's request and response, and fetch's. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { currentRequest } from "../../request/request-context.ts";
import { endWith } from "../../request/send-bytes.ts";
import type { CacheOutcome } from "../cache-status.ts";
import type { HeaderReader } from "../directives.ts";
import { checkedText, tenantFromHeaders, type HandlerSettings } from "./handler-options.ts";
import { failureReply, type HttpCall, type Reply } from "./reply.ts";
import { readFetchBody, readNodeBody } from "./request-body.ts";

/** How long a client of a refused request may go on sending before its connection is cut. */
const LINGER_MS = 1_000;

export type Respond = (call: HttpCall) => Promise<Reply>;

export async function serveNode(
  respond: Respond,
  { request, response, body }: { request: IncomingMessage; response: ServerResponse; body: unknown },
  settings: HandlerSettings,
  { stalledClientMs, onStalled }: { stalledClientMs: number; onStalled: () => void },
): Promise<void> {
  const reply = await replyTo(respond, () => new NodeCall(request, response, body, settings));
  // The client has left: nobody to answer to.
  if (response.destroyed || response.writableEnded) return;
  if (!request.complete) {
    // The rest of a body that is not wanted: answer, let the client read that, then end the connection.
    response.setHeader("connection", "close");
    request.resume();
    const linger = setTimeout(() => request.destroy(), LINGER_MS);
    request.once("close", () => clearTimeout(linger));
  }
  response.writeHead(reply.status, reply.headers);
  if (reply.stream !== undefined) {
    for await (const bytes of reply.stream) {
      if (response.destroyed) return;
      if (!response.write(bytes)) await drained(response, stalledClientMs, onStalled);
    }
  }
  if (reply.body === undefined) response.end();
  else endWith(response, reply.body);
}

class NodeCall implements HttpCall {
  readonly method: string;
  readonly target: string;
  readonly header: HeaderReader;
  readonly tenant: string;
  outcome: CacheOutcome | undefined;
  readonly #request: IncomingMessage;
  readonly #response: ServerResponse;
  readonly #body: unknown;
  readonly #settings: HandlerSettings;
  #signal: AbortSignal | undefined;

  constructor(request: IncomingMessage, response: ServerResponse, body: unknown, settings: HandlerSettings) {
    this.#request = request;
    this.#response = response;
    this.#body = body;
    this.#settings = settings;
    this.method = request.method ?? "";
    // Express takes a mount's path off `url`.
    this.target = (request as { originalUrl?: string }).originalUrl ?? request.url ?? "/";
    const { headers } = request;
    this.header = (name) => {
      const value = headers[name];
      return typeof value === "object" ? value.join(", ") : value;
    };
    this.tenant = tenant(settings, request, this.header);
  }

  get signal(): AbortSignal {
    this.#signal ??= currentRequest()?.signal ?? signalOf(this.#response);
    return this.#signal;
  }

  get streamSignal(): AbortSignal {
    return atLastCall(this.signal);
  }

  readBody(): unknown {
    return this.#body ?? readNodeBody(this.#request, this.#settings.maxBodyBytes);
  }
}

function atLastCall(signal: AbortSignal): AbortSignal {
  const context = currentRequest();
  return context === undefined ? signal : AbortSignal.any([signal, context.lastCall]);
}

/** For servers that make no context: aborts when the connection closes before the answer is complete. */
function signalOf(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  const left = (): void => {
    if (!response.writableFinished) controller.abort(new Error("The client closed the connection"));
  };
  if (response.destroyed) left();
  else response.once("close", left);
  return controller.signal;
}

/** A client that takes nothing for too long is as good as gone: what is kept for it would be kept for ever. */
function drained(response: ServerResponse, stalledClientMs: number, onStalled: () => void): Promise<void> {
  if (response.destroyed) return Promise.resolve();
  return new Promise((resolve) => {
    const giveUp = setTimeout(() => {
      onStalled();
      response.destroy();
    }, stalledClientMs);
    const done = (): void => {
      clearTimeout(giveUp);
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.once("drain", done).once("close", done);
  });
}

export async function serveFetch(respond: Respond, request: Request, settings: HandlerSettings): Promise<Response> {
  // A Request made by hand has no Host of its own, but its URL says as much.
  const header: HeaderReader = (name) =>
    request.headers.get(name) ?? (name === "host" ? new URL(request.url).host : undefined);
  const cancelled = new AbortController();
  const signals = [request.signal, cancelled.signal, currentRequest()?.signal].filter((signal) => signal !== undefined);
  const reply = await replyTo(respond, () => {
    const { pathname, search } = new URL(request.url);
    const signal = AbortSignal.any(signals);
    return {
      method: request.method,
      target: pathname + search,
      header,
      tenant: tenant(settings, request, header),
      signal,
      streamSignal: atLastCall(signal),
      readBody: () => readFetchBody(request, settings.maxBodyBytes),
      outcome: undefined,
    };
  });
  const { status, headers, body, stream: pieces } = reply;
  if (pieces === undefined) return new Response(body === undefined ? null : new Uint8Array(body), { status, headers });
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await pieces.next();
        if (done === true) controller.close();
        else controller.enqueue(value);
      },
      cancel(reason) {
        // A generator that waits for its next piece cannot be returned from; its signal ends the wait.
        cancelled.abort(reason instanceof Error ? reason : new Error("The client has left its stream"));
      },
    },
    { highWaterMark: 0 },
  );
  return new Response(stream, { status, headers });
}

async function replyTo(respond: Respond, call: () => HttpCall): Promise<Reply> {
  try {
    return await respond(call());
  } catch (error) {
    return failureReply(error);
  }
}

function tenant({ tenantOf }: HandlerSettings, request: IncomingMessage | Request, header: HeaderReader): string {
  return tenantOf === undefined ? tenantFromHeaders(header) : checkedText("tenantOf", tenantOf(request) ?? "");
}
