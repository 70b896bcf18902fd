/**
 * Decides which requests reach the handler, and keeps the books of those that do.
 *
 *   too many of this connection at once? -> 503     client over its rate?    -> 429
 *   no Host, another Expect?             -> 400, 417
 *   too many header fields?              -> 431     declared body too large? -> 413
 *   the event loop late?                 -> 503     no place, nor one soon?  -> 503
 *
 * The pipeline asks `admit` once for each request, and says `finished` once when it is over. Probes and /metrics never come
 * here. With room for a request, `admit` is synchronous and makes nothing: what is kept of a request are fields of its
 * context.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { Logger } from "@vg/logging";
import type { CheckedAdmission } from "./check-admission.ts";
import type { ClientIdentity } from "./client-identity.ts";
import { headerIn, type Headers, type HeadWatcher } from "../head/response-head.ts";
import { AdaptiveLimit } from "./adaptive-limit.ts";
import { snapshot, type AdmissionStats } from "./admission-stats.ts";
import { declaredBytes, limitBody } from "./body-limit.ts";
import { ClientFaultError } from "./client-fault.ts";
import { ConcurrencyGate, type Admittee } from "./concurrency-gate.ts";
import { ConnectionGuard, type GuardedRequest } from "./connection-guard.ts";
import { LoopPressure } from "./loop-pressure.ts";
import { ProxyHint } from "./proxy-hint.ts";
import { RateLimitHeaders } from "./rate-limit-headers.ts";
import { RateLimiter } from "./rate-limiter.ts";
import {
  bodyTooLarge,
  noHost,
  overloaded,
  overRate,
  tooManyHeaders,
  tooManyPipelined,
  unknownExpectation,
  tooManyUpgrades,
  type Refusal,
  type RefusalReason,
} from "./refusal.ts";
import { LEFT } from "./waiting-line.ts";

/** A request as admission sees it: its context. */
export interface AdmissionContext extends Admittee, GuardedRequest {
  readonly response: ServerResponse;
  /** By the server's clock. */
  readonly startedAt: number;
  /** Names and values, in turns. */
  readonly lateHeaders: string[];
  headWatcher: HeadWatcher | undefined;
}

export interface AdmissionParts<C extends AdmissionContext> {
  options: CheckedAdmission;
  clients: ClientIdentity;
  identify: ((request: IncomingMessage) => string | undefined) | undefined;
  logger: Logger;
  clock: { now(): number };
  /** The template of a request's route, as far as it is known. */
  routeOf: (context: C) => string | undefined;
  /** Ends a request whose client is at fault: answers it if its head is not out, and aborts it. */
  giveUp: (context: C, fault: ClientFaultError) => void;
}

export class Admission<C extends AdmissionContext> implements HeadWatcher {
  readonly gate: ConcurrencyGate;
  readonly guard: ConnectionGuard<C>;
  readonly pressure: LoopPressure;
  /** `undefined` where there is no limit. */
  readonly limiter: RateLimiter | undefined;
  readonly refused: Record<RefusalReason, number> = {
    rate_limit: 0,
    queue_full: 0,
    queue_timeout: 0,
    event_loop: 0,
    pipelining: 0,
    too_many_upgrades: 0,
    no_host: 0,
    expectation: 0,
    too_many_headers: 0,
    body_too_large: 0,
  };
  /** Connections that were handed over by an upgrade, and are open. */
  upgraded = 0;
  readonly #parts: AdmissionParts<C>;
  readonly #rateHeaders: RateLimitHeaders | undefined;
  readonly #isAdaptive: boolean;
  /** `undefined` where the service itself says who its clients are. */
  readonly #proxyHint: ProxyHint | undefined;

  constructor(parts: AdmissionParts<C>) {
    this.#parts = parts;
    const { options, clock, logger, giveUp } = parts;
    const { maxConcurrency, minConcurrency: min, concurrencyCeiling: max, rateLimitPerSecond: perSecond } = options;
    this.#isAdaptive = maxConcurrency === "adaptive";
    if (parts.identify === undefined) this.#proxyHint = new ProxyHint(parts.clients, logger);
    this.gate = new ConcurrencyGate({
      limit: maxConcurrency === "adaptive" ? new AdaptiveLimit({ min, max }, clock.now()) : maxConcurrency,
      queueDepth: options.queueDepth,
      queueDeadlineMs: options.queueDeadlineMs,
      clock,
    });
    this.guard = new ConnectionGuard<C>({ ...options, giveUp, logger, clock });
    this.pressure = new LoopPressure({
      maxUtilization: options.maxEventLoopUtilization,
      maxDelayMs: options.maxEventLoopDelayMs,
    });
    if (perSecond > 0) {
      this.limiter = new RateLimiter(perSecond, clock);
      if (options.rateLimitHeaders) this.#rateHeaders = new RateLimitHeaders({ burst: this.limiter.burst, perSecond });
    }
  }

  /** Watches over the server's connections from now on. */
  attach(server: Server): void {
    const { maxHeaderCount, maxRequestsPerSocket } = this.#parts.options;
    // One more than may be: node:http drops what is above in silence.
    if (maxHeaderCount > 0) server.maxHeadersCount = maxHeaderCount + 1;
    server.maxRequestsPerSocket = maxRequestsPerSocket;
    this.guard.attach(server);
    this.pressure.start();
    // What node:http would answer by itself comes the way of all requests.
    const asRequest = (request: IncomingMessage, response: ServerResponse): void => {
      server.emit("request", request, response);
    };
    server.on("checkContinue", asRequest).on("checkExpectation", asRequest);
  }

  /** A request has come; `finished` is owed for it. */
  begun(context: C): void {
    this.guard.begin(context);
  }

  /**
   * @returns nothing where the request is admitted, a refusal to answer it with, or a promise of one of these while it
   *   waits for a place. Whoever awaits that looks first whether the request is still there.
   */
  admit(context: C): Refusal | undefined | Promise<Refusal | undefined> {
    const refusal = this.#refusal(context);
    const { request } = context;
    if (refusal !== undefined) return this.#refuse(refusal);
    const { maxBodyBytes } = this.#parts.options;
    if (maxBodyBytes > 0 && request.headers["transfer-encoding"] !== undefined) {
      limitBody(request, maxBodyBytes, () => this.#bodyTooLarge(context));
    }
    if (this.#isAdaptive) context.headWatcher = this;
    const outcome = this.gate.enter(context, context.startedAt);
    if (outcome === undefined) {
      if (request.headers.expect !== undefined) letSend(context);
      return undefined;
    }
    if (outcome instanceof Promise) return this.#afterWaiting(context, outcome);
    return this.#refuse(outcome);
  }

  /** The head of the answer is out: for an adaptive limit, which knows how long that should take, the request is done. */
  headOut(context: C, headers: Headers): void {
    this.gate.leave(context, howAnswered(context.response, headers), this.#parts.routeOf(context) ?? "");
  }

  /** The request is over, whatever became of it. */
  finished(context: C): void {
    const how = context.response.headersSent ? "other" : "abandoned";
    this.gate.leave(context, how, how === "other" ? "" : (this.#parts.routeOf(context) ?? ""));
    this.guard.end(context);
  }

  /**
   * An upgrade has come. It takes no place under the limit of concurrency: it may stay for days.
   *
   * @returns nothing where it is admitted, and `upgradeOver` is owed
   */
  admitUpgrade(context: C): Refusal | undefined {
    const { maxUpgradedConnections: limit, maxHeaderCount } = this.#parts.options;
    const overItsRate = this.#overRate(context);
    if (overItsRate !== undefined) return this.#refuse(overItsRate);
    const badHead = headFault(context.request, maxHeaderCount);
    if (badHead !== undefined) return this.#refuse(badHead);
    if (limit > 0 && this.upgraded >= limit) return this.#refuse(tooManyUpgrades(limit));
    if (this.pressure.refuses()) return this.#refuse(overloaded("event_loop", 1));
    this.upgraded++;
    return undefined;
  }

  /** The connection of an admitted upgrade is closed. */
  upgradeOver(): void {
    this.upgraded--;
  }

  getStats(): AdmissionStats {
    return snapshot(this);
  }

  close(): void {
    this.guard.stop();
    this.pressure.stop();
    this.limiter?.close();
  }

  #refusal(context: C): Refusal | undefined {
    const { request } = context;
    const { maxPipelinedRequests, maxHeaderCount, maxBodyBytes } = this.#parts.options;
    if (maxPipelinedRequests > 0 && this.guard.underWayBeside(context) > maxPipelinedRequests) {
      return tooManyPipelined(maxPipelinedRequests);
    }
    const overItsRate = this.#overRate(context);
    if (overItsRate !== undefined) return overItsRate;
    const badHead = headFault(request, maxHeaderCount);
    if (badHead !== undefined) return badHead;
    if (maxBodyBytes > 0 && (declaredBytes(request) ?? 0) > maxBodyBytes) return bodyTooLarge(maxBodyBytes);
    return this.pressure.refuses() ? overloaded("event_loop", 1) : undefined;
  }

  #overRate({ request, lateHeaders, startedAt }: C): Refusal | undefined {
    const { limiter } = this;
    if (limiter === undefined) return undefined;
    const { clients, identify } = this.#parts;
    const waitMs = limiter.take(
      identify === undefined ? clients.of(request) : clients.named(identify(request), request),
      startedAt,
    );
    this.#rateHeaders?.addTo(lateHeaders, limiter);
    if (waitMs === 0) return undefined;
    this.#proxyHint?.refused(request);
    return overRate(waitMs);
  }

  #refuse(refusal: Refusal): Refusal {
    this.refused[refusal.reason]++;
    return refusal;
  }

  async #afterWaiting(context: C, waiting: Promise<Refusal | undefined>): Promise<Refusal | undefined> {
    const outcome = await waiting;
    if (outcome === LEFT) return outcome;
    if (outcome !== undefined) return this.#refuse(outcome);
    letSend(context);
    return undefined;
  }

  #bodyTooLarge(context: C): void {
    this.guard.faults.add("body_too_large", context.connection?.socket.remoteAddress);
    this.#parts.giveUp(context, new ClientFaultError("body_too_large"));
  }
}

const CONTINUE = "100-continue";

function headFault({ headers, httpVersion, rawHeaders }: IncomingMessage, maxHeaderCount: number): Refusal | undefined {
  const { host, expect } = headers;
  if (host === undefined && httpVersion === "1.1") return noHost();
  if (expect !== undefined && expect.toLowerCase() !== CONTINUE) return unknownExpectation();
  if (maxHeaderCount === 0 || rawHeaders.length <= maxHeaderCount * 2) return undefined;
  return tooManyHeaders(rawHeaders.length / 2, maxHeaderCount);
}

/** Tells a client that asked before it sends its body (`Expect: 100-continue`) that it may. */
function letSend({ request, response }: AdmissionContext): void {
  if (request.headers.expect?.toLowerCase() === CONTINUE && !response.headersSent) response.writeContinue();
}

const CACHE_HIT = /;\s*hit\b/i;

function howAnswered({ statusCode }: ServerResponse, headers: Headers): "answered" | "timed_out" | "other" {
  if (statusCode === 504) return "timed_out";
  // What fails, fails fast or slowly for reasons of its own; what a cache answers shows nothing of what is behind it.
  return statusCode >= 500 || CACHE_HIT.test(headerIn(headers, "cache-status")) ? "other" : "answered";
}
