import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { CacheLoadAbandonedError, CacheLoadTimeoutError, CacheSizeError, LRUCache } from "../src/index.ts";
import type { CacheStats, EvictionReason, LoadContext, LRUCacheOptions } from "../src/index.ts";
import { deferred } from "./deferred.ts";
import { FakeClock } from "./fake-clock.ts";

const made: { getStats(): CacheStats }[] = [];

function make(options: LRUCacheOptions<string, number> = {}) {
  const clock = new FakeClock();
  const left: string[] = [];
  const cache = new LRUCache<string, number>({
    clock,
    cleanupIntervalMs: 0,
    defaultTtlMs: 10,
    onEvict: (key: string, value: number, reason: EvictionReason) => void left.push(`${key}=${value} ${reason}`),
    ...options,
  });
  made.push(cache);
  return { cache, clock, left };
}

/** A loader whose calls the test ends one by one. */
function manual() {
  const calls: {
    context: LoadContext<string, number>;
    resolve: (value: number) => void;
    reject: (error: unknown) => void;
  }[] = [];
  const loader = (context: LoadContext<string, number>): Promise<number> => {
    const { promise, resolve, reject } = deferred<number>();
    calls.push({ context, resolve, reject });
    return promise;
  };
  return { calls, loader };
}

const never = (): never => {
  throw new Error("no load was expected");
};
const down = new Error("no database");
const fail = (): Promise<number> => Promise.reject(down);

afterEach(() => {
  for (const cache of made.splice(0)) {
    const { sets, entries, evictions, expirations, deletes, replaced, cleared, ...stats } = cache.getStats();
    expect(sets, "every value that came is here or has left").toBe(
      entries + evictions + expirations + deletes + replaced + cleared,
    );
    expect(stats.loads_in_flight).toBeGreaterThanOrEqual(0);
    expect(stats.stale_hits).toBeLessThanOrEqual(stats.hits);
    expect(stats.stale_on_error).toBeLessThanOrEqual(stats.misses);
  }
});

describe("staleWhileRevalidateMs", () => {
  test("a value that is over is given at once, while one load in the background replaces it", async () => {
    const { cache, clock, left } = make({ staleWhileRevalidateMs: 5 });
    const { calls, loader } = manual();
    cache.set("k", 1);
    clock.advance(10);
    expect(await Promise.all([cache.getOrLoad("k", loader), cache.getOrLoad("k", loader)])).toEqual([1, 1]);
    expect(calls).toHaveLength(1);
    expect(left).toEqual([]);
    calls[0]!.resolve(2);
    await turn();
    expect(await cache.getOrLoad("k", never)).toBe(2);
    expect(cache.getRemainingTtlMs("k")).toBe(10);
    expect(left).toEqual(["k=1 replaced"]);
    expect(cache.getStats()).toMatchObject({
      hits: 3,
      misses: 0,
      stale_hits: 2,
      refreshes: 1,
      loads_ok: 1,
      loads_deduplicated: 0,
      replaced: 1,
      expirations: 0,
    });
  });

  test.each([
    [0, "fresh"],
    [9, "fresh"],
    [10, "stale"],
    [14, "stale"],
    [15, "loaded"],
    [1000, "loaded"],
  ])("with a TTL of 10 and a window of 5, after %i ms the value is %s", async (ms, state) => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 5 });
    cache.set("k", 1);
    clock.advance(ms);
    expect(await cache.getOrLoad("k", () => 2)).toBe(state === "loaded" ? 2 : 1);
    expect(cache.getStats()).toMatchObject({
      hits: state === "loaded" ? 0 : 1,
      stale_hits: state === "stale" ? 1 : 0,
      refreshes: state === "stale" ? 1 : 0,
      expirations: state === "loaded" ? 1 : 0,
    });
  });

  test.each([-10, 0, 2 ** 40])("the bounds are the same when the clock begins at %i", async (start) => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 5 });
    const seen: number[] = [];
    for (const ms of [9, 10, 14, 15]) {
      clock.time = start;
      cache.set("k", 1);
      clock.time = start + ms;
      seen.push(await cache.getOrLoad("k", () => 2));
      await turn();
    }
    expect(seen).toEqual([1, 1, 1, 2]);
  });

  test("a window of 0 gives no value that is over, not even in the millisecond in which its TTL ends", async () => {
    const { cache, clock } = make({ staleIfErrorMs: 100 });
    cache.set("k", 1);
    clock.advance(10);
    expect(await cache.getOrLoad("k", () => 2)).toBe(2);
    expect(cache.getStats()).toMatchObject({ stale_hits: 0, refreshes: 0, misses: 1 });
  });

  test.each([
    [14, 1],
    [15, 2],
  ])("a caller may ask for a narrower window, with the same bounds: after %i ms it gets %i", async (ms, given) => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 100 });
    cache.set("k", 1);
    clock.advance(ms);
    expect(await cache.getOrLoad("k", () => 2, { staleWhileRevalidateMs: 5 })).toBe(given);
  });

  test("a caller who asks for a wider window gets no more than the value was kept for, removed yet or not", async () => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 5 });
    cache.set("k", 1);
    clock.advance(15);
    expect(await cache.getOrLoad("k", () => 2, { staleWhileRevalidateMs: 100, staleIfErrorMs: 100 })).toBe(2);
    expect(cache.getStats()).toMatchObject({ expirations: 1, stale_hits: 0 });
  });

  test("the options of a load keep its value for later callers", async () => {
    const { cache, clock } = make();
    const options = { ttlMs: 3, staleWhileRevalidateMs: 2 };
    await cache.getOrLoad("k", () => 1, options);
    clock.advance(4);
    expect(await cache.getOrLoad("k", () => 2, options)).toBe(1);
    await turn();
    clock.advance(5);
    expect(await cache.getOrLoad("k", () => 3, options)).toBe(3);
  });

  test("nothing but loads ever sees a value that is over", async () => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 100, staleIfErrorMs: 100 });
    cache.set("k", 1);
    clock.advance(10);
    const each: unknown[] = [];
    cache.forEach((value) => each.push(value));
    expect([cache.get("k"), cache.peek("k"), cache.has("k"), cache.getRemainingTtlMs("k")]).toEqual([
      undefined,
      undefined,
      false,
      undefined,
    ]);
    expect([
      [...cache],
      [...cache.entriesReversed()],
      [...cache.keys()],
      [...cache.keysReversed()],
      [...cache.values()],
      [...cache.valuesReversed()],
      each,
      cache.dump().entries,
    ]).toEqual([[], [], [], [], [], [], [], []]);
    expect(cache.size).toBe(1);
    expect(cache.getStats()).toMatchObject({ entries: 1, hits: 0, misses: 1, expirations: 0 });
    expect(await cache.getOrLoad("k", () => 2)).toBe(1);
  });

  test("the value leaves as expired at the end of its window, and not before, whichever verb looks", () => {
    const { cache, clock, left } = make({ staleWhileRevalidateMs: 5 });
    const verbs: ((cache: LRUCache<string, number>) => unknown)[] = [
      (c) => c.get("k"),
      (c) => c.size,
      (c) => c.getStats(),
      (c) => c.cleanupExpired(),
      (c) => c.set("k", 0),
      (c) => c.delete("k"),
      (c) => c.clear(),
    ];
    for (const [i, verb] of verbs.entries()) {
      cache.clear();
      left.length = 0;
      cache.set("k", i);
      clock.advance(14);
      cache.get("k");
      cache.cleanupExpired();
      expect(left, `verb ${i}`).toEqual([]);
      clock.advance(1);
      verb(cache);
      expect(left, `verb ${i}`).toEqual([`k=${i} expired`]);
    }
  });

  test("inside its window it leaves for the reason that made it leave", () => {
    const { cache, clock, left } = make({ staleWhileRevalidateMs: 5, capacity: 1 });
    const verbs: (() => unknown)[] = [
      () => cache.set("k", 0),
      () => cache.delete("k"),
      () => cache.clear(),
      () => cache.set("other", 0),
    ];
    for (const [i, verb] of verbs.entries()) {
      cache.clear();
      cache.set("k", i + 1);
      left.length = 0;
      clock.advance(10);
      verb();
      expect(left[0]).toBe(`k=${i + 1} ${["replaced", "deleted", "cleared", "capacity"][i]}`);
    }
  });

  test("delete answers false for it, and takes it out all the same", async () => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 5 });
    cache.set("k", 1);
    clock.advance(10);
    expect(cache.delete("k")).toBe(false);
    expect(cache.size).toBe(0);
    expect(await cache.getOrLoad("k", () => 2)).toBe(2);
  });

  test("a window without an end keeps it until there is a newer one", async () => {
    const { cache, clock, left } = make({ staleWhileRevalidateMs: Infinity });
    cache.set("k", 1);
    clock.advance(2 ** 50);
    expect(cache.cleanupExpired()).toBe(0);
    expect(await cache.getOrLoad("k", () => 2)).toBe(1);
    await turn();
    expect(cache.get("k")).toBe(2);
    expect(left).toEqual(["k=1 replaced"]);
  });

  test("an entry that went unused for its idle time is kept for loads, too, for the whole window", async () => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 5, defaultTtlMs: 100, defaultIdleMs: 10 });
    const seen: number[] = [];
    for (const ms of [14, 15]) {
      cache.set("k", 1);
      clock.advance(8);
      expect(cache.get("k")).toBe(1);
      clock.advance(ms);
      expect(cache.get("k")).toBe(undefined);
      seen.push(await cache.getOrLoad("k", () => 2));
      await turn();
    }
    expect(seen).toEqual([1, 2]);
  });

  test("entries of every kind lie side by side, in any order of coming", async () => {
    const { cache, clock } = make({ defaultTtlMs: Infinity });
    cache.set("for ever", 1);
    cache.set("plain", 2, 10);
    await cache.getOrLoad("kept", () => 3, { ttlMs: 10, staleWhileRevalidateMs: 10 });
    cache.set("plain too", 4, 10);
    cache.set("idle", 5, { idleMs: 10 });
    for (let i = 0; i < 100; i++) cache.set(`filler ${i}`, i, 20);
    clock.advance(10);
    expect([...cache.keys()].filter((key) => !key.startsWith("filler"))).toEqual(["for ever"]);
    expect(cache.size).toBe(102);
    expect(await cache.getOrLoad("kept", () => 33, { ttlMs: 10, staleWhileRevalidateMs: 10 })).toBe(3);
    expect(await cache.getOrLoad("plain", () => 22, { ttlMs: 10, staleWhileRevalidateMs: 10 })).toBe(22);
    clock.advance(10);
    expect([...cache.keys()].toSorted()).toEqual(["for ever"]);
  });
});

describe("a refresh in the background", () => {
  test("is told what it refreshes, and may say that it still holds: nothing has left then", async () => {
    const { cache, clock, left } = make({ staleWhileRevalidateMs: 5 });
    cache.set("k", 1);
    clock.advance(12);
    const seen: unknown[] = [];
    const revalidate = ({ previous }: LoadContext<string, number>): number => {
      seen.push(previous);
      return previous?.value ?? 0;
    };
    await cache.getOrLoad("k", revalidate);
    await turn();
    expect(seen).toEqual([{ value: 1 }]);
    expect(cache.getRemainingTtlMs("k")).toBe(10);
    expect(left).toEqual([]);
    await cache.getOrLoad("new", revalidate);
    expect(seen[1]).toBe(undefined);
  });

  test("previous tells a stored undefined from nothing", async () => {
    const clock = new FakeClock();
    const cache = new LRUCache<string, number | undefined>({ clock, staleWhileRevalidateMs: 5, defaultTtlMs: 10 });
    cache.set("k", undefined);
    clock.advance(10);
    const loader = vi.fn(({ previous }: LoadContext<string, number | undefined>) => (previous === undefined ? 1 : 2));
    expect(await cache.getOrLoad("k", loader)).toBe(undefined);
    await turn();
    expect(cache.get("k")).toBe(2);
  });

  test.each<[string, (cache: LRUCache<string, number>) => void, number | undefined]>([
    ["set", (cache) => void cache.set("k", 9), 9],
    ["delete", (cache) => void cache.delete("k"), undefined],
    ["clear", (cache) => cache.clear(), undefined],
    [
      "load of a dump",
      (cache) =>
        void cache.load({ version: 1, takenAt: Date.now(), entries: [{ key: "k", value: 9, remainingTtlMs: null }] }),
      9,
    ],
  ])("does not write after a %s", async (_, change, value) => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 5 });
    const { calls, loader } = manual();
    cache.set("k", 1);
    clock.advance(10);
    expect(await cache.getOrLoad("k", loader)).toBe(1);
    change(cache);
    calls[0]!.resolve(2);
    await turn();
    expect(cache.get("k")).toBe(value);
    expect(cache.getStats()).toMatchObject({ loads_ok: 1, loads_in_flight: 0 });
  });

  test("that fails after a delete or a set leaves no trace: no error, no pause", async () => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 50, errorTtlMs: 1000, refreshBackoffMs: 1000 });
    const { calls, loader } = manual();
    for (const change of [() => cache.delete("k"), () => cache.set("k", 2)]) {
      cache.set("k", 1);
      clock.advance(10);
      await cache.getOrLoad("k", loader);
      change();
      calls.at(-1)!.reject(down);
      await turn();
      clock.advance(10);
      const started = calls.length;
      void cache.getOrLoad("k", loader);
      expect(calls).toHaveLength(started + 1);
      calls.at(-1)!.resolve(3);
      await turn();
    }
  });

  test("stores its value even if the old one was evicted, or expired, meanwhile", async () => {
    const { cache, clock, left } = make({ staleWhileRevalidateMs: 5, capacity: 1 });
    const { calls, loader } = manual();
    cache.set("k", 1);
    clock.advance(10);
    await cache.getOrLoad("k", loader);
    cache.set("other", 0);
    calls[0]!.resolve(2);
    await turn();
    expect([...cache]).toEqual([["k", 2]]);
    clock.advance(12);
    await cache.getOrLoad("k", loader);
    clock.advance(3);
    expect(cache.cleanupExpired()).toBe(1);
    calls[1]!.resolve(3);
    await turn();
    expect([...cache]).toEqual([["k", 3]]);
    expect(left).toEqual(["k=1 capacity", "other=0 capacity", "k=2 expired"]);
  });

  test("is joined by a caller who finds nothing any more", async () => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 5 });
    const { calls, loader } = manual();
    cache.set("k", 1);
    clock.advance(10);
    expect(await cache.getOrLoad("k", loader)).toBe(1);
    clock.advance(5);
    const joined = cache.getOrLoad("k", never);
    calls[0]!.resolve(2);
    expect(await joined).toBe(2);
    expect(cache.getStats()).toMatchObject({ hits: 1, misses: 1, loads_deduplicated: 1, refreshes: 1, loads_ok: 1 });
  });

  test("that fails tells nobody, rejects nothing, and the old value stays", async () => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 50 });
    cache.set("k", 1);
    clock.advance(10);
    expect(await cache.getOrLoad("k", fail)).toBe(1);
    expect(
      await cache.getOrLoad("k", () => {
        throw down;
      }),
    ).toBe(1);
    await turn();
    expect(cache.getStats()).toMatchObject({ loads_failed: 1, stale_hits: 2, stale_on_error: 0, entries: 1 });
  });

  test("is not ended by the signal of the caller that started it, who was served", async () => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 5 });
    const { calls, loader } = manual();
    const controller = new AbortController();
    cache.set("k", 1);
    clock.advance(10);
    await cache.getOrLoad("k", loader, { signal: controller.signal });
    controller.abort();
    expect(calls[0]!.context.signal.aborted).toBe(false);
    calls[0]!.resolve(2);
    await turn();
    expect(cache.get("k")).toBe(2);
  });

  test.each<[string, (context: LoadContext<string, number>) => void]>([
    ["store = false", (context) => (context.store = false)],
    ["a TTL of 0", (context) => (context.ttlMs = 0)],
  ])("whose loader says %s takes the old value out: it is obsolete", async (_, say) => {
    const { cache, clock, left } = make({ staleWhileRevalidateMs: 5 });
    cache.set("k", 1);
    clock.advance(10);
    await cache.getOrLoad("k", (context) => {
      say(context);
      return 2;
    });
    await turn();
    expect(cache.size).toBe(0);
    expect(left).toEqual(["k=1 replaced"]);
  });

  test("whose value is larger than the budget takes the old one out", async () => {
    const { cache, clock, left } = make({ staleWhileRevalidateMs: 5, maxBytes: 100 });
    cache.set("k", 1);
    clock.advance(10);
    await cache.getOrLoad("k", () => 2, { sizeBytes: 101 });
    await turn();
    expect(cache.size).toBe(0);
    expect(left).toEqual(["k=1 replaced"]);
    expect(cache.getStats()).toMatchObject({ rejected_too_large: 1, loads_ok: 1 });
  });

  test("whose value cannot be stored has failed: the next one has to wait for the pause, too", async () => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 1000, refreshBackoffMs: 100 });
    cache.set("k", 1);
    clock.advance(10);
    const loader = vi.fn((context: LoadContext<string, number>) => {
      context.sizeBytes = -1;
      return 2;
    });
    for (const ms of [0, 99, 1]) {
      clock.advance(ms);
      expect(await cache.getOrLoad("k", loader)).toBe(1);
      await turn();
    }
    expect(loader).toHaveBeenCalledTimes(2);
    expect(cache.getStats()).toMatchObject({ loads_failed: 2, loads_ok: 0, entries: 1 });
  });

  test("that hangs does not hold the key for ever: it ends when the last caller that came to wait for it leaves", async () => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 5 });
    const { calls, loader } = manual();
    cache.set("k", 1);
    clock.advance(10);
    expect(await cache.getOrLoad("k", loader)).toBe(1);
    clock.advance(5);
    const controller = new AbortController();
    const waiting = cache.getOrLoad("k", loader, { signal: controller.signal });
    expect(calls).toHaveLength(1);
    controller.abort("too slow");
    await expect(waiting).rejects.toBe("too slow");
    expect(calls[0]!.context.signal.aborted).toBe(true);
    expect(await cache.getOrLoad("k", () => 2)).toBe(2);
    calls[0]!.resolve(99);
    await turn();
    expect(cache.get("k")).toBe(2);
    expect(cache.getStats()).toMatchObject({ loads_abandoned: 1, loads_ok: 1, loads_in_flight: 0 });
  });

  describe("with loadTimeoutMs", () => {
    beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
    afterEach(() => void vi.useRealTimers());

    test("that hangs is given up, and after the pause another one starts", async () => {
      const { cache, clock } = make({ staleWhileRevalidateMs: 1000, loadTimeoutMs: 50, refreshBackoffMs: 100 });
      const { calls, loader } = manual();
      cache.set("k", 1);
      clock.advance(10);
      expect(await cache.getOrLoad("k", loader)).toBe(1);
      vi.advanceTimersByTime(50);
      expect(calls[0]!.context.signal.reason).toBeInstanceOf(CacheLoadTimeoutError);
      calls[0]!.resolve(99);
      await turn();
      clock.advance(99);
      expect(await cache.getOrLoad("k", loader)).toBe(1);
      expect(calls).toHaveLength(1);
      clock.advance(1);
      expect(await cache.getOrLoad("k", loader)).toBe(1);
      expect(calls).toHaveLength(2);
      calls[1]!.resolve(2);
      await turn();
      expect(cache.get("k")).toBe(2);
      expect(vi.getTimerCount()).toBe(0);
    });
  });
});

describe("close()", () => {
  test("aborts the refreshes that nobody waits for, and nothing else", async () => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 5 });
    const { calls, loader } = manual();
    for (const key of ["alone", "joined"]) cache.set(key, 1);
    clock.advance(10);
    for (const key of ["alone", "joined"]) expect(await cache.getOrLoad(key, loader)).toBe(1);
    clock.advance(1);
    const foreground = cache.getOrLoad("waited for", loader);
    const joined = cache.getOrLoad("joined", never, { staleWhileRevalidateMs: 0 });
    cache.close();
    cache.close();
    expect(calls.map(({ context }) => context.signal.aborted)).toEqual([true, false, false]);
    expect(calls[0]!.context.signal.reason).toBeInstanceOf(CacheLoadAbandonedError);
    for (const { resolve } of calls) resolve(2);
    expect(await Promise.all([foreground, joined])).toEqual([2, 2]);
    expect(cache.get("alone")).toBe(undefined);
    expect(cache.size).toBe(3);
    expect(cache.getStats()).toMatchObject({ loads_abandoned: 1, loads_ok: 2, loads_in_flight: 0, refreshes: 2 });
    // The cache goes on working, and what was cut off can be loaded again.
    expect(await cache.getOrLoad("alone", () => 3)).toBe(1);
    await turn();
    expect(cache.get("alone")).toBe(3);
  });

  test("called by onEvict while a refresh arrives ends it once", async () => {
    const clock = new FakeClock();
    const cache: LRUCache<string, number> = new LRUCache({
      clock,
      defaultTtlMs: 10,
      staleWhileRevalidateMs: 5,
      onEvict: () => cache.close(),
    });
    made.push(cache);
    cache.set("k", 1);
    clock.advance(10);
    await cache.getOrLoad("k", () => 2);
    await turn();
    expect(cache.get("k")).toBe(2);
    expect(cache.getStats()).toMatchObject({ loads_ok: 1, loads_abandoned: 0, loads_in_flight: 0 });
  });
});

describe("staleIfErrorMs", () => {
  test.each([
    [10, 1],
    [14, 1],
    [15, "error"],
  ])("with a TTL of 10 and a window of 5, a load that fails after %i ms gives %s", async (ms, given) => {
    const { cache, clock } = make({ staleIfErrorMs: 5 });
    cache.set("k", 1);
    clock.advance(ms);
    const call = cache.getOrLoad("k", fail).catch((error: unknown) => (error === down ? "error" : error));
    expect(await call).toBe(given);
    expect(cache.getStats()).toMatchObject({
      misses: 1,
      stale_hits: 0,
      stale_on_error: given === 1 ? 1 : 0,
      loads_failed: 1,
    });
  });

  test.each([
    [14, 1],
    [15, "error"],
  ])("a caller may ask for a narrower window, with the same bounds: after %i ms it gets %s", async (ms, given) => {
    const { cache, clock } = make({ staleIfErrorMs: 100 });
    cache.set("k", 1);
    clock.advance(ms);
    const call = cache.getOrLoad("k", fail, { staleIfErrorMs: 5 }).catch(() => "error");
    expect(await call).toBe(given);
  });

  test("the options of a load keep its value for the load that fails later", async () => {
    const { cache, clock } = make();
    await cache.getOrLoad("k", () => 1, { staleIfErrorMs: 5 });
    clock.advance(14);
    expect(cache.size).toBe(1);
    expect(await cache.getOrLoad("k", fail, { staleIfErrorMs: 5 })).toBe(1);
    clock.advance(1);
    expect(cache.size).toBe(0);
  });

  test("a window of 0 gives the error, also in the millisecond in which the TTL ends", async () => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 100 });
    cache.set("k", 1);
    clock.advance(10);
    await expect(cache.getOrLoad("k", fail, { staleWhileRevalidateMs: 0 })).rejects.toBe(down);
  });

  test("it is what the clock says when the load fails that counts", async () => {
    const { cache, clock } = make({ staleIfErrorMs: 5 });
    const { calls, loader } = manual();
    cache.set("k", 1);
    clock.advance(14);
    const call = cache.getOrLoad("k", loader);
    clock.advance(1);
    calls[0]!.reject(down);
    await expect(call).rejects.toBe(down);
  });

  test("a load that goes well replaces the value, and all who came meanwhile wait for it", async () => {
    const { cache, clock, left } = make({ staleIfErrorMs: 5 });
    const { calls, loader } = manual();
    cache.set("k", 1);
    clock.advance(10);
    const waiting = [cache.getOrLoad("k", loader), cache.getOrLoad("k", never)];
    expect(calls[0]!.context.previous).toEqual({ value: 1 });
    calls[0]!.resolve(2);
    expect(await Promise.all(waiting)).toEqual([2, 2]);
    expect(left).toEqual(["k=1 replaced"]);
    expect(cache.getStats()).toMatchObject({
      hits: 0,
      misses: 2,
      loads_deduplicated: 1,
      stale_on_error: 0,
      refreshes: 0,
    });
  });

  test("all who wait for the load that fails get the old value, and each is counted", async () => {
    const { cache, clock } = make({ staleIfErrorMs: 5 });
    const { calls, loader } = manual();
    cache.set("k", 1);
    clock.advance(10);
    const waiting = [1, 2, 3].map(() => cache.getOrLoad("k", loader));
    calls[0]!.reject(down);
    expect(await Promise.all(waiting)).toEqual([1, 1, 1]);
    expect(cache.getStats()).toMatchObject({ misses: 3, stale_on_error: 3, loads_failed: 1 });
    expect(cache.get("k")).toBe(undefined);
  });

  test.each<[string, (cache: LRUCache<string, number>) => void]>([
    ["set", (cache) => void cache.set("k", 9)],
    ["delete", (cache) => void cache.delete("k")],
    ["clear", (cache) => cache.clear()],
  ])(
    "after a %s while the load ran, its callers get the error: nothing stands in for what is gone",
    async (_, change) => {
      const { cache, clock } = make({ staleIfErrorMs: 50 });
      const { calls, loader } = manual();
      cache.set("k", 1);
      clock.advance(10);
      const call = cache.getOrLoad("k", loader);
      change(cache);
      calls[0]!.reject(down);
      await expect(call).rejects.toBe(down);
      expect(cache.getStats().stale_on_error).toBe(0);
    },
  );

  test("a value that cannot be stored is a load that failed", async () => {
    const { cache, clock } = make({ staleIfErrorMs: 50 });
    cache.set("k", 1);
    clock.advance(10);
    const bad = (context: LoadContext<string, number>): number => {
      context.sizeBytes = 0.5;
      return 2;
    };
    expect(await cache.getOrLoad("k", bad)).toBe(1);
    expect(cache.getStats()).toMatchObject({ stale_on_error: 1, loads_failed: 1 });
    await expect(cache.getOrLoad("new", bad)).rejects.toThrow(CacheSizeError);
  });

  test("an error that its callers got is remembered even while an old value is kept for others", async () => {
    const { cache, clock } = make({ staleIfErrorMs: 100, errorTtlMs: 20, refreshBackoffMs: 0 });
    const loader = vi.fn(fail);
    cache.set("k", 1);
    clock.advance(15);
    for (const _ of [1, 2]) await expect(cache.getOrLoad("k", loader, { staleIfErrorMs: 5 })).rejects.toBe(down);
    expect(loader).toHaveBeenCalledTimes(1);
  });
});

describe("refreshBackoffMs", () => {
  test("after a load that failed the old value is given without another one, to the millisecond", async () => {
    const { cache, clock } = make({ staleIfErrorMs: 1000, refreshBackoffMs: 100 });
    const loader = vi.fn(fail);
    cache.set("k", 1);
    clock.advance(10);
    for (const ms of [0, 0, 99, 1, 99, 1]) {
      clock.advance(ms);
      expect(await cache.getOrLoad("k", loader)).toBe(1);
    }
    await turn();
    // The first caller waited for a load that failed; when a pause is over, the next one waits again.
    expect(loader).toHaveBeenCalledTimes(3);
    expect(cache.getStats()).toMatchObject({ misses: 3, hits: 3, stale_on_error: 3, stale_hits: 3, refreshes: 0 });
  });

  test("it counts from the end of the load that failed", async () => {
    const { cache, clock } = make({ staleIfErrorMs: 1000, refreshBackoffMs: 100 });
    const { calls, loader } = manual();
    cache.set("k", 1);
    clock.advance(10);
    const call = cache.getOrLoad("k", loader);
    clock.advance(50);
    calls[0]!.reject(down);
    expect(await call).toBe(1);
    clock.advance(99);
    expect(await cache.getOrLoad("k", never)).toBe(1);
    clock.advance(1);
    void cache.getOrLoad("k", loader);
    expect(calls).toHaveLength(2);
    calls[1]!.resolve(2);
    await turn();
  });

  test("0 means that there is no pause, and Infinity that it never ends", async () => {
    for (const [refreshBackoffMs, loads] of [
      [0, 3],
      [Infinity, 1],
    ] as const) {
      for (const window of ["staleWhileRevalidateMs", "staleIfErrorMs"] as const) {
        const { cache, clock } = make({ [window]: 1000, refreshBackoffMs });
        const loader = vi.fn(fail);
        cache.set("k", 1);
        clock.advance(10);
        for (let i = 0; i < 3; i++) {
          expect(await cache.getOrLoad("k", loader)).toBe(1);
          await turn();
          clock.advance(5);
        }
        expect(loader, `${window}, a pause of ${refreshBackoffMs}`).toHaveBeenCalledTimes(loads);
      }
    }
  });

  test("it does not outlive the value: a newer one, or none, starts without a pause", async () => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 100, refreshBackoffMs: 1000 });
    cache.set("k", 1);
    clock.advance(10);
    await cache.getOrLoad("k", fail);
    await turn();
    cache.set("k", 2);
    clock.advance(10);
    expect(await cache.getOrLoad("k", () => 3)).toBe(2);
    await turn();
    expect(cache.get("k")).toBe(3);
    clock.advance(10);
    await cache.getOrLoad("k", fail);
    await turn();
    clock.advance(100);
    expect(await cache.getOrLoad("k", () => 4)).toBe(4);
  });

  test("it does not pass to another entry that takes the place of the evicted one", async () => {
    const { cache, clock } = make({ staleWhileRevalidateMs: 100, refreshBackoffMs: 1000, capacity: 1 });
    cache.set("a", 1);
    clock.advance(10);
    await cache.getOrLoad("a", fail);
    await turn();
    cache.set("b", 1);
    clock.advance(10);
    await cache.getOrLoad("b", () => 2);
    await turn();
    expect(cache.get("b")).toBe(2);
  });
});

describe("refreshAheadRatio", () => {
  test("a value that is found after that share of its TTL is given, and loaded anew in the background", async () => {
    const { cache, clock, left } = make({ refreshAheadRatio: 0.8 });
    const { calls, loader } = manual();
    await cache.getOrLoad("k", () => 1);
    clock.advance(7);
    expect(await cache.getOrLoad("k", loader)).toBe(1);
    expect(calls).toHaveLength(0);
    clock.advance(1);
    expect(await Promise.all([cache.getOrLoad("k", loader), cache.getOrLoad("k", loader)])).toEqual([1, 1]);
    expect(calls).toHaveLength(1);
    expect(calls[0]!.context.previous).toEqual({ value: 1 });
    calls[0]!.resolve(2);
    await turn();
    expect(cache.getRemainingTtlMs("k")).toBe(10);
    expect(left).toEqual(["k=1 replaced"]);
    expect(cache.getStats()).toMatchObject({ hits: 3, misses: 1, stale_hits: 0, refreshes: 1, loads_ok: 2 });
  });

  test("a value in use never expires, and one that nobody asks for does", async () => {
    const { cache, clock } = make({ refreshAheadRatio: 0.5 });
    let serial = 0;
    const loader = (): number => ++serial;
    await cache.getOrLoad("used", loader);
    await cache.getOrLoad("unused", loader);
    for (let i = 0; i < 50; i++) {
      clock.advance(3);
      await cache.getOrLoad("used", loader);
      await turn();
    }
    expect(cache.getStats()).toMatchObject({
      misses: 2,
      hits: 50,
      stale_hits: 0,
      expirations: 1,
      entries: 1,
      refreshes: 25,
    });
  });

  test("1 never does it, and no other verb than a load", async () => {
    const { cache, clock } = make();
    await cache.getOrLoad("never", () => 1);
    await cache.getOrLoad("early", () => 1, { refreshAheadRatio: 0.1 });
    clock.advance(9);
    await cache.getOrLoad("never", never);
    cache.get("early");
    cache.peek("early");
    await turn();
    expect(cache.getStats()).toMatchObject({ refreshes: 0 });
    expect(await cache.getOrLoad("early", () => 2)).toBe(1);
    await turn();
    expect(cache.get("early")).toBe(2);
  });

  test("a refresh that fails is tried again after the pause; the value lives on until its end, and no longer", async () => {
    const { cache, clock } = make({ refreshAheadRatio: 0.5, refreshBackoffMs: 2 });
    const loader = vi.fn(fail);
    await cache.getOrLoad("k", () => 1);
    clock.advance(5);
    const tried: number[] = [];
    for (const ms of [0, 1, 1, 1, 1]) {
      clock.advance(ms);
      expect(await cache.getOrLoad("k", loader)).toBe(1);
      await turn();
      tried.push(loader.mock.calls.length);
    }
    expect(tried).toEqual([1, 1, 2, 2, 3]);
    clock.advance(1);
    await expect(cache.getOrLoad("k", loader)).rejects.toBe(down);
    expect(cache.getStats()).toMatchObject({ expirations: 1, stale_hits: 0 });
  });

  test("the error of a refresh that fails is told to nobody, also not when the value has expired meanwhile", async () => {
    const { cache, clock } = make({ refreshAheadRatio: 0.5, errorTtlMs: 1000 });
    await cache.getOrLoad("k", () => 1);
    clock.advance(9);
    expect(await cache.getOrLoad("k", fail)).toBe(1);
    await turn();
    clock.advance(1);
    expect(await cache.getOrLoad("k", () => 2)).toBe(2);
  });

  test("a value that is set in place of a loaded one does not inherit its refresh", async () => {
    const { cache, clock } = make();
    const options = { refreshAheadRatio: 0.5 };
    await cache.getOrLoad("k", () => 1, options);
    cache.set("k", 2);
    clock.advance(9);
    expect(await cache.getOrLoad("k", never)).toBe(2);
    expect(cache.getStats().refreshes).toBe(0);
  });

  test("it is a share of the TTL that jitter has left", async () => {
    const { cache, clock } = make({ refreshAheadRatio: 0.5, ttlJitter: 0.4, random: () => 0.5, defaultTtlMs: 100 });
    await cache.getOrLoad("k", () => 1);
    expect(cache.getRemainingTtlMs("k")).toBe(80);
    clock.advance(39);
    await cache.getOrLoad("k", never);
    clock.advance(1);
    await cache.getOrLoad("k", () => 2);
    await turn();
    expect(cache.get("k")).toBe(2);
  });

  test("what never expires is never refreshed", async () => {
    const { cache, clock } = make({ refreshAheadRatio: 0.1, defaultTtlMs: Infinity, staleWhileRevalidateMs: 5 });
    await cache.getOrLoad("k", () => 1);
    clock.advance(2 ** 50);
    expect(await cache.getOrLoad("k", never)).toBe(1);
    // Not by a clock that is broken, either.
    for (const time of [NaN, Infinity]) {
      clock.time = time;
      expect(await cache.getOrLoad("k", never)).toBe(1);
    }
    clock.time = 0;
  });

  test("an idle time that is over is followed by a refresh, whatever the refreshAheadRatio", async () => {
    const { cache, clock } = make();
    const options = { ttlMs: 1000, idleMs: 100, refreshAheadRatio: 0.8, staleWhileRevalidateMs: 500 };
    await cache.getOrLoad("k", () => 1, options);
    clock.advance(100);
    expect(await cache.getOrLoad("k", () => 2, options)).toBe(1);
    await turn();
    expect(cache.get("k")).toBe(2);
  });

  test("an idle time that ends is no failed load: the old value is not given in its place", async () => {
    const { cache, clock } = make();
    const options = { ttlMs: 1000, idleMs: 100, refreshAheadRatio: 0.8, staleIfErrorMs: 500 };
    await cache.getOrLoad("k", () => 1, options);
    clock.advance(100);
    expect(await cache.getOrLoad("k", () => 2, options)).toBe(2);
  });

  test("holds for what set and load(dump) stored, too", async () => {
    const { cache, clock } = make({ refreshAheadRatio: 0.5, defaultTtlMs: 100 });
    cache.set("k", 1);
    const dump = cache.dump();
    clock.advance(60);
    expect(await cache.getOrLoad("k", () => 2)).toBe(1);
    await turn();
    expect(cache.get("k")).toBe(2);
    cache.load(dump, { elapsedMs: 0 });
    clock.advance(60);
    expect(await cache.getOrLoad("k", () => 3)).toBe(1);
    await turn();
    expect(cache.get("k")).toBe(3);
  });
});
