import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { describeValue } from "@vg/internal";
import { LoggerConfigError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { AccessLines } from "./access-lines.ts";
import {
  expressErrorMiddleware,
  type ExpressErrorMiddleware,
  expressMiddleware,
  type ExpressMiddleware,
} from "./express.ts";
import { fastifyPlugin, type FastifyPlugin } from "./fastify.ts";
import { honoMiddleware, type HonoMiddleware } from "./hono.ts";
import { beginDriven, exchangeOf } from "./node-exchange.ts";
import {
  attachTo,
  type NodeListener,
  type NodeRequest,
  type NodeResponse,
  type NodeServer,
  wrapListener,
} from "./node-http.ts";
import type { RequestLineContext } from "./request-context.ts";
import { beginUpgrade } from "./upgrade-exchange.ts";
import { type AccessLogOptions, resolveAccessLogOptions } from "./options.ts";

/** A frozen snapshot; counts since the access log was made, exact. */
export interface AccessLogStats {
  /** Requests that came in, skipped ones included. */
  readonly requests_total: number;
  /** Of these, the ones that `skip` left out. */
  readonly skipped_total: number;
  /** Of these, the ones whose answer was not sent to its end. */
  readonly aborted_total: number;
  /** Requests that are being handled now. */
  readonly in_flight: number;
}

/** A request whose line is written when whoever follows it says that it is over; see `AccessLog.begin`. */
export interface FollowedRequest {
  /** What was thrown, for the line; `undefined` if nothing. */
  error: unknown;
  /**
   * Writes the line; the first call counts.
   *
   * @param statusCode what the line says, which need not be what went out: 499 for a client that left, say
   * @param isComplete whether the answer was sent to its end
   * @param route the template that matched; default: what the framework's middleware of this access log found
   */
  ended(statusCode: number, isComplete: boolean, route?: string): void;
}

/** One line a request, whichever of these is used; where two are, the outer one writes it. */
export interface AccessLog {
  /** For `createServer`: the listener with its requests logged. What it throws or rejects with reaches the caller. */
  wrap<Request extends NodeRequest, Response extends NodeResponse>(
    listener: NodeListener<Request, Response>,
  ): NodeListener<Request, Response>;
  /**
   * For a server of node:http, https or http2 whose listeners are others': also logs upgraded connections and CONNECT,
   * when they end. Lines logged by those listeners don't carry the request's ids by themselves; see `loggerOf`.
   *
   * @returns a function that ends it; requests under way still get their line
   */
  attach(server: NodeServer): () => void;
  /**
   * For a server that follows its requests itself, and knows better when one is over and with what status: counts bytes
   * and the time to the first one from now on, and leaves the rest to `ended`.
   *
   * @param context what the lines of this request carry, as given to `runInContext`; the access line carries it, too
   * @returns `undefined` for a request that `skip` leaves out, and one that has its line from another access log
   */
  begin(request: NodeRequest, response: NodeResponse, context: RequestLineContext): FollowedRequest | undefined;
  /** As `begin`, for a connection that goes over to another protocol, or may: its line says which. */
  beginUpgrade(request: IncomingMessage, socket: Duplex, context: RequestLineContext): FollowedRequest | undefined;
  /** `app.use(access.express)`, before everything else. */
  readonly express: ExpressMiddleware;
  /** `app.use(access.expressErrors)`, after the routes and before your own error handler: lines then have the error. */
  readonly expressErrors: ExpressErrorMiddleware;
  /** `app.register(access.fastify)`, before other plugins. */
  readonly fastify: FastifyPlugin;
  /** `app.use(access.hono)`, before everything else. */
  readonly hono: HonoMiddleware;
  /**
   * A logger whose lines carry the ids of the request: of node:http, Express, Fastify (its request or `raw`), or Hono
   * on Node (its context or `env.incoming`). The plain logger for a request that is not logged here.
   */
  loggerOf(request: object): Logger;
  /** The id of a request, likewise; `undefined` for one that is not logged here. */
  requestIdOf(request: object): string | undefined;
  getStats(): AccessLogStats;
}

/**
 * Makes an access log: one line a request, `http_request`, when its answer is complete or has been given up.
 *
 * @throws LoggerConfigError for a logger that is none, or an option that makes no sense
 */
export function accessLog(logger: Logger, options: AccessLogOptions = {}): AccessLog {
  if (typeof (logger as Partial<Logger> | undefined)?.logHttpRequest !== "function") {
    throw new LoggerConfigError(
      `accessLog: logger must be a logger of createLogger, got ${describeValue(logger)}. A pino instance is none.`,
    );
  }
  return new NodeAccessLog(new AccessLines(logger, resolveAccessLogOptions(options)));
}

class NodeAccessLog implements AccessLog {
  readonly #lines: AccessLines;
  readonly express: ExpressMiddleware;
  readonly expressErrors: ExpressErrorMiddleware = expressErrorMiddleware();
  readonly fastify: FastifyPlugin;
  readonly hono: HonoMiddleware;

  constructor(lines: AccessLines) {
    this.#lines = lines;
    this.express = expressMiddleware(lines);
    this.fastify = fastifyPlugin(lines);
    this.hono = honoMiddleware(lines);
  }

  wrap<Request extends NodeRequest, Response extends NodeResponse>(
    listener: NodeListener<Request, Response>,
  ): NodeListener<Request, Response> {
    return wrapListener(this.#lines, listener);
  }

  attach(server: NodeServer): () => void {
    return attachTo(this.#lines, server);
  }

  begin(request: NodeRequest, response: NodeResponse, context: RequestLineContext): FollowedRequest | undefined {
    return beginDriven(this.#lines, request, response, context);
  }

  beginUpgrade(request: IncomingMessage, socket: Duplex, context: RequestLineContext): FollowedRequest | undefined {
    return beginUpgrade(this.#lines, request, socket, context);
  }

  loggerOf(request: object): Logger {
    return findExchange(request)?.logger ?? this.#lines.logger;
  }

  requestIdOf(request: object): string | undefined {
    return findExchange(request)?.requestId;
  }

  getStats(): AccessLogStats {
    const { requests, skipped, aborted, inFlight } = this.#lines;
    return Object.freeze({
      requests_total: requests,
      skipped_total: skipped,
      aborted_total: aborted,
      in_flight: inFlight,
    });
  }
}

/** Of a request of node:http, or of what frameworks put around one. */
function findExchange(request: object) {
  const { raw, env } = request as { raw?: object; env?: { incoming?: object } };
  return exchangeOf(request) ?? exchangeOf(raw ?? {}) ?? exchangeOf(env?.incoming ?? {});
}
