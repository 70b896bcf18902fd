/**
 * Fastify 5. Requests go to its router; its own node:http server is never asked to listen. Its plugins are loaded
 * before the first request, and its onClose hooks run when the last one has ended.
 */
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { IncomingMessage, ServerResponse } from "node:http";
import { BaseServerError, PooledServerConfigError } from "../errors.ts";
import type { Adapter, UpgradeListener } from "./adapter.ts";
import { logFailure } from "./failure.ts";
import { contextOf, keepContext } from "./keep-context.ts";

/** A Fastify instance, as far as it is used. */
export interface FastifyServer {
  routing(request: never, response: never): unknown;
  ready(): PromiseLike<unknown>;
  close(): PromiseLike<unknown>;
  readonly addHook: unknown;
  readonly server: unknown;
}

interface Instance extends FastifyServer {
  routing(request: IncomingMessage, response: ServerResponse): unknown;
  addHook(name: string, hook: (...args: never[]) => void): unknown;
  readonly server: { readonly listening: boolean; listeners(event: "upgrade"): UpgradeListener[] };
  readonly initialConfig?: { readonly http2?: unknown; readonly https?: unknown };
  readonly log?: { readonly level?: unknown };
}
interface FastifyRequest {
  readonly raw: IncomingMessage;
  readonly routeOptions?: { readonly url?: string | undefined };
}
interface FastifyReply {
  readonly raw: ServerResponse;
  readonly statusCode: number;
}
type Done = (error?: unknown, payload?: unknown) => void;

/** Fastify tells it whenever a handler starts, of every instance in the process. */
const HANDLER_STARTS = "tracing:fastify.request.handler:start";

export function isFastify(base: object): base is FastifyServer {
  const { routing, ready, addHook, close } = base as Record<string, unknown>;
  return [routing, ready, addHook, close].every((each) => typeof each === "function");
}

/** @throws PooledServerConfigError for an instance that serves by itself, or speaks what this server does not */
export function adaptFastify(base: FastifyServer): Adapter {
  const instance = base as Instance;
  const { server, initialConfig } = instance;
  if (server.listening) {
    throw new PooledServerConfigError(
      "createPooledServer: this Fastify instance listens already. Pass it before app.listen(), and call listen() of the pooled server instead.",
    );
  }
  for (const protocol of ["http2", "https"] as const) {
    if (initialConfig?.[protocol]) {
      throw new PooledServerConfigError(
        `createPooledServer: this Fastify instance is made for ${protocol}; the pooled server speaks HTTP/1.1. Make it without the option ${protocol}, and terminate TLS in front.`,
      );
    }
  }
  const unhook = addHooks(instance);
  let loaded: Promise<void> | undefined;
  return {
    kind: "Fastify",
    handle(request, response) {
      keepContext(request, response);
      return instance.routing(request, response);
    },
    ready() {
      loaded ??= load(instance);
      return loaded;
    },
    async close() {
      unhook();
      await instance.close();
    },
    upgradeListeners: () => instance.server.listeners("upgrade"),
  };
}

async function load(instance: Instance): Promise<void> {
  try {
    await instance.ready();
  } catch (cause) {
    throw new BaseServerError(`The Fastify instance did not get ready: ${messageOf(cause)}`, { cause });
  }
}

/** Notes the route, and logs errors where Fastify has no logger to do so. Returns what takes listeners off again. */
function addHooks(instance: Instance): () => void {
  const noteRoute = ({ raw, routeOptions }: FastifyRequest): void => {
    const context = contextOf(raw);
    if (context !== undefined) context.route ??= routeOptions?.url;
  };
  const onRequest = (request: FastifyRequest, _reply: FastifyReply, done: Done): void => {
    noteRoute(request);
    done();
  };
  // Its own logger has written the line, if it has one: what stands for none knows no level.
  const isSilent = typeof instance.log?.level !== "string";
  const errors = new WeakMap<object, unknown>();
  const onError = ({ raw }: FastifyRequest, _reply: FastifyReply, error: unknown, done: Done): void => {
    if (isSilent) errors.set(raw, error);
    done();
  };
  const onSend = (request: FastifyRequest, reply: FastifyReply, payload: unknown, done: Done): void => {
    // A hook of the program's that refuses the request comes before onRequest above.
    noteRoute(request);
    if (reply.statusCode >= 500) logError(request, reply);
    done(undefined, payload);
  };
  // What to make of an error is known when its handlers have run.
  const logError = ({ raw }: FastifyRequest, reply: FastifyReply): void => {
    const context = contextOf(raw);
    if (context === undefined || reply.raw.destroyed || !errors.has(raw)) return;
    logFailure(context, raw, errors.get(raw));
    errors.delete(raw);
  };
  try {
    for (const each of withLoadedScopes(instance)) {
      each.addHook("onRequest", onRequest);
      each.addHook("onSend", onSend);
      each.addHook("onError", onError);
    }
    return () => undefined;
  } catch {
    // It is ready already, and takes no more hooks. Then it tells the routes of what reaches a handler.
    const onStart = (message: unknown): void => noteRoute((message as { request: FastifyRequest }).request);
    subscribe(HANDLER_STARTS, onStart);
    return () => void unsubscribe(HANDLER_STARTS, onStart);
  }
}

/** Plugins that are loaded already have scopes of their own, which take no hook from above any more. */
function withLoadedScopes(instance: Instance): Instance[] {
  const children = Object.getOwnPropertySymbols(instance).find((each) => each.description === "fastify.children");
  const own = children === undefined ? [] : (instance as unknown as Record<symbol, Instance[]>)[children];
  return [instance, ...(Array.isArray(own) ? own.flatMap(withLoadedScopes) : [])];
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
