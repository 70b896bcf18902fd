import type { AccessLines } from "./access-lines.ts";
import type { Exchange } from "./exchange.ts";
import { beginExchange, exchangeOf, type NodeRequest, type NodeResponse } from "./node-exchange.ts";
import { runInRequest } from "./request-context.ts";

// Fastify as far as it is used.
interface FastifyRequest {
  readonly raw: NodeRequest;
  readonly routeOptions?: { readonly url?: string | undefined };
}
interface FastifyReply {
  readonly raw: NodeResponse;
}
type Done = (error?: Error) => void;

export type FastifyPlugin = (instance: { addHook: unknown }, options: object, done: Done) => void;

type AddHook = (name: string, hook: (...args: never[]) => void) => unknown;

export function fastifyPlugin(lines: AccessLines): FastifyPlugin {
  const plugin: FastifyPlugin = (instance, _options, done) => {
    const add: AddHook = (name, hook) => (instance.addHook as AddHook).call(instance, name, hook);

    add("onRequest", (request: FastifyRequest, reply: FastifyReply, next: Done) => {
      const exchange = beginExchange(lines, request.raw, reply.raw) ?? exchangeOf(request.raw);
      if (exchange === undefined) return next();
      if (exchange.findRoute === undefined) {
        exchange.framework = request;
        exchange.findRoute = fastifyRoute;
      }
      runInRequest(exchange.ids, next);
    });
    // A body is read in the context of the connection's events, which is not the request's.
    add("preValidation", (request: FastifyRequest, _reply: FastifyReply, next: Done) => {
      const exchange = exchangeOf(request.raw);
      if (exchange === undefined) next();
      else runInRequest(exchange.ids, next);
    });
    add("onError", (request: FastifyRequest, _reply: FastifyReply, error: Error, next: Done) => {
      const exchange = exchangeOf(request.raw);
      if (exchange !== undefined) exchange.error ??= error;
      next();
    });
    done();
  };
  // What Fastify asks of a plugin whose hooks are for the whole server, not for a scope of their own.
  return Object.assign(plugin, {
    [Symbol.for("skip-override")]: true,
    [Symbol.for("fastify.display-name")]: "@vg/logging/access-log",
  });
}

function fastifyRoute({ framework }: Exchange): string | undefined {
  return (framework as FastifyRequest).routeOptions?.url;
}
