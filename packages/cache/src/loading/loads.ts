/*
 * The life of one load:
 *
 *   look-up ─ hit ────────────────────────────► value      (refresh due? ─► a load in the background)
 *      │ over, but kept for revalidation ─────► old value  (             ─► a load in the background)
 *      │ miss
 *      ├─ its error is remembered ────────────► error
 *      ├─ a load of the key runs ─────────────► wait with the others
 *      └─ start one ─ value ─ still current? ─► store, then value for all who wait
 *                   └ error ─ old value kept? ► old value, else remember the error, then error for all who wait
 *
 * A load is current while it is the one in `#current`. `fence(key)` takes it out, after which it still answers those who
 * wait for it, writes nothing, and the next caller starts anew. That is the whole protection against a value that was
 * read before a change and would be stored after it. Loads live outside the entries, so no eviction can touch them.
 */
import { checkKeys, checkLoad, checkTime } from "../arguments.ts";
import { channels } from "../diagnostics.ts";
import { CacheLoadTimeoutError } from "../errors.ts";
import type { Clock, LoadingTerms } from "../options.ts";
import { countLoad } from "../stats.ts";
import type { Counters, LoadOutcome } from "../stats.ts";
import type { Store } from "../store.ts";
import { Flight, Run } from "./flight.ts";
import type { Landed } from "./flight.ts";
import { resultsOf } from "./batch-results.ts";
import { keep, NO_VERDICT, planOf } from "./keep.ts";
import type { Keeper, Order, Verdict } from "./keep.ts";
import { NO_OPTIONS, termsOf } from "./load-options.ts";
import type { BatchLoader, LoadContext, Loader, LoadOptions } from "./load-options.ts";
import { RememberedErrors } from "./remembered-errors.ts";

/** How many keys' errors are remembered at most. */
const REMEMBERED_ERRORS = 1000;
/** Node's timers hold no more. */
const LONGEST_TIMEOUT_MS = 2 ** 31 - 1;

/** What loads need of the cache. */
export interface LoadsSettings<K, V> extends Keeper<K, V> {
  readonly name: string;
  readonly clock: Clock;
  readonly store: Store<K, V>;
  readonly counters: Counters;
  /** Finds the key's live entry, counts, and times some look-ups; 0: a miss. */
  readonly use: (key: K) => number;
}

/** A run with what it is for. */
interface Trip<K, V> {
  readonly run: Run;
  readonly keys: readonly K[];
  readonly flights: readonly Flight<V>[];
  readonly order: Order<K, V>;
  timer: NodeJS.Timeout | undefined;
}

export class Loads<K, V> {
  /** How many loads run, those that were fenced and those in the background included. */
  running = 0;
  readonly #cache: LoadsSettings<K, V>;
  readonly #current = new Map<K, Flight<V>>();
  /** Undefined until there is one to remember. */
  #errors: RememberedErrors<K> | undefined;
  /** Runs that the cache itself holds. */
  readonly #background = new Set<Run>();
  readonly #usual: Order<K, V>;

  constructor(cache: LoadsSettings<K, V>) {
    this.#cache = cache;
    this.#usual = { options: NO_OPTIONS, terms: cache.defaults };
  }

  /** The key was changed: a load that runs for it must not write, and its error is no news. */
  fence(key: K): void {
    if (this.#current.size > 0) this.#current.delete(key);
    this.#errors?.forget(key);
  }

  fenceAll(): void {
    this.#current.clear();
    this.#errors?.clear();
  }

  /** Ends what runs in the background and nobody waits for. */
  stop(): void {
    for (const run of this.#background) run.releaseFromCache();
    this.#background.clear();
  }

  /** @see LRUCache.getOrLoad */
  async get(key: K, loader: Loader<K, V>, options: LoadOptions<K, V>): Promise<V> {
    const order = this.#check("getOrLoad", loader, options);
    const slot = this.#find(key, order.terms);
    if (slot !== 0) {
      // Before the load, which may throw everything out.
      const value = this.#cache.store.entries.value(slot);
      if (this.#isRefreshDue(slot) && !this.#current.has(key))
        this.#travelOne(this.#depart([key], order, true), loader);
      return value;
    }
    const remembered = this.#errors?.find(key);
    if (remembered !== undefined) throw remembered.error;
    const running = this.#join(key);
    if (running !== undefined) return (await running.wait(options.signal)).value;
    const trip = this.#depart([key], order, false);
    // Before the loader begins: it might join, and leave, and so end what is waited for.
    const landing = trip.flights[0]!.wait(options.signal);
    this.#travelOne(trip, loader);
    return (await landing).value;
  }

  /** @see LRUCache.getManyOrLoad */
  async getMany(keys: Iterable<K>, loader: BatchLoader<K, V>, options: LoadOptions<K, V>): Promise<Map<K, V>> {
    const order = this.#check("getManyOrLoad", loader, options);
    checkKeys(this.#cache.label, keys);
    const values = new Map<K, V | undefined>();
    const waits = new Map<K, Flight<V>>();
    const due: K[] = [];
    const missing: K[] = [];
    for (const key of new Set(keys)) {
      const slot = this.#find(key, order.terms);
      // What comes later has its place, too.
      values.set(key, slot === 0 ? undefined : this.#cache.store.entries.value(slot));
      if (slot !== 0) {
        if (this.#isRefreshDue(slot)) due.push(key);
        continue;
      }
      const remembered = this.#errors?.find(key);
      if (remembered !== undefined) throw remembered.error;
      missing.push(key);
    }
    // What ran between the look-ups (`onEvict`), and what the loader does, may start loads, too.
    const idle = due.filter((key) => !this.#current.has(key));
    if (idle.length > 0) this.#travelMany(this.#depart(idle, order, true), loader);
    const fresh: K[] = [];
    for (const key of missing) {
      const flight = this.#join(key);
      if (flight === undefined) fresh.push(key);
      else waits.set(key, flight);
    }
    const trip = fresh.length === 0 ? undefined : this.#depart(fresh, order, false);
    for (const [i, key] of fresh.entries()) waits.set(key, trip!.flights[i]!);
    // Before the loader begins: it might make others leave, and so end what is waited for.
    const landings = [...waits.values()].map((flight) => flight.wait(options.signal));
    if (trip !== undefined) this.#travelMany(trip, loader);
    const landed = await Promise.all(landings);
    for (const [i, key] of [...waits.keys()].entries()) {
      const { value, isAbsent } = landed[i]!;
      // One that is remembered as undefined is given as that from the first time on.
      if (isAbsent && !(order.terms.negativeTtlMs! > 0)) values.delete(key);
      else values.set(key, value);
    }
    return values as Map<K, V>;
  }

  #check(verb: string, loader: unknown, options: LoadOptions<K, V>): Order<K, V> {
    checkLoad(this.#cache.label, verb, loader, options);
    if (options === NO_OPTIONS) return this.#usual;
    options.signal?.throwIfAborted();
    // A copy: what is done to the caller's object while the load runs was not checked.
    return { options: { ...options }, terms: termsOf(options, this.#cache.defaults) };
  }

  /** The slot of a value that may be given at once; 0 if there is none. */
  #find(key: K, terms: LoadingTerms): number {
    const { store } = this.#cache;
    const stale = store.lookStale(key);
    if (stale === undefined) return this.#cache.use(key);
    const { slot, overMs } = stale;
    const given = overMs < terms.staleWhileRevalidateMs || (overMs < terms.staleIfErrorMs && this.#isBackingOff(slot));
    if (!given) return this.#cache.use(key);
    store.useStale(slot);
    return slot;
  }

  /** Whether a load of this entry failed a short time ago. Only for an entry that is over. */
  #isBackingOff(slot: number): boolean {
    return this.#cache.store.entries.lifetimes!.retryAt(slot) > this.#cache.clock.now();
  }

  #isRefreshDue(slot: number): boolean {
    const { lifetimes } = this.#cache.store.entries;
    if (lifetimes === undefined) return false;
    const refreshAt = lifetimes.refreshAt(slot);
    if (refreshAt === Infinity && !lifetimes.keepsStale) return false;
    const due = Math.min(refreshAt, lifetimes.freshUntil[slot]!);
    if (due === Infinity) return false;
    const now = this.#cache.clock.now();
    return due <= now && !(lifetimes.retryAt(slot) > now);
  }

  #join(key: K): Flight<V> | undefined {
    const flight = this.#current.get(key);
    if (flight !== undefined) this.#cache.counters.loadsDeduplicated++;
    return flight;
  }

  #travelOne(trip: Trip<K, V>, loader: Loader<K, V>): void {
    const key = trip.keys[0]!;
    const context: LoadContext<K, V> = {
      key,
      signal: trip.run.signal,
      previous: this.#previous(key),
      ...NO_VERDICT,
    };
    const load = async (): Promise<Landed<V>[]> => [{ value: await loader(context), isAbsent: false }];
    void this.#travel(trip, load, context);
  }

  #travelMany(trip: Trip<K, V>, loader: BatchLoader<K, V>): void {
    const { label } = this.#cache;
    // A loader that sorted them in place would mix up what belongs to which.
    const keys = Object.freeze(trip.keys);
    const load = async (): Promise<Landed<V>[]> =>
      resultsOf(label, keys, await loader({ keys, signal: trip.run.signal }));
    void this.#travel(trip, load, NO_VERDICT);
  }

  /** @throws {CacheConfigError} before anything has begun, if the clock gives no time */
  #depart(keys: readonly K[], order: Order<K, V>, inBackground: boolean): Trip<K, V> {
    const { label, clock, counters } = this.#cache;
    const run = new Run(label, checkTime(label, clock.now()), () => {
      for (const [i, key] of keys.entries()) this.#retire(key, flights[i]!);
      this.#end(trip, "abandoned", undefined);
    });
    const flights = keys.map(() => new Flight<V>(run));
    const trip: Trip<K, V> = { run, keys, flights, order, timer: undefined };
    for (const [i, key] of keys.entries()) this.#current.set(key, flights[i]!);
    this.running++;
    if (inBackground) {
      counters.refreshes++;
      run.holdForCache();
      this.#background.add(run);
    }
    const { loadTimeoutMs } = order.terms;
    if (loadTimeoutMs !== Infinity) {
      trip.timer = setTimeout(() => this.#timeOut(trip), Math.min(loadTimeoutMs, LONGEST_TIMEOUT_MS)).unref();
    }
    return trip;
  }

  /** Never rejects: every outcome goes to those who wait. */
  async #travel(trip: Trip<K, V>, load: () => Promise<readonly Landed<V>[]>, verdict: Verdict): Promise<void> {
    try {
      const landed = await load();
      if (!trip.run.isOver) this.#arrive(trip, landed, verdict);
    } catch (error) {
      if (!trip.run.isOver) this.#fail(trip, error);
    }
  }

  /** Stores first: who waits may ask the cache at once. */
  #arrive(trip: Trip<K, V>, landed: readonly Landed<V>[], verdict: Verdict): void {
    const { run, keys, flights, order } = trip;
    // From here on nothing else ends it: what `onEvict` does may make its last caller leave, or close the cache.
    run.isOver = true;
    let failure: { cause: unknown } | undefined;
    for (const [i, key] of keys.entries()) {
      const flight = flights[i]!;
      const plan = planOf(this.#cache, key, landed[i]!, verdict, order);
      // Only now: what a `ttlMs` function changed, or `onEvict` when another key was stored, has fenced this one.
      const error = this.#retire(key, flight) ? keep(this.#cache, key, landed[i]!.value, plan, order) : undefined;
      if (error === undefined) flight.land(landed[i]!);
      else this.#failOne(key, flight, true, error.cause, order.terms);
      failure ??= error;
    }
    this.#end(trip, failure === undefined ? "ok" : "failed", failure?.cause);
  }

  #fail(trip: Trip<K, V>, error: unknown): void {
    const { run, keys, flights, order } = trip;
    run.isOver = true;
    for (const [i, key] of keys.entries()) {
      const flight = flights[i]!;
      this.#failOne(key, flight, this.#retire(key, flight), error, order.terms);
    }
    // Last: a subscriber may change the cache.
    this.#end(trip, "failed", error);
  }

  /** What was changed meanwhile is no stand-in for what was asked for, and its next load no second attempt. */
  #failOne(key: K, flight: Flight<V>, isCurrent: boolean, error: unknown, terms: LoadingTerms): void {
    const { store, clock, counters } = this.#cache;
    const { staleIfErrorMs, refreshBackoffMs, errorTtlMs } = terms;
    const slot = isCurrent ? store.entries.find(key) : 0;
    const stale = slot === 0 ? undefined : store.lookStale(key);
    if (slot !== 0) store.entries.lifetimes?.setRetryAt(slot, clock.now() + refreshBackoffMs);
    if (stale !== undefined && stale.overMs < staleIfErrorMs) {
      counters.staleOnError += flight.land({ value: store.entries.value(slot), isAbsent: false });
      return;
    }
    const isLive = slot !== 0 && store.isLive(slot);
    if (isCurrent && !isLive && errorTtlMs > 0) this.#remember(key, error, errorTtlMs);
    flight.fail(error);
  }

  #timeOut(trip: Trip<K, V>): void {
    if (trip.run.isOver) return;
    const { label } = this.#cache;
    const { loadTimeoutMs } = trip.order.terms;
    const many = trip.keys.length === 1 ? "a load" : `a load of ${trip.keys.length} keys`;
    const error = new CacheLoadTimeoutError(
      `${label}: ${many} took longer than loadTimeoutMs, ${loadTimeoutMs} ms. Its signal was aborted; ` +
        `let the loader heed it, or raise the limit.`,
    );
    this.#fail(trip, error);
    trip.run.abort(error);
  }

  #remember(key: K, error: unknown, ttlMs: number): void {
    this.#errors ??= new RememberedErrors(this.#cache.clock, REMEMBERED_ERRORS);
    this.#errors.remember(key, error, ttlMs);
  }

  #previous(key: K): { readonly value: V } | undefined {
    const { store } = this.#cache;
    const slot = store.look(key) || (store.lookStale(key)?.slot ?? 0);
    return slot === 0 ? undefined : { value: store.entries.value(slot) };
  }

  /** Takes the flight out of the map, and says whether it was there: if not, a fence was faster. */
  #retire(key: K, flight: Flight<V>): boolean {
    return this.#current.get(key) === flight && this.#current.delete(key);
  }

  #end(trip: Trip<K, V>, outcome: LoadOutcome, error: unknown): void {
    const { name, clock, counters } = this.#cache;
    trip.run.isOver = true;
    clearTimeout(trip.timer);
    this.#background.delete(trip.run);
    this.running--;
    const durationMs = clock.now() - trip.run.startedAt;
    countLoad(counters, outcome, durationMs);
    if (channels.load.hasSubscribers) {
      channels.load.publish({ cache: name, keys: trip.keys, outcome, durationMs, error });
    }
  }
}
