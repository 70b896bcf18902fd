/** Recognises what a base server is, by its structure: no framework is imported. */
import { types } from "node:util";
import { Server as NetServer } from "node:net";
import { PooledServerConfigError } from "../errors.ts";
import type { Adapter } from "./adapter.ts";
import { adaptExpress, isExpressApp } from "./express.ts";
import { adaptFastify, isFastify, type FastifyServer } from "./fastify.ts";
import { adaptFetch, isFetchServer, type FetchServer } from "./fetch.ts";
import { adaptNodeListener, type NodeListener } from "./node-http.ts";

/**
 * A base server: a node:http request listener (sync or async), an Express app, a Fastify instance that does not listen,
 * or an object with `fetch(request)`, such as a Hono app.
 */
export type BaseServer = NodeListener | FastifyServer | FetchServer;

/** @throws PooledServerConfigError for anything else, naming what it is and what to pass instead */
export function adaptBase(base: BaseServer): Adapter {
  const given: unknown = base;
  if ((typeof given === "object" && given !== null) || typeof given === "function") {
    const advice = nearMiss(given);
    if (advice !== undefined) throw new PooledServerConfigError(`createPooledServer: ${advice}.`);
    if (isFastify(given)) return adaptFastify(given);
    if (isExpressApp(given)) return adaptExpress(given);
    if (isFetchServer(given)) return adaptFetch(given);
    if (typeof given === "function") return adaptNodeListener(given as NodeListener);
  }
  const kind = given === null ? "null" : typeof given;
  throw new PooledServerConfigError(
    `createPooledServer: the base server must be a function (request, response), an Express app, a Fastify instance or an object with fetch(request), got ${kind}`,
  );
}

/** What is nearly a base server, and what to pass instead. */
function nearMiss(given: object): string | undefined {
  const its = given as Readonly<Record<string, unknown>>;
  const has = (name: string): boolean => typeof its[name] === "function";
  // Fastify is one while it loads.
  if (types.isPromise(given) || (has("then") && !isFastify(given)))
    return "the base server is a Promise; await it first";
  if (given instanceof NetServer) {
    return "the base server is a server of its own, with its own port; pass the listener that it was made with";
  }
  if (typeof given === "function") {
    if (has("Router") && typeof its["application"] === "object" && !has("set")) {
      return "the base server is express itself; call it: express()";
    }
    if (typeof its["errorCodes"] === "object" && has("fastify")) {
      return "the base server is fastify itself; call it: fastify()";
    }
    if (/^class\b/.test(Function.prototype.toString.call(given))) {
      return `the base server is the class ${given.name || "without a name"}; pass an instance of it`;
    }
    if (Array.isArray(its["stack"]) && has("route") && !has("set")) {
      return "the base server is an Express router, which answers nothing by itself; mount it: express().use(router)";
    }
    if (given.length > 2 && !has("handle") && !has("fetch")) {
      return `the base server takes ${given.length} arguments, as middleware and plugins do; a listener takes (request, response)`;
    }
    return undefined;
  }
  if (isFetchServer(given) || isFastify(given)) return undefined;
  const { default: inner } = its;
  if (((typeof inner === "object" && inner !== null) || typeof inner === "function") && isAnyBase(inner)) {
    return "the base server is a module; pass its default export";
  }
  if (has("getHttpAdapter")) {
    return "the base server is a Nest application; await app.init(), and pass app.getHttpAdapter().getInstance()";
  }
  if (has("callback") && has("use")) return "the base server is a Koa application; pass app.callback()";
  return undefined;
}

function isAnyBase(inner: object): boolean {
  return typeof inner === "function" || isFetchServer(inner) || isFastify(inner);
}
