/**
 * A completion's way: key -> stored? -> in flight? -> a call of one's own.
 *
 * Invariants
 * - An answer is stored only when it came to its proper end, and only under the key of the request that it answers.
 * - At most one shared flight has a key. Requests that must have a call of their own (bypass, no-cache) never join one.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import type { LRUCache } from "@vg/cache";
import { outgoingHeaders } from "../request/request-context.ts";
import { completionKey } from "./cache-key.ts";
import { choicesAskedFor, isCacheable, isDeterministic, whyNotStored } from "./cacheability.ts";
import type { CacheOutcome } from "./cache-status.ts";
import { directivesFromBody, mergeDirectives, type InferenceDirectives } from "./directives.ts";
import { Flight, type Lead } from "./flight.ts";
import { InferenceAnswer } from "./inference-answer.ts";
import { InferenceCrowdedError, InferenceNotCachedError, InferenceUpstreamError } from "./inference-error.ts";
import { completionWork, usageOf, type InferenceMeter, type Work } from "./inference-meter.ts";
import type { InferenceSettings } from "./inference-options.ts";
import {
  resolvedBody,
  scopeOf,
  type CompleteOptions,
  type Forward,
  type InferenceRequest,
} from "./inference-request.ts";
import type { InferenceCounters } from "./inference-stats.ts";
import { isObject, without, type JsonObject } from "./json.ts";
import type { SeenBody } from "./seen-bodies.ts";
import { checkUnkeyed, isRefusal, saysTheSame } from "./unkeyed-fields.ts";
import { answerBytes, StoredAnswer, tokensOf, type Tokens } from "./stored-answer.ts";
import { discard, upstreamPieces, type Forwarded } from "./upstream-pieces.ts";

/** What is left of a request when its directives and the mode have been looked at. */
interface Plan {
  readonly work: Work;
  /** undefined: nobody else may have this answer, and it is not stored. */
  readonly key: string | undefined;
  readonly mayJoin: boolean;
  readonly mayStore: boolean;
  readonly ttlMs: number | undefined;
  /** How many choices a whole stream has at least. */
  readonly choices: number;
  readonly outcome: CacheOutcome;
}

const OWN_FIELDS: ReadonlySet<string> = new Set(["cache"]);

/** What is known of a request before its way begins, and whether it is on it for the second time. */
interface Attempt {
  readonly startedAt: number;
  readonly work: Work;
  readonly seen: SeenBody | undefined;
  readonly isAgain: boolean;
}

export class Completions {
  readonly #cache: LRUCache<string, unknown>;
  readonly #settings: InferenceSettings;
  readonly #counters: InferenceCounters;
  readonly #meter: InferenceMeter;
  readonly #flights = new Map<string, Flight<Forwarded>>();
  /** All that are under way, those of one request alone included. */
  readonly #active = new Set<Flight<Forwarded>>();

  constructor(
    cache: LRUCache<string, unknown>,
    settings: InferenceSettings,
    counters: InferenceCounters,
    meter: InferenceMeter,
  ) {
    this.#cache = cache;
    this.#settings = settings;
    this.#counters = counters;
    this.#meter = meter;
  }

  get flights(): number {
    return this.#active.size;
  }

  get waiters(): number {
    let sum = 0;
    for (const flight of this.#active) sum += flight.waiters;
    return sum;
  }

  /**
   * Resolves when the first piece of the answer is there.
   *
   * @param seenBody the request's body, where its text has come before; `request.body` is then its value
   */
  async complete(
    request: InferenceRequest,
    forward: Forward,
    options: CompleteOptions,
    seenBody?: SeenBody,
  ): Promise<InferenceAnswer> {
    const startedAt = this.#meter.now();
    const work = completionWork(request.body, request.model);
    // With its model resolved it is another one.
    const seen = request.model === undefined ? seenBody : undefined;
    return await this.#complete(request, forward, options, { startedAt, work, seen, isAgain: false });
  }

  async #complete(
    request: InferenceRequest,
    forward: Forward,
    options: CompleteOptions,
    attempt: Attempt,
  ): Promise<InferenceAnswer> {
    const { startedAt, work, seen } = attempt;
    const found = this.#plan(request, work, seen);
    if (found instanceof InferenceAnswer) {
      this.#meter.requestEnded(work, found.cache, startedAt);
      return found;
    }
    // Only now: a hit needs no signal, and making one costs as much as looking the answer up.
    const { signal, onOutcome } = options;
    signal?.throwIfAborted();
    const running = found.mayJoin && found.key !== undefined ? this.#flights.get(found.key) : undefined;
    const { flight, outcome } = this.#board(found, running, onOutcome);
    const lead = leadOf(request, forward, seen, found.key !== undefined);
    // A follower's call may be made later, by the flight, and is still this request's: its context goes along.
    // What was refused may be what only the other one said. Once: all who ask again share one call, or few.
    const asksAgain = (error: unknown): boolean =>
      !attempt.isAgain && running !== undefined && isRefusal(error) && !saysTheSame(flight.leader?.body, request.body);
    const share = flight.join(running === undefined ? lead : AsyncLocalStorage.bind(lead), signal, {
      result: outcome.result,
      startedAt,
      body: request.body,
      asksAgain,
    });
    if (running === undefined) void this.#fly(flight, lead, found);
    try {
      await share.started();
    } catch (error) {
      share.leave();
      if (asksAgain(error) && signal?.aborted !== true) {
        return await this.#complete(request, forward, options, { ...attempt, isAgain: true });
      }
      if (running !== undefined) this.#counters.collapsed++;
      throw error;
    }
    // Only now: who asks again is what it is then.
    if (running !== undefined) this.#counters.collapsed++;
    return new InferenceAnswer({ flight, share }, outcome);
  }

  /** A stored answer where one may be served; else how to get a new one. */
  #plan(request: InferenceRequest, work: Work, seen: SeenBody | undefined): InferenceAnswer | Plan {
    const { body } = request;
    const directives = mergeDirectives(request.directives ?? {}, directivesFromBody(body));
    const { noCache, noStore, onlyIfCached, ttlSeconds } = directives;
    const ttlMs = ttlSeconds === undefined ? undefined : ttlSeconds * 1000;
    const choices = choicesAskedFor(body);
    const alone = { work, key: undefined, mayJoin: false, mayStore: false, ttlMs: undefined, choices };
    if (!isCacheable(this.#settings.mode, isDeterministic(body), directives)) {
      if (onlyIfCached === true) throw new InferenceNotCachedError();
      return { ...alone, outcome: { result: "bypass", forward: "bypass" } };
    }
    if (noCache === true && onlyIfCached === true) throw new InferenceNotCachedError();
    if (noCache === true && noStore === true) return { ...alone, outcome: { result: "bypass", forward: "request" } };
    checkUnkeyed(body);
    const resolved = resolvedBody(request);
    const key = completionKey(scopeOf(request, resolved, directives), resolved, seen);
    const found = noCache === true ? undefined : this.#lookUp(key, directives);
    if (found instanceof InferenceAnswer) return found;
    if (onlyIfCached === true) throw new InferenceNotCachedError();
    return {
      work,
      key,
      mayJoin: noCache !== true,
      mayStore: noStore !== true && ttlMs !== 0,
      ttlMs,
      choices,
      outcome:
        noCache === true
          ? { result: "bypass", forward: "request" }
          : found === "too old"
            ? { result: "stale", forward: "request" }
            : { result: "miss", forward: "uri-miss" },
    };
  }

  #lookUp(key: string, { maxAgeSeconds, minFreshSeconds = 0 }: InferenceDirectives): InferenceAnswer | "too old" | "" {
    const stored = this.#cache.peek(key);
    // Others may use this cache, too; what is not ours is not looked at.
    if (!(stored instanceof StoredAnswer)) return "";
    const ageSeconds = Math.max(0, (this.#settings.clock.now() - stored.storedAt) / 1000);
    const leftMs = this.#cache.getRemainingTtlMs(key);
    const ttlSeconds = leftMs === undefined || leftMs === Infinity ? undefined : leftMs / 1000;
    // A maximal age of 0 takes nothing that was stored, however new.
    const tooOld = maxAgeSeconds !== undefined && (ageSeconds > maxAgeSeconds || maxAgeSeconds === 0);
    if (tooOld || (ttlSeconds ?? Infinity) < minFreshSeconds) return "too old";
    // Only now is it used, for the cache's statistics and its order.
    this.#cache.get(key);
    this.#counters.hits++;
    this.#counters.saved_prompt_tokens += stored.tokens.prompt;
    this.#counters.saved_completion_tokens += stored.tokens.completion;
    this.#counters.saved_cost_usd += stored.costUsd;
    return new InferenceAnswer({ stored }, { result: "hit", ageSeconds, ttlSeconds });
  }

  /** The flight to join, and how that is called. Tells of it first: who throws at that must not leave a flight without a call. */
  #board(
    plan: Plan,
    running: Flight<Forwarded> | undefined,
    onOutcome: CompleteOptions["onOutcome"],
  ): { flight: Flight<Forwarded>; outcome: CacheOutcome } {
    if (running !== undefined) {
      if (running.waiters >= this.#settings.maxWaiters) {
        this.#counters.crowded++;
        throw new InferenceCrowdedError(running.waiters);
      }
      const outcome: CacheOutcome = { result: "collapsed", forward: plan.outcome.forward };
      onOutcome?.(outcome);
      return { flight: running, outcome };
    }
    onOutcome?.(plan.outcome);
    if (plan.outcome.result === "bypass") this.#counters.bypassed++;
    else this.#counters.misses++;
    const flight: Flight<Forwarded> = new Flight(() => {
      this.#counters.upstream_aborts++;
      if (plan.key !== undefined) this.#counters.not_stored.abandoned++;
      this.#land(flight, plan.key);
    });
    this.#active.add(flight);
    // One that must not be shared with earlier calls may still be joined by later requests, where it has the place.
    if (plan.key !== undefined && !this.#flights.has(plan.key)) this.#flights.set(plan.key, flight);
    return { flight, outcome: plan.outcome };
  }

  #land(flight: Flight<Forwarded>, key: string | undefined): void {
    this.#active.delete(flight);
    if (key !== undefined && this.#flights.get(key) === flight) this.#flights.delete(key);
  }

  /** Makes the call, to its end. Never rejects. */
  async #fly(flight: Flight<Forwarded>, lead: Lead<Forwarded>, plan: Plan): Promise<void> {
    try {
      const answer = await this.#load(flight, lead, plan);
      flight.stored = answer !== undefined && plan.key !== undefined && this.#cache.peek(plan.key) === answer;
      if (flight.stored) this.#counters.stored++;
      this.#land(flight, plan.key);
      // Who shared the call has saved it; where nobody waits any more, nobody has.
      const saved = Math.max(0, flight.waiters - 1);
      if (saved > 0) {
        const { value } = flight.document();
        const tokens = tokensOf(value);
        this.#counters.saved_prompt_tokens += tokens.prompt * saved;
        this.#counters.saved_completion_tokens += tokens.completion * saved;
        this.#counters.saved_cost_usd += this.#costOf(plan, value, tokens) * saved;
      }
      this.#requestsEnded(flight, plan);
      flight.end();
    } catch (error) {
      // It was abandoned, and has been counted as that.
      if (flight.outcome !== undefined) return;
      this.#counters.upstream_errors++;
      if (plan.key !== undefined) this.#counters.not_stored.failed++;
      this.#land(flight, plan.key);
      this.#requestsEnded(flight, plan, { error });
      flight.fail(error);
    }
  }

  #requestsEnded(flight: Flight<Forwarded>, { work }: Plan, failure?: { readonly error: unknown }): void {
    for (const { result, startedAt, asksAgain } of flight.tickets()) {
      if (failure !== undefined && flight.pieces.length === 0 && asksAgain?.(failure.error) === true) continue;
      this.#meter.requestEnded(work, result, startedAt, failure);
    }
  }

  #costOf({ work }: Plan, document: JsonObject, tokens: Tokens): number {
    const { model } = document;
    return this.#settings.prices.costUsd([work.model, typeof model === "string" ? model : undefined], tokens);
  }

  /** Through the cache where it may be, so that a `clear()` meanwhile holds for this answer, too. */
  async #load(flight: Flight<Forwarded>, lead: Lead<Forwarded>, plan: Plan): Promise<StoredAnswer | undefined> {
    const { key, mayStore, ttlMs } = plan;
    if (key === undefined || !mayStore) {
      if (key !== undefined) this.#counters.not_stored.no_store++;
      await this.#pump(flight, lead, plan);
      return undefined;
    }
    if (this.#cache.has(key) || this.#flights.get(key) !== flight) {
      await this.#pump(flight, lead, plan);
      const answer = this.#keep(flight, plan);
      if (answer !== undefined) this.#cache.set(key, answer, { ttlMs });
      return answer;
    }
    let called = false;
    const loaded = await this.#cache.getOrLoad(
      key,
      async (context) => {
        called = true;
        await this.#pump(flight, lead, plan);
        const answer = this.#keep(flight, plan);
        context.store = answer !== undefined;
        context.ttlMs = ttlMs;
        return answer;
      },
      { signal: flight.signal },
    );
    // Somebody else's load of this key was under way; what it gives is not this flight's.
    if (!called) await this.#pump(flight, lead, plan);
    return called && loaded instanceof StoredAnswer ? loaded : undefined;
  }

  /** Reads the call's pieces into the flight. */
  async #pump(flight: Flight<Forwarded>, lead: Lead<Forwarded>, plan: Plan): Promise<void> {
    const { signal } = flight;
    const call = this.#meter.callBegun(plan.work);
    try {
      this.#counters.upstream_calls++;
      const forwarded = await lead(signal);
      if (signal.aborted) {
        await discard(forwarded);
        throw signal.reason;
      }
      for await (const piece of upstreamPieces(forwarded, this.#settings.maxAnswerBytes)) {
        signal.throwIfAborted();
        if (flight.pieces.length === 0 && piece.kind === "chunk") this.#meter.firstChunk(call);
        flight.append(piece);
      }
      signal.throwIfAborted();
      if (flight.pieces.length === 0) throw new InferenceUpstreamError("The upstream's answer is empty.");
      this.#meter.callSucceeded(call, usageOf(flight.pieces));
    } catch (error) {
      this.#meter.callFailed(call, error, signal.aborted);
      const next = signal.aborted ? undefined : flight.promote();
      if (next === undefined) throw error;
      this.#counters.promotions++;
      await this.#pump(flight, next, plan);
    }
  }

  /** The whole answer in the form that is stored, or undefined where it must not be. */
  #keep(flight: Flight<Forwarded>, plan: Plan): StoredAnswer | undefined {
    const { alsoStore, maxStoredBytes, clock } = this.#settings;
    const { value, text } = flight.document();
    const isStream = flight.pieces[0]?.kind === "chunk";
    const why =
      answerBytes(flight.pieces) > maxStoredBytes
        ? "too_large"
        : whyNotStored(value, alsoStore, isStream ? plan.choices : 1);
    if (why !== undefined) {
      this.#counters.not_stored[why]++;
      return undefined;
    }
    const tokens = tokensOf(value);
    return new StoredAnswer(flight.pieces, text, tokens, clock.now(), this.#costOf(plan, value, tokens));
  }
}

/** The call as the service makes it. Where others may share it, it asks for what any of them may want. */
function leadOf(
  request: InferenceRequest,
  forward: Forward,
  seen: SeenBody | undefined,
  shared: boolean,
): Lead<Forwarded> {
  const { traceparent = outgoingHeaders()["traceparent"] } = request;
  const body = without(seen?.copy() ?? resolvedBody(request), OWN_FIELDS);
  const stream = body["stream"] === true;
  // Meant for streams alone: upstreams refuse it elsewhere, and that would be everybody's answer.
  if (!stream && shared) delete body["stream_options"];
  if (stream && shared) {
    const options = isObject(body["stream_options"]) ? body["stream_options"] : {};
    body["stream_options"] = { ...options, include_usage: true };
  }
  return (signal) => forward({ body, stream, signal, traceparent });
}
