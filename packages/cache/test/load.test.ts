import { getEventListeners } from "node:events";
import { describe, expect, test, vi } from "vitest";
import { CacheConfigError, CacheLoadAbandonedError, CacheSizeError, CacheTtlError, LRUCache } from "../src/index.ts";
import { deferred } from "./deferred.ts";
import { FakeClock } from "./fake-clock.ts";

describe("getOrLoad", () => {
  test("a loader that joins its own key and leaves again does not leave its caller waiting for ever", async () => {
    const cache = new LRUCache<string, number>();
    const value = cache.getOrLoad("k", async () => {
      const controller = new AbortController();
      const joined = cache.getOrLoad("k", () => 2, { signal: controller.signal });
      joined.catch(() => undefined);
      controller.abort();
      return 1;
    });
    expect(await value).toBe(1);
    expect(cache.getStats()).toMatchObject({ loads_ok: 1, loads_abandoned: 0, loads_in_flight: 0 });
  });

  test.each<[string, (cache: LRUCache<string, string>) => void, string | undefined]>([
    ["set", (cache) => cache.set("k", "new"), "new"],
    ["delete", (cache) => cache.delete("k"), undefined],
    ["clear", (cache) => cache.clear(), undefined],
  ])("what a ttlMs function does by %s is not overwritten by the value it was asked about", async (_, change, left) => {
    const cache = new LRUCache<string, string>();
    const ttlMs = (): number => {
      change(cache);
      return 1000;
    };
    expect(await cache.getOrLoad("k", () => "old", { ttlMs })).toBe("old");
    expect(cache.get("k")).toBe(left);
  });

  test("loads on a miss, stores, and does not load again while the entry lives", async () => {
    const clock = new FakeClock();
    const cache = new LRUCache<string, string>({ clock, defaultTtlMs: 1000 });
    const loader = vi.fn(({ key }: { key: string }) => Promise.resolve(`value of ${key}`));
    expect(await cache.getOrLoad("a", loader)).toBe("value of a");
    expect(await cache.getOrLoad("a", loader)).toBe("value of a");
    expect(loader).toHaveBeenCalledTimes(1);
    clock.advance(1000);
    await cache.getOrLoad("a", loader);
    expect(loader).toHaveBeenCalledTimes(2);
    expect(cache.getStats()).toMatchObject({ hits: 1, misses: 2, loads_ok: 2, expirations: 1 });
  });

  test("one load serves all callers that come while it runs, even when the cache is smaller than the crowd", async () => {
    const cache = new LRUCache<number, number>({ capacity: 1 });
    const loaded: number[] = [];
    const results = await Promise.all(
      Array.from({ length: 100 }, (_, i) =>
        cache.getOrLoad(i % 10, async ({ key }) => {
          loaded.push(key);
          await Promise.resolve();
          return key * 2;
        }),
      ),
    );
    expect(results).toEqual(Array.from({ length: 100 }, (_, i) => (i % 10) * 2));
    expect(loaded).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
    expect(cache.getStats()).toMatchObject({ loads_ok: 10, loads_deduplicated: 90, misses: 100, entries: 1 });
  });

  test("an error goes to all who wait and is not stored; a loader that throws at once rejects alike", async () => {
    const cache = new LRUCache<string, number>();
    const failure = new Error("no database");
    const calls = [1, 2].map(() => cache.getOrLoad("a", () => Promise.reject(failure)));
    for (const call of calls) await expect(call).rejects.toBe(failure);
    await expect(
      cache.getOrLoad("a", () => {
        throw failure;
      }),
    ).rejects.toBe(failure);
    expect(cache.has("a")).toBe(false);
    expect(await cache.getOrLoad("a", () => 7)).toBe(7);
    expect(cache.getStats()).toMatchObject({ loads_failed: 2, loads_ok: 1, loads_deduplicated: 1 });
  });

  test("undefined and null are values: they are stored and found", async () => {
    const cache = new LRUCache<string, undefined | null>();
    const loader = vi.fn(() => undefined);
    await cache.getOrLoad("a", loader);
    expect(await cache.getOrLoad("a", loader)).toBe(undefined);
    expect(loader).toHaveBeenCalledTimes(1);
    expect(cache.has("a")).toBe(true);
  });

  test("the TTL may be a number, or a function of the value; its 0 means that the value is not stored", async () => {
    const cache = new LRUCache<string, { expiresIn: number | undefined }>({
      clock: new FakeClock(),
      defaultTtlMs: 500,
    });
    const load = (name: string, expiresIn: number | undefined): Promise<unknown> =>
      cache.getOrLoad(name, () => ({ expiresIn }), { ttlMs: (value) => value.expiresIn });
    await cache.getOrLoad("number", () => ({ expiresIn: 1 }), { ttlMs: 20 });
    await load("computed", 30);
    await load("default", undefined);
    await load("over", 0);
    await load("long over", -5);
    expect(["number", "computed", "default", "over", "long over"].map((k) => cache.getRemainingTtlMs(k))).toEqual([
      20,
      30,
      500,
      undefined,
      undefined,
    ]);
    await expect(load("nonsense", NaN)).rejects.toThrow(CacheTtlError);
    expect(cache.has("nonsense")).toBe(false);
  });

  test("bad arguments reject before anything is loaded", async () => {
    const cache = new LRUCache<string, number>();
    const loader = vi.fn(() => 1);
    await expect(cache.getOrLoad("a", loader, { ttlMs: -1 })).rejects.toThrow(CacheTtlError);
    await expect(cache.getOrLoad("a", loader, { sizeBytes: 1.5 })).rejects.toThrow(CacheSizeError);
    // @ts-expect-error: callers without types
    await expect(cache.getOrLoad("a", loader, { ttl: 5 })).rejects.toThrow(/unknown option "ttl"/);
    // @ts-expect-error: callers without types
    await expect(cache.getOrLoad("a", 5)).rejects.toThrow(CacheConfigError);
    expect(loader).not.toHaveBeenCalled();
  });

  test("a value larger than the budget goes to the callers and is not stored", async () => {
    const cache = new LRUCache<string, Buffer>({ maxBytes: 100 });
    expect(await cache.getOrLoad("a", () => Buffer.alloc(101))).toHaveLength(101);
    expect(cache.getStats()).toMatchObject({ entries: 0, rejected_too_large: 1, loads_ok: 1 });
  });

  test("the mean time of loads is by the cache's clock", async () => {
    const clock = new FakeClock();
    const cache = new LRUCache<number, number>({ clock });
    for (const ms of [10, 30]) {
      await cache.getOrLoad(ms, async () => {
        await Promise.resolve();
        clock.advance(ms);
        return ms;
      });
    }
    expect(cache.getStats().load_time_ms).toBe(20);
  });

  test("a clock that gives no number for a moment rejects the load that it hits, and spoils no statistics", async () => {
    const clock = new FakeClock();
    const cache = new LRUCache<string, number>({ clock });
    const load = cache.getOrLoad("a", async () => {
      await Promise.resolve();
      clock.time = NaN;
      return 1;
    });
    await expect(load).rejects.toThrow(/clock.now\(\) must give a finite number/);
    clock.time = 0;
    expect(await cache.getOrLoad("a", () => 2)).toBe(2);
    expect(cache.getStats()).toMatchObject({ loads_failed: 1, loads_ok: 1, load_time_ms: 0, loads_in_flight: 0 });
  });

  test("a clock that gives no number, but a bigint, rejects before anything is loaded", async () => {
    // @ts-expect-error: callers without types
    const cache = new LRUCache<string, number>({ clock: { now: () => process.hrtime.bigint() } });
    const loader = vi.fn(() => 1);
    await expect(cache.getOrLoad("a", loader)).rejects.toThrow(CacheConfigError);
    expect(loader).not.toHaveBeenCalled();
    expect(cache.getStats()).toMatchObject({ loads_in_flight: 0, loads_failed: 0 });
  });

  test("options that are none, and a signal that is none, are refused by name", async () => {
    const cache = new LRUCache<string, number>({ name: "answers" });
    for (const [options, message] of [
      [null, 'LRUCache "answers": getOrLoad(): options must be an object, got null.'],
      [5, "options must be an object, got 5"],
      [[], "options must be an object, got an array of 0"],
      [{ signal: 5 }, 'LRUCache "answers": getOrLoad(): signal must be an AbortSignal, got 5.'],
      [{ signal: null }, "signal must be an AbortSignal, got null"],
      [{ signal: new AbortController() }, "signal must be an AbortSignal, got an object"],
    ] as const) {
      // @ts-expect-error: callers without types
      const call = cache.getOrLoad("a", () => 1, options);
      await expect(call).rejects.toThrow(expect.objectContaining({ code: "ERR_VG_CACHE_CONFIG" }));
      await expect(call).rejects.toThrow(message);
    }
    expect(cache.getStats()).toMatchObject({ misses: 0, loads_ok: 0 });
  });
});

describe("a caller that leaves", () => {
  test("rejects with its own reason, at once, and disturbs nobody else", async () => {
    const cache = new LRUCache<string, number>();
    const { promise, resolve } = deferred<number>();
    const controller = new AbortController();
    let loaderSignal: AbortSignal | undefined;
    const leaver = cache.getOrLoad(
      "a",
      ({ signal }) => {
        loaderSignal = signal;
        return promise;
      },
      { signal: controller.signal },
    );
    const stayer = cache.getOrLoad("a", () => 0);
    controller.abort(new Error("client went away"));
    await expect(leaver).rejects.toThrow("client went away");
    expect(loaderSignal!.aborted).toBe(false);
    resolve(42);
    expect(await stayer).toBe(42);
    expect(cache.get("a")).toBe(42);
  });

  test("as the last one aborts the loader; the next caller starts anew, and the abandoned load never writes", async () => {
    const cache = new LRUCache<string, number>({ name: "tokens" });
    const { promise, resolve } = deferred<number>();
    const controller = new AbortController();
    let loaderSignal: AbortSignal | undefined;
    const leaver = cache.getOrLoad(
      "a",
      ({ signal }) => {
        loaderSignal = signal;
        return promise;
      },
      { signal: controller.signal },
    );
    controller.abort("enough");
    await expect(leaver).rejects.toBe("enough");
    expect(loaderSignal!.reason).toBeInstanceOf(CacheLoadAbandonedError);
    expect(loaderSignal!.reason).toMatchObject({
      code: "ERR_VG_CACHE_LOAD_ABANDONED",
      cause: "enough",
      message: expect.stringContaining('"tokens"'),
    });
    expect(await cache.getOrLoad("a", () => 2)).toBe(2);
    resolve(1);
    await promise;
    await Promise.resolve();
    expect(cache.get("a")).toBe(2);
    expect(cache.getStats()).toMatchObject({ loads_abandoned: 1, loads_ok: 1, loads_in_flight: 0 });
  });

  test("before it came is refused without a load", async () => {
    const cache = new LRUCache<string, number>();
    const loader = vi.fn(() => 1);
    await expect(cache.getOrLoad("a", loader, { signal: AbortSignal.abort("no") })).rejects.toBe("no");
    expect(loader).not.toHaveBeenCalled();
  });

  test("no listener stays on a signal, whether its caller left, was served or was failed", async () => {
    const cache = new LRUCache<string, number>();
    const gone = new AbortController();
    const staying = new AbortController();
    const { promise, resolve } = deferred<number>();
    const leaver = cache.getOrLoad("a", () => promise, { signal: gone.signal });
    const stayer = cache.getOrLoad("a", () => promise, { signal: staying.signal });
    expect(getEventListeners(staying.signal, "abort")).toHaveLength(1);
    gone.abort();
    await expect(leaver).rejects.toThrow();
    resolve(1);
    await stayer;
    await expect(
      cache.getOrLoad("b", () => Promise.reject(new Error("x")), { signal: staying.signal }),
    ).rejects.toThrow();
    await cache.getOrLoad("a", () => 1, { signal: staying.signal });
    expect(getEventListeners(gone.signal, "abort")).toHaveLength(0);
    expect(getEventListeners(staying.signal, "abort")).toHaveLength(0);
  });
});

/** A database whose value changes after the first read, and two loads that end newest first. */
async function race(change: (cache: LRUCache<string, number>) => void): Promise<{
  cache: LRUCache<string, number>;
  loads: number;
  before: number;
  after: number;
}> {
  const cache = new LRUCache<string, number>();
  let database = 1;
  const gates: (() => void)[] = [];
  const load = async (): Promise<number> => {
    const read = database;
    const { promise, resolve } = deferred<void>();
    gates.push(resolve);
    await promise;
    return read;
  };
  const before = cache.getOrLoad("k", load);
  database = 2;
  change(cache);
  const after = cache.getOrLoad("k", load);
  const loads = gates.length;
  for (const open of gates.toReversed()) {
    open();
    await Promise.resolve();
  }
  return { cache, loads, before: await before, after: await after };
}

describe("a change while a load runs", () => {
  test.each([
    ["delete", (cache: LRUCache<string, number>) => void cache.delete("k")],
    ["clear", (cache: LRUCache<string, number>) => cache.clear()],
  ])(
    "%s: earlier callers get their value, later ones a new load, and the stale one never writes",
    async (_, change) => {
      const { cache, loads, before, after } = await race(change);
      expect({ loads, before, after, left: cache.get("k") }).toEqual({ loads: 2, before: 1, after: 2, left: 2 });
    },
  );

  test.each([
    ["set", (cache: LRUCache<string, number>) => void cache.set("k", 2)],
    [
      "load of a dump",
      (cache: LRUCache<string, number>) => {
        const other = new LRUCache<string, number>();
        other.set("k", 2);
        cache.load(other.dump());
      },
    ],
  ])(
    "%s: earlier callers get their value, later ones what was set, and the stale load never writes",
    async (_, change) => {
      const { cache, loads, before, after } = await race(change);
      expect({ loads, before, after, left: cache.get("k") }).toEqual({ loads: 1, before: 1, after: 2, left: 2 });
    },
  );

  test("the eviction of everything else does not disturb it", async () => {
    const cache = new LRUCache<string, number>({ capacity: 1 });
    const { promise, resolve } = deferred<number>();
    const call = cache.getOrLoad("k", () => promise);
    for (let i = 0; i < 10; i++) cache.set(`other ${i}`, i);
    resolve(5);
    expect(await call).toBe(5);
    expect([...cache]).toEqual([["k", 5]]);
  });

  test("a loader that deletes its own key is not stored", async () => {
    const cache = new LRUCache<string, number>();
    const value = await cache.getOrLoad("k", () => {
      cache.delete("k");
      return 1;
    });
    expect([value, cache.has("k")]).toEqual([1, false]);
  });
});
