import { getEventListeners } from "node:events";
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, describe, expect, test, vi } from "vitest";
import {
  CacheConfigError,
  CacheLoadAbandonedError,
  CacheLoadResultError,
  CacheSizeError,
  CacheTtlError,
  LRUCache,
} from "../src/index.ts";
import type { BatchContext, CacheStats, LRUCacheOptions } from "../src/index.ts";
import { deferred } from "./deferred.ts";
import { FakeClock } from "./fake-clock.ts";

const made: { getStats(): CacheStats }[] = [];

function make<V = number>(options: LRUCacheOptions<string, V> = {}) {
  const clock = new FakeClock();
  const cache = new LRUCache<string, V>({ clock, cleanupIntervalMs: 0, defaultTtlMs: 1000, ...options });
  made.push(cache);
  return { cache, clock };
}

/** A loader of several keys whose calls the test ends one by one. */
function manual() {
  type Result = ReadonlyMap<string, number> | readonly number[];
  const calls: {
    context: BatchContext<string>;
    resolve: (result: Result) => void;
    reject: (error: unknown) => void;
  }[] = [];
  const loader = (context: BatchContext<string>): Promise<Result> => {
    const { promise, resolve, reject } = deferred<Result>();
    calls.push({ context, resolve, reject });
    return promise;
  };
  return { calls, loader };
}

/** Each key's length. */
const lengths = ({ keys }: BatchContext<string>): number[] => keys.map(({ length }) => length);
const never = (): never => {
  throw new Error("no load was expected");
};
const down = new Error("no database");

afterEach(() => {
  for (const cache of made.splice(0)) {
    const stats = cache.getStats();
    expect(stats.sets).toBe(
      stats.entries + stats.evictions + stats.expirations + stats.deletes + stats.replaced + stats.cleared,
    );
    expect(stats.loads_in_flight).toBe(0);
  }
});

describe("getManyOrLoad", () => {
  test("loads what is missing in one call, stores it, and gives all in the order of the keys", async () => {
    const { cache } = make();
    const loader = vi.fn(lengths);
    cache.set("two", 2);
    const result = await cache.getManyOrLoad(["c", "two", "aa", "b"], loader);
    expect([...result]).toEqual([
      ["c", 1],
      ["two", 2],
      ["aa", 2],
      ["b", 1],
    ]);
    expect(loader.mock.calls.map(([{ keys }]) => keys)).toEqual([["c", "aa", "b"]]);
    expect(Object.fromEntries(await cache.getManyOrLoad(["b", "c"], never))).toEqual({ b: 1, c: 1 });
    expect(cache.getStats()).toMatchObject({ hits: 3, misses: 3, loads_ok: 1, sets: 4, loads_deduplicated: 0 });
  });

  test("a key that is asked for twice is looked up, loaded and given once", async () => {
    const { cache } = make();
    const loader = vi.fn(lengths);
    const result = await cache.getManyOrLoad(["a", "bb", "a", "bb", "a"], loader);
    expect([...result.keys()]).toEqual(["a", "bb"]);
    expect(loader.mock.calls[0]![0].keys).toEqual(["a", "bb"]);
    expect(cache.getStats()).toMatchObject({ misses: 2, hits: 0 });
  });

  test("keys are the same where a Map says so: NaN is NaN, and 0 is -0", async () => {
    const cache = new LRUCache<unknown, string>();
    const object = {};
    const loader = vi.fn(({ keys }: BatchContext<unknown>) => keys.map(String));
    const result = await cache.getManyOrLoad([NaN, 0, object, NaN, -0, object, undefined], loader);
    expect([...result.keys()]).toEqual([NaN, 0, object, undefined]);
    expect(loader.mock.calls[0]![0].keys).toHaveLength(4);
  });

  test("no keys make no load and an empty result", async () => {
    const { cache } = make();
    expect(await cache.getManyOrLoad([], never)).toEqual(new Map());
    expect(cache.getStats()).toMatchObject({ misses: 0, loads_ok: 0 });
  });

  test("keys may come from anything that can be iterated, which is read to its end before the first look-up", async () => {
    const { cache } = make();
    const seen: number[] = [];
    function* keys(): Generator<string> {
      for (const key of ["a", "bb", "ccc"]) {
        seen.push(cache.getStats().misses);
        yield key;
      }
    }
    expect([...(await cache.getManyOrLoad(keys(), lengths)).values()]).toEqual([1, 2, 3]);
    expect(seen).toEqual([0, 0, 0]);
    expect([...(await cache.getManyOrLoad(new Set(["a", "dddd"]), lengths)).values()]).toEqual([1, 4]);
    expect([...(await cache.getManyOrLoad(new Map([["a", 0]]).keys(), never)).values()]).toEqual([1]);
  });

  test("keys whose iteration throws reject the call, and nothing is loaded", async () => {
    const { cache } = make();
    function* keys(): Generator<string> {
      yield "a";
      throw down;
    }
    await expect(cache.getManyOrLoad(keys(), never)).rejects.toBe(down);
    expect(cache.getStats()).toMatchObject({ misses: 0, loads_failed: 0 });
  });

  test("a Map that is a result may have any order, and keys that nobody asked for, which are not stored", async () => {
    const { cache } = make();
    const result = await cache.getManyOrLoad(["a", "b"], () => new Map(Object.entries({ z: 26, b: 2, a: 1 })));
    expect([...result]).toEqual([
      ["a", 1],
      ["b", 2],
    ]);
    expect(cache.has("z")).toBe(false);
  });

  test.each<[string, unknown, string]>([
    ["too short an array", [1], "an array of 1"],
    ["too long an array", [1, 2, 3], "an array of 3"],
    ["nothing", undefined, "undefined"],
    ["null", null, "null"],
    ["a Set", new Set([1, 2]), "an object"],
    ["an object by key", { a: 1, b: 2 }, "an object"],
    ["a string", "ab", '"ab"'],
  ])("%s is no result: all keys fail, and the error says what is expected", async (_, given, shown) => {
    const { cache } = make({ name: "users" });
    // @ts-expect-error: callers without types
    const call = cache.getManyOrLoad(["a", "b"], () => given);
    await expect(call).rejects.toBeInstanceOf(CacheLoadResultError);
    await expect(call).rejects.toMatchObject({
      code: "ERR_VG_CACHE_LOAD_RESULT",
      message: expect.stringMatching(/^LRUCache "users": .* each of the 2 keys/),
    });
    await expect(call).rejects.toThrow(`got ${shown}.`);
    expect(cache.size).toBe(0);
    expect(cache.getStats()).toMatchObject({ loads_failed: 1, loads_ok: 0 });
  });

  test("a loader that throws at once rejects like one that rejects, and the next call loads anew", async () => {
    const { cache } = make();
    await expect(
      cache.getManyOrLoad(["a", "b"], () => {
        throw down;
      }),
    ).rejects.toBe(down);
    await expect(cache.getManyOrLoad(["a", "b"], () => Promise.reject(down))).rejects.toBe(down);
    expect([...(await cache.getManyOrLoad(["a", "b"], lengths)).values()]).toEqual([1, 1]);
    expect(cache.getStats()).toMatchObject({ loads_failed: 2, loads_ok: 1 });
  });

  test("bad arguments reject before anything is loaded, and name the verb", async () => {
    const { cache } = make({ name: "users" });
    const loader = vi.fn(lengths);
    await expect(cache.getManyOrLoad(["a"], loader, { ttlMs: NaN })).rejects.toThrow(CacheTtlError);
    await expect(cache.getManyOrLoad(["a"], loader, { sizeBytes: -1 })).rejects.toThrow(CacheSizeError);
    // @ts-expect-error: callers without types
    await expect(cache.getManyOrLoad(["a"], loader, { signal: 1 })).rejects.toThrow(
      'LRUCache "users": getManyOrLoad(): signal must be an AbortSignal, got 1.',
    );
    // @ts-expect-error: callers without types
    await expect(cache.getManyOrLoad(["a"], undefined)).rejects.toThrow(CacheConfigError);
    await expect(cache.getManyOrLoad(["a"], loader, { signal: AbortSignal.abort("no") })).rejects.toBe("no");
    expect(loader).not.toHaveBeenCalled();
    expect(cache.getStats().misses).toBe(0);
  });

  test("the keys that the loader gets cannot be changed by it, which would mix up whose value is whose", async () => {
    const { cache } = make();
    const call = cache.getManyOrLoad(["b", "a"], ({ keys }) => {
      (keys as string[]).sort();
      return lengths({ keys, signal: new AbortController().signal });
    });
    await expect(call).rejects.toThrow(TypeError);
  });

  test("more keys than the cache has room for are all given", async () => {
    const { cache } = make({ capacity: 2 });
    const keys = Array.from({ length: 100 }, (_, i) => "x".repeat(i));
    expect([...(await cache.getManyOrLoad(keys, lengths)).values()]).toEqual(keys.map(({ length }) => length));
    expect(cache.size).toBe(2);
  });

  test("the same options as for a single load hold for each of its values", async () => {
    const { cache } = make<number | undefined>({ maxBytes: 1000 });
    await cache.getManyOrLoad(["a", "bb", "ccc", "dddd"], () => [1, 2, undefined, 4], {
      ttlMs: (value, key) => (key === "dddd" ? 0 : (value ?? 0) * 10),
      negativeTtlMs: 7,
      sizeBytes: 100,
    });
    expect(["a", "bb", "ccc", "dddd"].map((key) => cache.getRemainingTtlMs(key))).toEqual([10, 20, 7, undefined]);
    expect(cache.getStats().total_size_mb).toBe(300 / 1024 / 1024);
  });
});

describe("keys that the loader has no value for", () => {
  test("are not in the result and not stored, and are asked for again", async () => {
    const { cache } = make();
    const loader = vi.fn(() => new Map([["b", 2]]));
    for (const _ of [1, 2]) {
      const result = await cache.getManyOrLoad(["a", "b", "c"], loader);
      expect([...result]).toEqual([["b", 2]]);
    }
    expect(loader).toHaveBeenCalledTimes(2);
    expect(cache.has("a")).toBe(false);
    expect(cache.getStats()).toMatchObject({ sets: 1, loads_ok: 2 });
  });

  test("are stored as undefined for negativeTtlMs, so that nobody asks for them meanwhile", async () => {
    const { cache, clock } = make<number | undefined>({ negativeTtlMs: 5 });
    const loader = vi.fn(() => new Map<string, number | undefined>());
    await cache.getManyOrLoad(["a"], loader);
    expect(cache.has("a")).toBe(true);
    expect((await cache.getManyOrLoad(["a"], loader)).get("a")).toBe(undefined);
    expect(loader).toHaveBeenCalledTimes(1);
    clock.advance(5);
    await cache.getManyOrLoad(["a"], loader);
    expect(loader).toHaveBeenCalledTimes(2);
  });

  test("are told from those whose value is undefined, which are stored like any other", async () => {
    const { cache } = make<number | undefined>();
    const result = await cache.getManyOrLoad(["a", "b"], () => new Map([["a", undefined]]));
    expect([...result]).toEqual([["a", undefined]]);
    expect([cache.has("a"), cache.has("b")]).toEqual([true, false]);
    expect(await cache.getManyOrLoad(["c"], () => [undefined], { negativeTtlMs: 0 })).toEqual(
      new Map([["c", undefined]]),
    );
    expect(cache.has("c")).toBe(false);
  });

  test("give undefined to a single caller who joined", async () => {
    const { cache } = make();
    const { calls, loader } = manual();
    const many = cache.getManyOrLoad(["a", "b"], loader);
    const one = cache.getOrLoad("a", never);
    calls[0]!.resolve(new Map([["b", 2]]));
    expect(await one).toBe(undefined);
    expect([...(await many)]).toEqual([["b", 2]]);
  });

  test("take an old value out that they were to refresh", async () => {
    const { cache, clock } = make({ defaultTtlMs: 10, staleWhileRevalidateMs: 10 });
    cache.set("a", 1);
    clock.advance(10);
    expect([...(await cache.getManyOrLoad(["a"], () => new Map()))]).toEqual([["a", 1]]);
    await turn();
    expect(cache.size).toBe(0);
    expect(cache.getStats()).toMatchObject({ replaced: 1, refreshes: 1 });
  });
});

describe("batches and other loads of the same keys", () => {
  test("a batch waits for single loads that run, and loads the rest", async () => {
    const { cache } = make();
    const { promise, resolve } = deferred<number>();
    const one = cache.getOrLoad("a", () => promise);
    const loader = vi.fn(lengths);
    const many = cache.getManyOrLoad(["bb", "a"], loader);
    await turn();
    expect(loader.mock.calls[0]![0].keys).toEqual(["bb"]);
    resolve(99);
    expect([...(await many)]).toEqual([
      ["bb", 2],
      ["a", 99],
    ]);
    expect(await one).toBe(99);
    expect(cache.getStats()).toMatchObject({ loads_ok: 2, loads_deduplicated: 1, misses: 3 });
  });

  test("single callers and other batches wait for the batch that runs", async () => {
    const { cache } = make();
    const { calls, loader } = manual();
    const first = cache.getManyOrLoad(["a", "bb"], loader);
    const second = cache.getManyOrLoad(["bb", "ccc"], loader);
    const one = cache.getOrLoad("ccc", never);
    const third = cache.getManyOrLoad(["a", "bb", "ccc"], never);
    expect(calls.map(({ context }) => context.keys)).toEqual([["a", "bb"], ["ccc"]]);
    calls[1]!.resolve([3]);
    expect(await one).toBe(3);
    calls[0]!.resolve([1, 2]);
    expect((await Promise.all([first, second, third])).map((result) => [...result.values()])).toEqual([
      [1, 2],
      [2, 3],
      [1, 2, 3],
    ]);
    expect(cache.getStats()).toMatchObject({ loads_ok: 2, loads_deduplicated: 5, misses: 8 });
  });

  test("a load that fails rejects those who wait for one of its keys, and no others", async () => {
    const { cache } = make();
    const { calls, loader } = manual();
    const first = cache.getManyOrLoad(["a", "b"], loader);
    const second = cache.getManyOrLoad(["c"], loader);
    const both = cache.getManyOrLoad(["b", "c"], never);
    calls[0]!.reject(down);
    await expect(first).rejects.toBe(down);
    await expect(both).rejects.toBe(down);
    calls[1]!.resolve([3]);
    expect([...(await second).values()]).toEqual([3]);
    expect(cache.get("c")).toBe(3);
  });

  test("what a callback does between the look-ups of a batch does not make a key load twice", async () => {
    const clock = new FakeClock();
    const single = vi.fn(() => Promise.resolve(7));
    const others: Promise<number>[] = [];
    const cache: LRUCache<string, number> = new LRUCache<string, number>({
      clock,
      onEvict: () => void others.push(cache.getOrLoad("a", single)),
    });
    made.push(cache);
    cache.set("expired", 1, 5);
    clock.advance(5);
    const loader = vi.fn(lengths);
    const result = await cache.getManyOrLoad(["a", "expired", "b"], loader);
    expect(single).toHaveBeenCalledTimes(1);
    expect(loader.mock.calls.map(([{ keys }]) => keys)).toEqual([["expired", "b"]]);
    expect([...result.values()]).toEqual([7, 7, 1]);
    expect(await Promise.all(others)).toEqual([7]);
  });

  test("a batch loader that makes another caller leave does not strand those who joined their load", async () => {
    const { cache } = make();
    const controller = new AbortController();
    const { promise, resolve } = deferred<number>();
    const leaver = cache.getOrLoad("a", () => promise, { signal: controller.signal });
    const many = cache.getManyOrLoad(["a", "bb"], (context) => {
      controller.abort("enough");
      return lengths(context);
    });
    await expect(leaver).rejects.toBe("enough");
    resolve(5);
    expect([...(await many).values()]).toEqual([5, 2]);
  });
});

describe("a value of a batch that cannot be stored", () => {
  test("fails its own key only: who waits for another one gets that", async () => {
    const { calls, loader } = manual();
    const sizeOf = (value: number): number => {
      if (value === 13) throw down;
      return value === 14 ? 0.5 : 8;
    };
    const { cache } = make({ sizeOf });
    const many = cache.getManyOrLoad(["good", "bad", "worse"], loader);
    const singles = ["good", "bad", "worse"].map((key) => cache.getOrLoad(key, never));
    const settled = Promise.allSettled([many, ...singles]);
    calls[0]!.resolve([1, 13, 14]);
    expect(await settled).toMatchObject([
      { status: "rejected", reason: down },
      { status: "fulfilled", value: 1 },
      { status: "rejected", reason: down },
      { status: "rejected", reason: { code: "ERR_VG_CACHE_SIZE" } },
    ]);
    expect([...cache]).toEqual([["good", 1]]);
    expect(cache.getStats()).toMatchObject({ loads_failed: 1, loads_ok: 0, sets: 1 });
  });

  test("since it is too large is given all the same, and the others are stored", async () => {
    const { cache } = make<Buffer>({ maxBytes: 100, sizeOf: ({ length }) => length });
    const result = await cache.getManyOrLoad(["small", "large"], () => [Buffer.alloc(10), Buffer.alloc(101)]);
    expect([...result.values()].map(({ length }) => length)).toEqual([10, 101]);
    expect([...cache.keys()]).toEqual(["small"]);
    expect(cache.getStats()).toMatchObject({ rejected_too_large: 1, loads_ok: 1 });
  });

  test("by a TTL that is none fails its own key only", async () => {
    const { cache } = make();
    const { calls, loader } = manual();
    const many = cache.getManyOrLoad(["a", "bb"], loader, { ttlMs: (value) => (value === 1 ? NaN : 5) });
    const one = cache.getOrLoad("bb", never);
    calls[0]!.resolve([1, 2]);
    await expect(many).rejects.toThrow(CacheTtlError);
    expect(await one).toBe(2);
    expect(cache.getRemainingTtlMs("bb")).toBe(5);
  });
});

describe("callers of a batch that leave", () => {
  test("reject with their own reason, and disturb nobody; the loader's signal aborts with the last one of any key", async () => {
    const { cache } = make();
    const { calls, loader } = manual();
    const [a, b, c] = [new AbortController(), new AbortController(), new AbortController()];
    const many = cache.getManyOrLoad(["x", "y"], loader, { signal: a.signal });
    const one = cache.getOrLoad("y", never, { signal: b.signal });
    const other = cache.getManyOrLoad(["y", "z"], loader, { signal: c.signal });
    a.abort("first");
    await expect(many).rejects.toBe("first");
    expect(calls[0]!.context.signal.aborted).toBe(false);
    b.abort("second");
    await expect(one).rejects.toBe("second");
    expect(calls[0]!.context.signal.aborted).toBe(false);
    c.abort("third");
    await expect(other).rejects.toBe("third");
    for (const { context } of calls) {
      expect(context.signal.reason).toBeInstanceOf(CacheLoadAbandonedError);
      expect(context.signal.reason).toMatchObject({ cause: "third" });
    }
    expect(cache.getStats()).toMatchObject({ loads_abandoned: 2, loads_in_flight: 0 });
    calls[0]!.resolve([1, 2]);
    await turn();
    expect(cache.size).toBe(0);
    expect([...(await cache.getManyOrLoad(["x", "y", "z"], lengths)).values()]).toEqual([1, 1, 1]);
  });

  test("leave no listener on their signal, whether they left, were served or were failed", async () => {
    const { cache } = make();
    const controller = new AbortController();
    const { signal } = controller;
    const keys = Array.from({ length: 50 }, (_, i) => `key ${i}`);
    await cache.getManyOrLoad(keys, lengths, { signal });
    cache.clear();
    await expect(cache.getManyOrLoad(keys, () => Promise.reject(down), { signal })).rejects.toBe(down);
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
    const { loader } = manual();
    const call = cache.getManyOrLoad(keys, loader, { signal });
    controller.abort("no");
    await expect(call).rejects.toBe("no");
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
  });

  test("may be made to leave by the loader itself, or by a callback on the way", async () => {
    for (const many of [true, false]) {
      const { cache } = make();
      const controller = new AbortController();
      const { signal } = controller;
      let seen: AbortSignal | undefined;
      const abort = (context: { signal: AbortSignal }): Promise<never> => {
        seen = context.signal;
        controller.abort("from inside");
        return new Promise(() => {});
      };
      const call = many ? cache.getManyOrLoad(["a"], abort, { signal }) : cache.getOrLoad("a", abort, { signal });
      await expect(call).rejects.toBe("from inside");
      expect(seen!.aborted).toBe(true);
      expect(cache.getStats()).toMatchObject({ loads_abandoned: 1, loads_in_flight: 0 });
      expect(await cache.getOrLoad("a", () => 1)).toBe(1);
    }
  });

  test("may be made to leave by onEvict while their value is stored: the load ends once, and well", async () => {
    const clock = new FakeClock();
    const controller = new AbortController();
    const cache = new LRUCache<string, number>({ clock, capacity: 1, onEvict: () => controller.abort("evicted") });
    made.push(cache);
    cache.set("old", 0);
    const call = cache.getManyOrLoad(["a", "b"], lengths, { signal: controller.signal });
    await expect(call).rejects.toBe("evicted");
    expect(cache.getStats()).toMatchObject({ loads_ok: 1, loads_abandoned: 0, loads_in_flight: 0 });
    expect([...cache.keys()]).toEqual(["b"]);
  });
});

describe("a change while a batch runs", () => {
  test.each<[string, (cache: LRUCache<string, number>) => void, (number | undefined)[]]>([
    ["set", (cache) => void cache.set("b", 20), [1, 20, 3]],
    ["delete", (cache) => void cache.delete("b"), [1, undefined, 3]],
    ["clear", (cache) => cache.clear(), [undefined, undefined, undefined]],
  ])(
    "%s of one key: its callers get their value, but what was loaded is not stored for it",
    async (_, change, left) => {
      const { cache } = make();
      const { calls, loader } = manual();
      const before = cache.getManyOrLoad(["a", "b", "c"], loader);
      change(cache);
      calls[0]!.resolve([1, 2, 3]);
      expect([...(await before).values()]).toEqual([1, 2, 3]);
      expect(["a", "b", "c"].map((key) => cache.get(key))).toEqual(left);
    },
  );

  test("callers from then on start a new load of that key, and still wait for the others", async () => {
    const { cache } = make();
    const { calls, loader } = manual();
    const before = cache.getManyOrLoad(["a", "b"], loader);
    cache.delete("b");
    const after = cache.getManyOrLoad(["a", "b"], loader);
    expect(calls[1]!.context.keys).toEqual(["b"]);
    calls[1]!.resolve([22]);
    await turn();
    calls[0]!.resolve([1, 2]);
    expect([...(await before).values()]).toEqual([1, 2]);
    expect([...(await after).values()]).toEqual([1, 22]);
    expect(Object.fromEntries(cache)).toEqual({ a: 1, b: 22 });
  });

  test("by the loader itself, of one of its own keys", async () => {
    const { cache } = make();
    const result = await cache.getManyOrLoad(["a", "b"], (context) => {
      cache.set("b", 20);
      return lengths(context);
    });
    expect([...result.values()]).toEqual([1, 1]);
    expect([cache.get("a"), cache.get("b")]).toEqual([1, 20]);
  });

  test.each<[string, (cache: LRUCache<string, number>) => void, number | undefined]>([
    ["set", (cache) => void cache.set("b", 20), 20],
    ["delete", (cache) => void cache.delete("b"), undefined],
    ["clear", (cache) => cache.clear(), undefined],
  ])("by onEvict, a %s of a key of the batch that is not yet stored, holds", async (_, change, left) => {
    const clock = new FakeClock();
    const cache: LRUCache<string, number> = new LRUCache<string, number>({
      clock,
      capacity: 3,
      onEvict: (key) => {
        if (key === "victim") change(cache);
      },
    });
    made.push(cache);
    for (const key of ["victim", "other", "third"]) cache.set(key, 0);
    const result = await cache.getManyOrLoad(["a", "b"], () => [1, 2]);
    expect([...result.values()]).toEqual([1, 2]);
    expect(cache.get("b")).toBe(left);
  });
});

describe("stale windows and errors of batches", () => {
  test("values that are over are given at once, and refreshed by one load of their own", async () => {
    const { cache, clock } = make({ defaultTtlMs: 10, staleWhileRevalidateMs: 10 });
    const { calls, loader } = manual();
    for (const key of ["a", "b"]) cache.set(key, 1);
    clock.advance(10);
    cache.set("fresh", 1);
    const call = cache.getManyOrLoad(["a", "new", "b", "fresh"], loader);
    expect(calls.map(({ context }) => context.keys)).toEqual([["a", "b"], ["new"]]);
    calls[1]!.resolve([5]);
    expect([...(await call)]).toEqual([
      ["a", 1],
      ["new", 5],
      ["b", 1],
      ["fresh", 1],
    ]);
    // One that is being refreshed is not refreshed a second time, by nobody.
    expect([...(await cache.getManyOrLoad(["b"], never)).values()]).toEqual([1]);
    expect(await cache.getOrLoad("a", never)).toBe(1);
    calls[0]!.resolve([2, 2]);
    await turn();
    expect(Object.fromEntries(cache)).toEqual({ a: 2, b: 2, fresh: 1, new: 5 });
    expect(cache.getStats()).toMatchObject({ hits: 5, stale_hits: 4, misses: 1, refreshes: 1, loads_ok: 2 });
  });

  test("a batch that fails gives the old values that are kept for it, to each of its callers", async () => {
    const { cache, clock } = make({ defaultTtlMs: 10, staleIfErrorMs: 10 });
    const { calls, loader } = manual();
    cache.set("old", 1);
    clock.advance(10);
    const both = cache.getManyOrLoad(["old", "new"], loader);
    const one = cache.getOrLoad("old", never);
    calls[0]!.reject(down);
    await expect(both).rejects.toBe(down);
    expect(await one).toBe(1);
    expect([...(await cache.getManyOrLoad(["old"], never)).values()]).toEqual([1]);
    expect(cache.getStats()).toMatchObject({ stale_on_error: 2, stale_hits: 1, loads_failed: 1 });
  });

  test("its error is remembered for each of its keys, and rejects a call that has one of them, without a load", async () => {
    const { cache, clock } = make({ errorTtlMs: 5 });
    await expect(cache.getManyOrLoad(["a", "b"], () => Promise.reject(down))).rejects.toBe(down);
    await expect(cache.getOrLoad("b", never)).rejects.toBe(down);
    await expect(cache.getManyOrLoad(["c", "b"], never)).rejects.toBe(down);
    cache.delete("b");
    expect(await cache.getOrLoad("b", () => 2)).toBe(2);
    await expect(cache.getManyOrLoad(["a", "b"], never)).rejects.toBe(down);
    clock.advance(5);
    expect([...(await cache.getManyOrLoad(["a", "b", "c"], lengths)).values()]).toEqual([1, 2, 1]);
  });

  test("a call that is rejected by a remembered error has joined nothing and started nothing", async () => {
    const { cache } = make({ errorTtlMs: 5 });
    const { calls, loader } = manual();
    await expect(cache.getOrLoad("bad", () => Promise.reject(down))).rejects.toBe(down);
    const controller = new AbortController();
    const running = cache.getManyOrLoad(["a"], loader, { signal: controller.signal });
    await expect(cache.getManyOrLoad(["a", "b", "bad"], never)).rejects.toBe(down);
    expect(cache.getStats().loads_deduplicated).toBe(0);
    controller.abort("gone");
    await expect(running).rejects.toBe("gone");
    expect(calls[0]!.context.signal.aborted).toBe(true);
  });

  test("a refresh ahead is one batch, too", async () => {
    const { cache, clock } = make({ defaultTtlMs: 10, refreshAheadRatio: 0.5 });
    await cache.getManyOrLoad(["a", "b", "c"], () => [1, 1, 1]);
    clock.advance(5);
    const loader = vi.fn(({ keys }: BatchContext<string>) => keys.map(() => 2));
    expect([...(await cache.getManyOrLoad(["c", "a"], loader)).values()]).toEqual([1, 1]);
    await turn();
    expect(loader.mock.calls.map(([{ keys }]) => keys)).toEqual([["c", "a"]]);
    expect(["a", "b", "c"].map((key) => cache.peek(key))).toEqual([2, 1, 2]);
  });
});
