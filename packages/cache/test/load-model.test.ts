import { setImmediate as turn } from "node:timers/promises";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { LRUCache } from "../src/index.ts";
import type { LoadContext } from "../src/index.ts";
import { FakeClock } from "./fake-clock.ts";

type Key = "a" | "b" | "c" | "d";

interface Terms {
  readonly capacity: number;
  readonly staleWhileRevalidateMs: number;
  readonly staleIfErrorMs: number;
  readonly refreshAheadRatio: number;
  readonly refreshBackoffMs: number;
  readonly errorTtlMs: number;
  readonly negativeTtlMs: number | undefined;
}

const TTL = 5;

const terms: fc.Arbitrary<Terms> = fc.record({
  // Fewer than there are keys: loads have to live through evictions.
  capacity: fc.constantFrom(1, 2, 3, 3),
  staleWhileRevalidateMs: fc.constantFrom(0, 0, 1, 5, Infinity),
  staleIfErrorMs: fc.constantFrom(0, 1, 8, 20, Infinity),
  refreshAheadRatio: fc.constantFrom(1, 0.5),
  refreshBackoffMs: fc.constantFrom(0, 3, Infinity),
  errorTtlMs: fc.constantFrom(0, 4, Infinity),
  negativeTtlMs: fc.constantFrom(undefined, 0, 3),
});

const key = fc.constantFrom<Key>("a", "b", "c", "d");
/** How a load ends: which of its values are stored for how long, which keys have none, or that it fails. */
const ending = fc.oneof(
  { weight: 3, arbitrary: fc.constant({ how: "value" as const }) },
  { weight: 3, arbitrary: fc.constant({ how: "error" as const }) },
  { weight: 1, arbitrary: fc.record({ how: fc.constant("nothing" as const), which: fc.nat({ max: 15 }) }) },
  {
    weight: 1,
    arbitrary: fc.record({ how: fc.constant("ttl" as const), ttlMs: fc.constantFrom(-1, 0, 1, 25, Infinity) }),
  },
  { weight: 1, arbitrary: fc.constant({ how: "not stored" as const }) },
);
type Ending = typeof ending extends fc.Arbitrary<infer E> ? E : never;

const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant("one" as const), key, canLeave: fc.boolean() }) },
  {
    weight: 4,
    arbitrary: fc.record({
      op: fc.constant("many" as const),
      keys: fc.array(key, { maxLength: 5 }),
      canLeave: fc.boolean(),
    }),
  },
  { weight: 6, arbitrary: fc.record({ op: fc.constant("end" as const), which: fc.nat(), ending }) },
  { weight: 5, arbitrary: fc.record({ op: fc.constant("advance" as const), ms: fc.integer({ min: 1, max: 6 }) }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("leave" as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom("get" as const, "set" as const, "delete" as const), key }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constantFrom("clear" as const, "close" as const) }) },
);

/** What is stored under a key. */
interface Entry {
  readonly key: Key;
  readonly value: number | undefined;
  readonly freshUntil: number;
  readonly keptUntil: number;
  /** When it is to be refreshed: by its ratio, or after the pause that follows a failure. */
  refreshAt: number;
  hasFailed: boolean;
}

interface Load {
  readonly keys: readonly Key[];
  readonly isBatch: boolean;
  state: "running" | "abandoned" | "ended";
  /** It runs in the background, and nobody has ever waited for it. */
  isOfCache: boolean;
}

interface Caller {
  /** The keys it asked for, and what it has of them. */
  readonly result: Map<Key, number | undefined>;
  readonly isSingle: boolean;
  readonly controller: AbortController | undefined;
  /** What it still waits for; also after it was rejected, since the rest of its loads go on. */
  readonly waits: Map<Key, Load>;
  outcome: string;
}

/** The rules as one would write them down, with lists and searches. */
class Model {
  readonly terms: Terms;
  now = 0;
  /** The most recently used one last. */
  entries: Entry[] = [];
  readonly current = new Map<Key, Load>();
  readonly errors = new Map<Key, { readonly name: string; readonly until: number }>();
  readonly loads: Load[] = [];
  readonly callers: Caller[] = [];
  readonly counts = {
    hits: 0,
    misses: 0,
    stale_hits: 0,
    stale_on_error: 0,
    refreshes: 0,
    sets: 0,
    evictions: 0,
    expirations: 0,
    deletes: 0,
    replaced: 0,
    cleared: 0,
    loads_ok: 0,
    loads_failed: 0,
    loads_abandoned: 0,
    loads_deduplicated: 0,
  };

  constructor(of: Terms) {
    this.terms = of;
  }

  entry(k: Key): Entry | undefined {
    return this.entries.find((entry) => entry.key === k);
  }

  live(): [Key, number | undefined][] {
    return this.entries.filter(({ freshUntil }) => freshUntil > this.now).map(({ key: k, value }) => [k, value]);
  }

  advance(ms: number): void {
    this.now += ms;
    const kept = this.entries.filter(({ keptUntil }) => keptUntil > this.now);
    this.counts.expirations += this.entries.length - kept.length;
    this.entries = kept;
  }

  put(k: Key, value: number | undefined, ttlMs: number, ratio: number): void {
    const { staleWhileRevalidateMs, staleIfErrorMs, capacity } = this.terms;
    if (this.remove(k)) this.counts.replaced++;
    while (this.entries.length >= capacity) {
      this.entries.shift();
      this.counts.evictions++;
    }
    const freshUntil = this.now + ttlMs;
    this.entries.push({
      key: k,
      value,
      freshUntil,
      keptUntil: freshUntil + Math.max(staleWhileRevalidateMs, staleIfErrorMs),
      refreshAt: ratio === 1 ? freshUntil : this.now + ttlMs * ratio,
      hasFailed: false,
    });
    this.counts.sets++;
    this.fence(k);
  }

  remove(k: Key): boolean {
    const before = this.entries.length;
    this.entries = this.entries.filter((entry) => entry.key !== k);
    return this.entries.length < before;
  }

  fence(k: Key): void {
    this.current.delete(k);
    this.errors.delete(k);
  }

  /** The entry that answers at once, if there is one; counts. */
  find(k: Key, forLoad: boolean): Entry | undefined {
    const { staleWhileRevalidateMs, staleIfErrorMs } = this.terms;
    const entry = this.entry(k);
    if (entry === undefined) return this.miss();
    const overMs = this.now - entry.freshUntil;
    if (overMs >= 0) {
      const isPausing = entry.hasFailed && entry.refreshAt > this.now;
      if (!forLoad || !(overMs < staleWhileRevalidateMs || (isPausing && overMs < staleIfErrorMs))) return this.miss();
      this.counts.stale_hits++;
    }
    this.counts.hits++;
    this.remove(k);
    this.entries.push(entry);
    return entry;
  }

  miss(): undefined {
    this.counts.misses++;
    return undefined;
  }

  isDue(entry: Entry): boolean {
    return entry.refreshAt <= this.now && !this.current.has(entry.key);
  }

  start(keys: readonly Key[], isBatch: boolean, isOfCache: boolean): void {
    if (keys.length === 0) return;
    const load: Load = { keys, isBatch, state: "running", isOfCache };
    this.loads.push(load);
    for (const k of keys) this.current.set(k, load);
    if (isOfCache) this.counts.refreshes++;
  }

  call(keys: readonly Key[], isSingle: boolean, controller: AbortController | undefined): void {
    const caller: Caller = { result: new Map(), isSingle, controller, waits: new Map(), outcome: "waiting" };
    this.callers.push(caller);
    const due: Key[] = [];
    const missing: Key[] = [];
    for (const k of new Set(keys)) {
      const entry = this.find(k, true);
      caller.result.set(k, entry?.value);
      if (entry !== undefined) {
        if (this.isDue(entry)) due.push(k);
        continue;
      }
      const error = this.errors.get(k);
      if (error !== undefined && error.until > this.now) {
        caller.outcome = error.name;
        return;
      }
      missing.push(k);
    }
    this.start(due, !isSingle, true);
    const running = missing.filter((k) => this.current.has(k));
    this.counts.loads_deduplicated += running.length;
    const rest = missing.filter((k) => !running.includes(k));
    this.start(rest, !isSingle, false);
    for (const k of missing) {
      const load = this.current.get(k)!;
      load.isOfCache = false;
      caller.waits.set(k, load);
    }
    this.settle(caller);
  }

  settle(caller: Caller): void {
    if (caller.waits.size === 0 && caller.outcome === "waiting") caller.outcome = shown(caller.result, caller.isSingle);
  }

  waiting(load: Load, k: Key): Caller[] {
    return this.callers.filter(({ waits }) => waits.get(k) === load);
  }

  retire(load: Load, k: Key): boolean {
    return this.current.get(k) === load && this.current.delete(k);
  }

  land(load: Load, k: Key, value: number | undefined, isAbsent: boolean): void {
    for (const caller of this.waiting(load, k)) {
      caller.waits.delete(k);
      // What is remembered as undefined is given as that from the first time on.
      if (isAbsent && !caller.isSingle && !(this.terms.negativeTtlMs! > 0)) caller.result.delete(k);
      else caller.result.set(k, value);
      this.settle(caller);
    }
  }

  end(load: Load, how: Ending, serial: number): void {
    const wasRunning = load.state === "running";
    load.state = "ended";
    if (!wasRunning) return;
    if (how.how === "error") {
      this.counts.loads_failed++;
      for (const k of load.keys) this.fail(load, k, `error ${serial}`);
      return;
    }
    this.counts.loads_ok++;
    for (const [i, k] of load.keys.entries()) {
      const isAbsent = how.how === "nothing" && hasNone(how.which, i);
      const value = isAbsent ? undefined : valueOf(serial, i);
      if (this.retire(load, k)) {
        const ttlMs = this.ttlOf(load, how, isAbsent);
        if (ttlMs > 0) this.put(k, value, ttlMs, this.terms.refreshAheadRatio);
        else if (this.remove(k)) this.counts.replaced++;
      }
      this.land(load, k, value, isAbsent && load.isBatch);
    }
  }

  ttlOf(load: Load, how: Ending, isAbsent: boolean): number {
    const { negativeTtlMs } = this.terms;
    // A single loader gives undefined, which is a value; that of several leaves the key out.
    if (isAbsent) return negativeTtlMs ?? (load.isBatch ? 0 : TTL);
    // Nor can it say how long a value lives.
    if (load.isBatch) return TTL;
    return how.how === "not stored" ? 0 : how.how === "ttl" ? how.ttlMs : TTL;
  }

  fail(load: Load, k: Key, name: string): void {
    const { staleIfErrorMs, refreshBackoffMs, errorTtlMs } = this.terms;
    const isCurrent = this.retire(load, k);
    const entry = isCurrent ? this.entry(k) : undefined;
    if (entry !== undefined) {
      entry.refreshAt = this.now + refreshBackoffMs;
      entry.hasFailed = true;
    }
    const waiting = this.waiting(load, k);
    const overMs = entry === undefined ? Infinity : this.now - entry.freshUntil;
    if (entry !== undefined && overMs >= 0 && overMs < staleIfErrorMs) {
      this.counts.stale_on_error += waiting.length;
      this.land(load, k, entry.value, false);
      return;
    }
    if (isCurrent && overMs >= 0 && errorTtlMs > 0) this.errors.set(k, { name, until: this.now + errorTtlMs });
    for (const caller of waiting) {
      caller.waits.delete(k);
      if (caller.outcome === "waiting") caller.outcome = name;
    }
  }

  leave(caller: Caller, serial: number): void {
    if (caller.outcome === "waiting") caller.outcome = `left ${serial}`;
    const left = new Set(caller.waits.values());
    caller.waits.clear();
    for (const load of left) {
      if (load.keys.every((k) => this.waiting(load, k).length === 0)) this.abandon(load);
    }
  }

  abandon(load: Load): void {
    load.state = "abandoned";
    for (const k of load.keys) this.retire(load, k);
    this.counts.loads_abandoned++;
  }

  close(): void {
    for (const load of this.loads) if (load.isOfCache && load.state === "running") this.abandon(load);
  }
}

/** A load of the real cache that the test ends. */
interface Running {
  readonly keys: readonly Key[];
  readonly signal: AbortSignal;
  readonly end: (how: Ending, serial: number) => void;
}

const valueOf = (serial: number, i: number): number => serial * 10 + i;
const hasNone = (which: number, i: number): boolean => ((which >> i) & 1) === 1;
const shown = (result: ReadonlyMap<Key, number | undefined>, isSingle: boolean): string =>
  isSingle ? `${[...result.values()][0]}` : [...result].map((pair) => pair.join("=")).join(" ");

test("loads, callers, changes, failures and time in any order: everyone gets what the rules say", async () => {
  let steps = 0;
  const seen = { stale_hits: 0, stale_on_error: 0, refreshes: 0, expirations: 0, loads_abandoned: 0 };
  await fc.assert(
    fc.asyncProperty(terms, fc.array(step, { minLength: 50, maxLength: 80 }), async (config, script) => {
      const clock = new FakeClock();
      const cache = new LRUCache<Key, number | undefined>({
        ...config,
        clock,
        defaultTtlMs: TTL,
        cleanupIntervalMs: 0,
      });
      const model = new Model(config);
      const running: Running[] = [];
      const outcomes: string[] = [];

      const one = (context: LoadContext<Key, number | undefined>): Promise<number | undefined> =>
        new Promise((resolve, reject) => {
          const end = (how: Ending, serial: number): void => {
            if (how.how === "ttl") context.ttlMs = how.ttlMs;
            if (how.how === "not stored") context.store = false;
            if (how.how === "error") reject(new Error(`error ${serial}`));
            else resolve(how.how === "nothing" && hasNone(how.which, 0) ? undefined : valueOf(serial, 0));
          };
          running.push({ keys: [context.key], signal: context.signal, end });
        });
      const many = ({ keys, signal }: { keys: readonly Key[]; signal: AbortSignal }): Promise<Map<Key, number>> =>
        new Promise((resolve, reject) => {
          const end = (how: Ending, serial: number): void => {
            const values = keys.map((k, i) => [k, valueOf(serial, i)] as const);
            if (how.how === "error") reject(new Error(`error ${serial}`));
            else resolve(new Map(values.filter((_, i) => !(how.how === "nothing" && hasNone(how.which, i)))));
          };
          running.push({ keys, signal, end });
        });
      const watch = (call: Promise<string>): void => {
        const n = outcomes.push("waiting") - 1;
        call.then(
          (outcome) => (outcomes[n] = outcome),
          (error: unknown) => (outcomes[n] = error instanceof Error ? error.message : `left ${Number(error)}`),
        );
      };

      for (const [serial, each] of script.entries()) {
        steps++;
        if (each.op === "one" || each.op === "many") {
          const controller = each.canLeave ? new AbortController() : undefined;
          const options = { signal: controller?.signal };
          if (each.op === "one") {
            model.call([each.key], true, controller);
            watch(cache.getOrLoad(each.key, one, options).then(String));
          } else {
            model.call(each.keys, false, controller);
            watch(cache.getManyOrLoad(each.keys, many, options).then((result) => shown(result, false)));
          }
        } else if (each.op === "end") {
          const open = [...model.loads.keys()].filter((n) => model.loads[n]!.state !== "ended");
          const n = open[each.which % open.length];
          if (n === undefined) continue;
          model.end(model.loads[n]!, each.ending, serial);
          running[n]!.end(each.ending, serial);
        } else if (each.op === "advance") {
          clock.advance(each.ms);
          model.advance(each.ms);
        } else if (each.op === "leave") {
          const open = model.callers.filter(({ controller, waits }) => controller !== undefined && waits.size > 0);
          const caller = open[each.which % open.length];
          if (caller === undefined) continue;
          model.leave(caller, serial);
          caller.controller!.abort(serial);
        } else if (each.op === "get") {
          expect(cache.get(each.key)).toBe(model.find(each.key, false)?.value);
        } else if (each.op === "set") {
          // For ever, where there are refreshes ahead: whether they are for what was set is not for this test to say.
          const ttlMs = config.refreshAheadRatio < 1 ? Infinity : TTL;
          model.put(each.key, serial, ttlMs, 1);
          cache.set(each.key, serial, ttlMs);
        } else if (each.op === "delete") {
          model.fence(each.key);
          if (model.remove(each.key)) model.counts.deletes++;
          cache.delete(each.key);
        } else if (each.op === "clear") {
          for (const k of ["a", "b", "c", "d"] as const) model.fence(k);
          model.counts.cleared += model.entries.length;
          model.entries = [];
          cache.clear();
        } else {
          model.close();
          cache.close();
        }
        await turn();
        expect(running.map(({ keys }) => keys)).toEqual(model.loads.map(({ keys }) => keys));
        expect(outcomes).toEqual(model.callers.map(({ outcome }) => outcome));
        expect([...cache]).toEqual(model.live().toReversed());
        for (const [n, { state }] of model.loads.entries()) {
          if (state !== "ended") expect(running[n]!.signal.aborted).toBe(state === "abandoned");
        }
        const stats = cache.getStats();
        expect(stats).toMatchObject({
          ...model.counts,
          entries: model.entries.length,
          loads_in_flight: model.loads.filter(({ state }) => state === "running").length,
        });
        const { sets, entries, evictions, expirations, deletes, replaced, cleared } = stats;
        expect(sets).toBe(entries + evictions + expirations + deletes + replaced + cleared);
      }
      for (const name of Object.keys(seen) as (keyof typeof seen)[]) seen[name] += model.counts[name];
    }),
    { numRuns: 600 },
  );
  expect(steps).toBeGreaterThanOrEqual(20_000);
  // A model that never gets to the cases it is for proves nothing.
  for (const [name, count] of Object.entries(seen)) expect(count, name).toBeGreaterThan(50);
});
