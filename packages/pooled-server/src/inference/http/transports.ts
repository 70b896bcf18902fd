/** The two ways to a handler: node:http's request and response, and fetch's. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { currentRequest } from "../../request/request-context.ts";
import type { HeaderReader } from "../directives.ts";
import { tenantFromHeaders, type HandlerSettings } from "./handler-options.ts";
import { failureReply, type HttpCall, type Reply } from "./reply.ts";
import { parseBody, readFetchBody, readNodeBody } from "./request-body.ts";

/** How long a client of a refused request may go on sending before its connection is cut. */
const LINGER_MS = 1_000;

export type Respond = (call: HttpCall) => Promise<Reply>;

export async function serveNode(
  respond: Respond,
  { request, response, body }: { request: IncomingMessage; response: ServerResponse; body: unknown },
  settings: HandlerSettings,
  { stalledClientMs, onStalled }: { stalledClientMs: number; onStalled: () => void },
): Promise<void> {
  const header: HeaderReader = (name) => {
    const value = request.headers[name];
    return typeof value === "string" ? value : value?.join(", ");
  };
  const reply = await replyTo(respond, () => ({
    method: request.method ?? "",
    // Express takes a mount's path off `url`.
    target: (request as { originalUrl?: string }).originalUrl ?? request.url ?? "/",
    header,
    tenant: tenant(settings, request, header),
    signal: currentRequest()?.signal ?? signalOf(response),
    readBody: async () => parseBody(body ?? (await readNodeBody(request, settings.maxBodyBytes))),
  }));
  // The client has left: nobody to answer to.
  if (response.destroyed || response.writableEnded) return;
  if (!request.complete) {
    // The rest of a body that is not wanted: answer, let the client read that, then end the connection.
    response.setHeader("connection", "close");
    request.resume();
    const linger = setTimeout(() => request.destroy(), LINGER_MS);
    request.once("close", () => clearTimeout(linger));
  }
  response.writeHead(reply.status, { ...reply.headers });
  if (reply.stream !== undefined) {
    for await (const bytes of reply.stream) {
      if (response.destroyed) return;
      if (!response.write(bytes)) await drained(response, stalledClientMs, onStalled);
    }
  }
  response.end(reply.body);
}

/** For servers that make no context: aborts when the connection closes before the answer is complete. */
function signalOf(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  response.once("close", () => {
    if (!response.writableFinished) controller.abort(new Error("The client closed the connection"));
  });
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
  const header: HeaderReader = (name) => request.headers.get(name) ?? undefined;
  const cancelled = new AbortController();
  const signals = [request.signal, cancelled.signal, currentRequest()?.signal].filter((signal) => signal !== undefined);
  const reply = await replyTo(respond, () => {
    const { pathname, search } = new URL(request.url);
    return {
      method: request.method,
      target: pathname + search,
      header,
      tenant: tenant(settings, request, header),
      signal: AbortSignal.any(signals),
      readBody: async () => parseBody(await readFetchBody(request, settings.maxBodyBytes)),
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
  return tenantOf === undefined ? tenantFromHeaders(header) : (tenantOf(request) ?? "");
}
