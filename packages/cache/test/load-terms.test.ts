import { setImmediate as turn } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  CacheConfigError,
  CacheLoadAbandonedError,
  CacheLoadTimeoutError,
  CacheSizeError,
  CacheTtlError,
  LRUCache,
} from "../src/index.ts";
import type { LoadContext, Loader, LRUCacheOptions } from "../src/index.ts";
import { deferred } from "./deferred.ts";
import { FakeClock } from "./fake-clock.ts";

type Value = number | null | undefined;

function make(options: LRUCacheOptions<string, Value> = {}) {
  const clock = new FakeClock();
  const cache = new LRUCache<string, Value>({ clock, cleanupIntervalMs: 0, defaultTtlMs: 1000, ...options });
  return { cache, clock };
}

const down = new Error("no database");
const fail = (): Promise<Value> => Promise.reject(down);
const never = (): never => {
  throw new Error("no load was expected");
};

describe("what a loader says about its value", () => {
  test.each<[string, (context: LoadContext<string, Value>) => void, number | undefined]>([
    ["nothing", () => {}, 500],
    ["a TTL", (context) => (context.ttlMs = 20), 20],
    ["a TTL without end", (context) => (context.ttlMs = Infinity), Infinity],
    ["a fraction of a millisecond", (context) => (context.ttlMs = 0.5), 0.5],
    ["a TTL of 0: it has expired already", (context) => (context.ttlMs = 0), undefined],
    ["a TTL below 0", (context) => (context.ttlMs = -1), undefined],
    ["a TTL of -Infinity", (context) => (context.ttlMs = -Infinity), undefined],
    ["undefined", (context) => (context.ttlMs = undefined), 500],
    ["store = false", (context) => (context.store = false), undefined],
    ["store = false and a TTL", (context) => void Object.assign(context, { store: false, ttlMs: 20 }), undefined],
  ])("%s comes before the options of the call", async (_, say, remaining) => {
    const { cache } = make();
    const loader: Loader<string, Value> = async (context) => {
      await Promise.resolve();
      say(context);
      return 1;
    };
    const calls = [cache.getOrLoad("k", loader, { ttlMs: 500 }), cache.getOrLoad("k", never)];
    expect(await Promise.all(calls)).toEqual([1, 1]);
    expect(cache.getRemainingTtlMs("k")).toBe(remaining);
    expect(cache.getStats()).toMatchObject({ loads_ok: 1, loads_failed: 0, sets: remaining === undefined ? 0 : 1 });
  });

  test("a TTL comes before negativeTtlMs, and before a function of the value", async () => {
    const { cache } = make({ negativeTtlMs: 0 });
    const ttlMs = vi.fn(() => 5);
    const loader: Loader<string, Value> = (context) => {
      context.ttlMs = 20;
      return undefined;
    };
    await cache.getOrLoad("k", loader, { ttlMs });
    expect(cache.getRemainingTtlMs("k")).toBe(20);
    expect(ttlMs).not.toHaveBeenCalled();
  });

  test("a size comes before that of the call and before sizeOf", async () => {
    const sizeOf = vi.fn(() => 1);
    const { cache } = make({ sizeOf, maxBytes: 1024 * 1024 });
    await cache.getOrLoad("k", (context) => {
      context.sizeBytes = 512 * 1024;
      return 1;
    }, { sizeBytes: 7 }); // prettier-ignore
    expect(cache.getStats().total_size_mb).toBe(0.5);
    await cache.getOrLoad("l", () => 1, { sizeBytes: 256 * 1024 });
    expect(cache.getStats().total_size_mb).toBe(0.75);
    expect(sizeOf).not.toHaveBeenCalled();
  });

  test.each<[string, (context: LoadContext<string, Value>) => void, new () => Error]>([
    ["a TTL of NaN", (context) => (context.ttlMs = NaN), CacheTtlError],
    ["a fractional size", (context) => (context.sizeBytes = 1.5), CacheSizeError],
    ["a size below 0", (context) => (context.sizeBytes = -1), CacheSizeError],
    ["a size of NaN", (context) => (context.sizeBytes = NaN), CacheSizeError],
  ])("%s rejects all who wait; nothing is stored, and the load has failed", async (_, say, kind) => {
    const { cache } = make();
    const calls = [1, 2].map(() =>
      cache.getOrLoad("k", (context) => {
        say(context);
        return 1;
      }),
    );
    for (const call of calls) await expect(call).rejects.toBeInstanceOf(kind);
    expect(cache.size).toBe(0);
    expect(cache.getStats()).toMatchObject({ loads_failed: 1, loads_ok: 0, sets: 0, loads_in_flight: 0 });
  });

  test("what it says after it gave the value is not heard", async () => {
    const { cache } = make();
    let kept: LoadContext<string, Value> | undefined;
    await cache.getOrLoad("k", (context) => {
      kept = context;
      return 1;
    });
    Object.assign(kept!, { ttlMs: 1, store: false });
    expect(cache.getRemainingTtlMs("k")).toBe(1000);
  });

  test("the options of the caller that starts the load decide, not those of the ones who join", async () => {
    const { cache } = make();
    const { promise, resolve } = deferred<number>();
    const calls = [
      cache.getOrLoad("k", () => promise, { ttlMs: 10 }),
      cache.getOrLoad("k", never, { ttlMs: 20, errorTtlMs: 5 }),
    ];
    resolve(1);
    await Promise.all(calls);
    expect(cache.getRemainingTtlMs("k")).toBe(10);
  });
});

describe("ttlMs", () => {
  test("as a function gets the value and its key, once, and undefined means the default", async () => {
    const { cache } = make();
    const ttlMs = vi.fn((value: Value, key: string) => (key === "default" ? undefined : (value ?? 0) * 2));
    await cache.getOrLoad("k", () => 21, { ttlMs });
    await cache.getOrLoad("default", () => 1, { ttlMs });
    expect(ttlMs.mock.calls).toEqual([
      [21, "k"],
      [1, "default"],
    ]);
    expect(["k", "default"].map((key) => cache.getRemainingTtlMs(key))).toEqual([42, 1000]);
  });

  test("as a function that throws rejects the callers with what it threw; nothing is stored", async () => {
    const { cache } = make();
    const call = cache.getOrLoad("k", () => 1, {
      ttlMs: () => {
        throw down;
      },
    });
    await expect(call).rejects.toBe(down);
    expect(cache.size).toBe(0);
  });

  test("of 0 as a number is the default, as for set; as the result of a function it is none", async () => {
    const { cache } = make();
    await cache.getOrLoad("number", () => 1, { ttlMs: 0 });
    await cache.getOrLoad("function", () => 1, { ttlMs: () => 0 });
    expect(["number", "function"].map((key) => cache.getRemainingTtlMs(key))).toEqual([1000, undefined]);
  });

  test("and an idle time may come together: the entry goes with the first of them", async () => {
    const { cache, clock } = make();
    await cache.getOrLoad("k", () => 1, { ttlMs: 100, idleMs: 40 });
    expect(cache.getRemainingTtlMs("k")).toBe(40);
    for (const ms of [39, 39, 21]) {
      clock.advance(ms);
      cache.get("k");
    }
    expect(cache.getRemainingTtlMs("k")).toBe(1);
    clock.advance(1);
    expect(cache.get("k")).toBe(undefined);
  });
});

describe("negativeTtlMs", () => {
  test.each([[undefined], [null]])("is the TTL of %s, and of nothing else", async (nothing) => {
    const { cache } = make({ negativeTtlMs: 7 });
    await cache.getOrLoad("nothing", () => nothing, { ttlMs: 500 });
    for (const value of [0, -0, NaN]) await cache.getOrLoad(`${value}`, () => value, { ttlMs: 500 });
    expect(cache.getRemainingTtlMs("nothing")).toBe(7);
    expect(["0", "NaN"].map((key) => cache.getRemainingTtlMs(key))).toEqual([500, 500]);
  });

  test("of 0 means that it is not stored: all who wait get it, and the next caller loads", async () => {
    const { cache } = make({ negativeTtlMs: 0 });
    const loader = vi.fn(() => Promise.resolve(null));
    expect(await Promise.all([cache.getOrLoad("k", loader), cache.getOrLoad("k", loader)])).toEqual([null, null]);
    expect(await cache.getOrLoad("k", loader)).toBe(null);
    expect(loader).toHaveBeenCalledTimes(2);
    expect(cache.has("k")).toBe(false);
    // It says nothing about `set`.
    cache.set("k", null);
    expect(cache.has("k")).toBe(true);
  });

  test("of a call comes before that of the cache, 0 among them; left out, it is that of any value", async () => {
    const { cache } = make({ negativeTtlMs: 7 });
    await cache.getOrLoad("none", () => null, { negativeTtlMs: 0 });
    await cache.getOrLoad("longer", () => null, { negativeTtlMs: 70 });
    const { cache: plain } = make();
    await plain.getOrLoad("k", () => null);
    expect([cache.getRemainingTtlMs("none"), cache.getRemainingTtlMs("longer"), plain.getRemainingTtlMs("k")]).toEqual([
      undefined,
      70,
      1000,
    ]);
  });
});

describe("errorTtlMs", () => {
  test("gives the same error to all who ask for the key in that time, without a load, to the millisecond", async () => {
    const { cache, clock } = make({ errorTtlMs: 10 });
    const loader = vi.fn(fail);
    for (const ms of [0, 0, 9]) {
      clock.advance(ms);
      await expect(cache.getOrLoad("k", loader)).rejects.toBe(down);
    }
    expect(loader).toHaveBeenCalledTimes(1);
    expect(cache.getStats()).toMatchObject({ misses: 3, loads_failed: 1, entries: 0 });
    clock.advance(1);
    expect(await cache.getOrLoad("k", () => 1)).toBe(1);
  });

  test("begins when the load failed, not when it was asked for", async () => {
    const { cache, clock } = make({ errorTtlMs: 10 });
    const { promise, reject } = deferred<number>();
    const call = cache.getOrLoad("k", () => promise);
    clock.advance(100);
    reject(down);
    await expect(call).rejects.toBe(down);
    clock.advance(9);
    await expect(cache.getOrLoad("k", never)).rejects.toBe(down);
  });

  test.each<[string, (cache: LRUCache<string, Value>) => void]>([
    ["set, after which the value is found", (cache) => void cache.set("k", 1)],
    ["delete", (cache) => void cache.delete("k")],
    ["clear", (cache) => cache.clear()],
  ])("ends with a %s of the key", async (_, change) => {
    const { cache } = make({ errorTtlMs: Infinity });
    await expect(cache.getOrLoad("k", fail)).rejects.toBe(down);
    await expect(cache.getOrLoad("other", fail)).rejects.toBe(down);
    change(cache);
    expect(await cache.getOrLoad("k", () => 1)).toBe(1);
    cache.delete("k");
    expect(await cache.getOrLoad("k", () => 2)).toBe(2);
  });

  test.each<[string, (cache: LRUCache<string, Value>) => void]>([
    ["set", (cache) => void cache.set("k", 1, 1)],
    ["delete", (cache) => void cache.delete("k")],
    ["clear", (cache) => cache.clear()],
  ])("a %s while the load ran makes its error no news", async (_, change) => {
    const { cache, clock } = make({ errorTtlMs: 10 });
    const { promise, reject } = deferred<number>();
    const call = cache.getOrLoad("k", () => promise);
    change(cache);
    reject(down);
    await expect(call).rejects.toBe(down);
    clock.advance(1);
    expect(await cache.getOrLoad("k", () => 2)).toBe(2);
  });

  test("has no effect on what get, has and size say, and 0 remembers nothing", async () => {
    const { cache } = make({ errorTtlMs: 10 });
    await expect(cache.getOrLoad("k", fail)).rejects.toBe(down);
    expect([cache.get("k"), cache.has("k"), cache.size]).toEqual([undefined, false, 0]);
    await expect(cache.getOrLoad("l", fail, { errorTtlMs: 0 })).rejects.toBe(down);
    expect(await cache.getOrLoad("l", () => 1)).toBe(1);
  });

  test("holds for a value that could not be stored, too", async () => {
    const { cache } = make({ errorTtlMs: 10 });
    await expect(cache.getOrLoad("k", () => 1, { ttlMs: () => NaN })).rejects.toThrow(CacheTtlError);
    await expect(cache.getOrLoad("k", never)).rejects.toThrow(CacheTtlError);
  });

  test("is not about callers who left: an abandoned load leaves no error behind", async () => {
    const { cache } = make({ errorTtlMs: 10 });
    const controller = new AbortController();
    const call = cache.getOrLoad(
      "k",
      ({ signal }) =>
        new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error))),
      { signal: controller.signal },
    );
    controller.abort("gone");
    await expect(call).rejects.toBe("gone");
    await turn();
    expect(await cache.getOrLoad("k", () => 1)).toBe(1);
  });

  test("remembers a thousand errors at most, and forgets the oldest first", async () => {
    const { cache } = make({ errorTtlMs: Infinity });
    for (let i = 0; i < 1500; i++) await expect(cache.getOrLoad(`${i}`, fail)).rejects.toBe(down);
    const loads: number[] = [];
    for (let i = 0; i < 1500; i++) {
      const loader = (): number => loads.push(i);
      await cache.getOrLoad(`${i}`, loader).catch(() => {});
    }
    expect(loads).toEqual(Array.from({ length: 500 }, (_, i) => i));
  });
});

describe("loadTimeoutMs", () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] }));
  afterEach(() => void vi.useRealTimers());

  test("ends a load that never settles: all who wait get the error, the loader's signal aborts with it", async () => {
    const { cache } = make({ name: "users", loadTimeoutMs: 50 });
    let signal: AbortSignal | undefined;
    const calls = [1, 2].map(() =>
      cache.getOrLoad("k", (context) => {
        ({ signal } = context);
        return new Promise(() => {});
      }),
    );
    const settled = Promise.allSettled(calls);
    vi.advanceTimersByTime(49);
    expect(signal!.aborted).toBe(false);
    vi.advanceTimersByTime(1);
    const [first, second] = await settled;
    expect(first).toEqual({ status: "rejected", reason: signal!.reason });
    expect(second).toEqual(first);
    expect(signal!.reason).toBeInstanceOf(CacheLoadTimeoutError);
    expect(signal!.reason).toMatchObject({
      code: "ERR_VG_CACHE_LOAD_TIMEOUT",
      message: expect.stringMatching(/^LRUCache "users": a load took longer than loadTimeoutMs, 50 ms/),
    });
    expect(cache.getStats()).toMatchObject({ loads_failed: 1, loads_abandoned: 0, loads_in_flight: 0 });
    expect(await cache.getOrLoad("k", () => 1)).toBe(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  test.each([true, false])("what the loader gives later is dropped (a value: %s)", async (ok) => {
    const { cache } = make({ loadTimeoutMs: 50, errorTtlMs: 0 });
    const { promise, resolve, reject } = deferred<number>();
    const call = cache.getOrLoad("k", () => promise);
    vi.advanceTimersByTime(50);
    await expect(call).rejects.toThrow(CacheLoadTimeoutError);
    if (ok) resolve(1);
    else reject(down);
    await turn();
    expect(cache.size).toBe(0);
    expect(cache.getStats()).toMatchObject({ loads_ok: 0, loads_failed: 1 });
  });

  test("gives the old value that is kept for errors, and starts the pause", async () => {
    const { cache, clock } = make({ loadTimeoutMs: 50, staleIfErrorMs: 1000, defaultTtlMs: 10 });
    cache.set("k", 1);
    clock.advance(10);
    const call = cache.getOrLoad("k", () => new Promise(() => {}));
    vi.advanceTimersByTime(50);
    expect(await call).toBe(1);
    expect(await cache.getOrLoad("k", never)).toBe(1);
    expect(cache.getStats()).toMatchObject({ stale_on_error: 1, stale_hits: 1 });
  });

  test("is remembered by errorTtlMs, and no timer is left after a load that was in time, failed, or was abandoned", async () => {
    const { cache } = make({ loadTimeoutMs: 50, errorTtlMs: 10 });
    const call = cache.getOrLoad("k", () => new Promise(() => {}));
    vi.advanceTimersByTime(50);
    await expect(call).rejects.toThrow(CacheLoadTimeoutError);
    await expect(cache.getOrLoad("k", never)).rejects.toThrow(CacheLoadTimeoutError);
    await cache.getOrLoad("fine", () => 1);
    await expect(cache.getOrLoad("failed", fail)).rejects.toBe(down);
    const controller = new AbortController();
    const left = cache.getOrLoad("left", () => new Promise(() => {}), { signal: controller.signal });
    expect(vi.getTimerCount()).toBe(1);
    controller.abort("gone");
    await expect(left).rejects.toBe("gone");
    expect(vi.getTimerCount()).toBe(0);
  });

  test("ends a batch for all of its keys, and the message says of how many", async () => {
    const { cache } = make();
    const call = cache.getManyOrLoad(["a", "b", "c"], () => new Promise(() => {}), { loadTimeoutMs: 5 });
    const one = cache.getOrLoad("b", never);
    const settled = Promise.allSettled([call, one]);
    vi.advanceTimersByTime(5);
    expect((await settled).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    await expect(call).rejects.toThrow("a load of 3 keys took longer than loadTimeoutMs, 5 ms");
  });

  test("ends a fenced load, too, which writes and remembers nothing", async () => {
    const { cache } = make({ loadTimeoutMs: 50, errorTtlMs: 1000 });
    const call = cache.getOrLoad("k", () => new Promise(() => {}));
    cache.set("k", 2);
    vi.advanceTimersByTime(50);
    await expect(call).rejects.toThrow(CacheLoadTimeoutError);
    cache.delete("k");
    expect(await cache.getOrLoad("k", () => 3)).toBe(3);
  });

  test("without one, a load that never settles holds its callers until their signals end it, and nothing else", async () => {
    const { cache } = make();
    const controller = new AbortController();
    let signal: AbortSignal | undefined;
    const call = cache.getOrLoad(
      "k",
      (context) => {
        ({ signal } = context);
        return new Promise(() => {});
      },
      { signal: controller.signal },
    );
    vi.advanceTimersByTime(2 ** 31);
    expect(vi.getTimerCount()).toBe(0);
    expect(cache.getStats().loads_in_flight).toBe(1);
    cache.set("other", 1);
    expect(cache.get("other")).toBe(1);
    controller.abort("enough");
    await expect(call).rejects.toBe("enough");
    expect(signal!.reason).toBeInstanceOf(CacheLoadAbandonedError);
    expect(cache.getStats()).toMatchObject({ loads_in_flight: 0, loads_abandoned: 1 });
  });
});

describe("ttlJitter", () => {
  test.each([
    [0, 100],
    [0.5, 75],
    [0.999_999_999, 50.000_000_05],
  ])("shortens the TTL by a random share of it: with %d of a half, %d of 100 ms are left", async (random, left) => {
    const { cache } = make({ defaultTtlMs: 100, ttlJitter: 0.5, random: () => random });
    await cache.getOrLoad("k", () => 1);
    cache.set("l", 1);
    expect(cache.getRemainingTtlMs("k")).toBeCloseTo(left, 6);
    expect(cache.getRemainingTtlMs("l")).toBeCloseTo(left, 6);
  });

  test("of a call comes before that of the cache; for ever stays for ever", async () => {
    const { cache } = make({ defaultTtlMs: 100, ttlJitter: 0.5, random: () => 0.5 });
    await cache.getOrLoad("none", () => 1, { ttlJitter: 0 });
    await cache.getOrLoad("all", () => 1, { ttlJitter: 1 });
    await cache.getOrLoad("for ever", () => 1, { ttlMs: Infinity });
    cache.set("set", 1, { ttlJitter: 0.2 });
    expect(["none", "all", "for ever", "set"].map((key) => cache.getRemainingTtlMs(key))).toEqual([
      100,
      50,
      Infinity,
      90,
    ]);
  });

  test("what came in one batch does not leave at one time", async () => {
    let turnOf = 0;
    const { cache } = make({ defaultTtlMs: 100, ttlJitter: 0.1, random: () => (turnOf++ % 10) / 10 });
    const keys = Array.from({ length: 10 }, (_, i) => `${i}`);
    await cache.getManyOrLoad(keys, () => keys.map(() => 1));
    expect(new Set(keys.map((key) => cache.getRemainingTtlMs(key))).size).toBe(10);
  });
});

describe("bad options", () => {
  test.each([
    ["ttlMs", -1, "ttlMs"],
    ["ttlMs", NaN, "ttlMs"],
    ["ttlMs", "5", "ttlMs"],
    ["ttlMs", null, "ttlMs"],
    ["idleMs", 0, "idleMs must be a number of milliseconds above 0, got 0"],
    ["idleMs", NaN, "idleMs"],
    ["sizeBytes", 1.5, "sizeBytes"],
    ["sizeBytes", Infinity, "sizeBytes"],
    ["ttlJitter", -0.1, "ttlJitter must be a number from 0 to 1, got -0.1"],
    ["ttlJitter", 1.1, "ttlJitter"],
    ["ttlJitter", NaN, "ttlJitter"],
    ["refreshAheadRatio", 0, "refreshAheadRatio must be a number above 0, to 1, got 0"],
    ["refreshAheadRatio", 1.5, "refreshAheadRatio"],
    ["staleWhileRevalidateMs", -1, "staleWhileRevalidateMs must be a number of milliseconds of at least 0, got -1"],
    ["staleWhileRevalidateMs", NaN, "staleWhileRevalidateMs"],
    ["staleIfErrorMs", "1", 'staleIfErrorMs must be a number of milliseconds of at least 0, got "1"'],
    ["negativeTtlMs", -1, "negativeTtlMs"],
    ["negativeTtlMs", null, "negativeTtlMs"],
    ["errorTtlMs", NaN, "errorTtlMs"],
    ["loadTimeoutMs", 0, "loadTimeoutMs must be a number of milliseconds above 0, got 0"],
    ["loadTimeoutMs", -5, "loadTimeoutMs"],
    ["refreshBackoffMs", 5, 'unknown option "refreshBackoffMs"'],
    ["staleWhileRevalidate", 5, 'unknown option "staleWhileRevalidate"'],
  ])("%s of %s is refused before the loader runs, by every verb that loads", async (name, value, message) => {
    const { cache } = make({ name: "users" });
    const one = vi.fn(() => 1);
    const many = vi.fn(() => [1]);
    const options = { [name]: value } as object;
    await expect(cache.getOrLoad("k", one, options)).rejects.toThrow(message);
    await expect(cache.getManyOrLoad(["k"], many, options)).rejects.toThrow(message);
    // When it is made, not when it is called.
    if (name !== "signal") expect(() => cache.memoize(one, options)).toThrow(message);
    expect(one).not.toHaveBeenCalled();
    expect(many).not.toHaveBeenCalled();
    expect(cache.getStats()).toMatchObject({ misses: 0, loads_failed: 0, loads_ok: 0 });
  });

  test("they are refused on a hit, too, so that a mistake does not wait for the day of a miss", async () => {
    const { cache } = make();
    cache.set("k", 1);
    await expect(cache.getOrLoad("k", never, { loadTimeoutMs: NaN })).rejects.toThrow(CacheConfigError);
  });

  test.each([
    ["staleWhileRevalidateMs", -1],
    ["staleIfErrorMs", NaN],
    ["refreshAheadRatio", 0],
    ["refreshBackoffMs", -1],
    ["negativeTtlMs", NaN],
    ["errorTtlMs", "1"],
    ["loadTimeoutMs", 0],
    ["ttlJitter", 2],
    ["random", 0.5],
    ["defaultIdleMs", 0],
  ])("%s of %s is refused by the constructor", (name, value) => {
    expect(() => new LRUCache({ [name]: value } as object)).toThrow(CacheConfigError);
    expect(() => new LRUCache({ [name]: value } as object)).toThrow(name);
  });

  test("options that are not to be changed are not changed", async () => {
    const { cache } = make({ maxBytes: 1000 });
    const options = Object.freeze({
      ttlMs: 10,
      sizeBytes: 5,
      staleIfErrorMs: 5,
      signal: new AbortController().signal,
      errorTtlMs: 1,
    });
    const before = { ...options };
    await cache.getOrLoad("k", () => 1, options);
    await cache.getManyOrLoad(["l"], () => [1], options);
    expect(options).toEqual(before);
  });
});

describe("memoize", () => {
  test("gives for a key what was given for it before; its only argument is the key", async () => {
    const { cache } = make();
    const fn = vi.fn((id: string) => Promise.resolve(id.length));
    const memoized = cache.memoize(fn);
    expect(await memoized("four")).toBe(4);
    expect(await memoized("four")).toBe(4);
    expect(fn.mock.calls).toEqual([["four"]]);
    expect(cache.peek("four")).toBe(4);
  });

  test("calls at the same time share one run, and its error, which is not kept", async () => {
    const { cache } = make();
    const { promise, reject } = deferred<number>();
    const fn = vi.fn((_id: string) => promise);
    const memoized = cache.memoize(fn);
    const calls = [memoized("a"), memoized("a")];
    reject(down);
    for (const call of calls) await expect(call).rejects.toBe(down);
    expect(fn).toHaveBeenCalledTimes(1);
    fn.mockReturnValue(Promise.resolve(1));
    expect(await memoized("a")).toBe(1);
  });

  test("a key function says what the result depends on, and gets all the arguments", async () => {
    const { cache } = make();
    const fn = vi.fn((user: { id: number }, field: string) => user.id * field.length);
    const memoized = cache.memoize(fn, { key: (user, field) => `${user.id}/${field}` });
    expect(await memoized({ id: 2 }, "name")).toBe(8);
    expect(await memoized({ id: 2 }, "name")).toBe(8);
    expect(await memoized({ id: 2 }, "email")).toBe(10);
    expect(fn).toHaveBeenCalledTimes(2);
    expect([...cache.keys()]).toEqual(["2/email", "2/name"]);
  });

  test.each([[[]], [["a", "b"]]])(
    "without a key function, a call with the arguments %j is refused, and nothing runs",
    async (args) => {
      const { cache } = make({ name: "users" });
      const fn = vi.fn((..._args: string[]) => 1);
      const call = cache.memoize(fn)(...args);
      await expect(call).rejects.toBeInstanceOf(CacheConfigError);
      await expect(call).rejects.toThrow(
        `LRUCache "users": a memoized function was called with ${args.length} arguments`,
      );
      expect(fn).not.toHaveBeenCalled();
    },
  );

  test("with a key function, any number of arguments will do, and its options are those of a load", async () => {
    const { cache } = make();
    const fn = vi.fn((...parts: number[]) => parts.length);
    const memoized = cache.memoize(fn, { key: (...parts) => parts.join(), ttlMs: 7, sizeBytes: 3 });
    expect([await memoized(), await memoized(1, 2, 3)]).toEqual([0, 3]);
    expect(cache.getRemainingTtlMs("1,2,3")).toBe(7);
    expect(cache.getRemainingTtlMs("")).toBe(7);
  });

  test("a key function or a function that throws rejects the call", async () => {
    const { cache } = make();
    const boom = (_id: string): never => {
      throw down;
    };
    await expect(cache.memoize(boom)("a")).rejects.toBe(down);
    await expect(cache.memoize((_id: string) => 1, { key: boom })("a")).rejects.toBe(down);
  });

  test("two functions on one cache share its keys, so each needs keys of its own", async () => {
    const { cache } = make();
    const one = cache.memoize((id: string) => id.length, { key: (id) => `one ${id}` });
    const two = cache.memoize((id: string) => id.length * 2, { key: (id) => `two ${id}` });
    expect([await one("a"), await two("a")]).toEqual([1, 2]);
  });

  test("changes to the cache are seen by it, and its options may be changed by nobody", async () => {
    const { cache } = make();
    const options = { ttlMs: 10 };
    const memoized = cache.memoize((id: string) => id.length, options);
    options.ttlMs = -5;
    expect(await memoized("abc")).toBe(3);
    cache.set("abc", 4);
    expect(await memoized("abc")).toBe(4);
    cache.delete("abc");
    expect(await memoized("abc")).toBe(3);
    expect(cache.getRemainingTtlMs("abc")).toBe(10);
  });

  test.each([[undefined], [null], ["fn"], [{}]])("%s is no function, which is refused at once", (fn) => {
    const { cache } = make();
    // @ts-expect-error: callers without types
    expect(() => cache.memoize(fn)).toThrow(CacheConfigError);
    // @ts-expect-error: callers without types
    if (fn !== undefined) expect(() => cache.memoize(() => 1, { key: fn })).toThrow(/key must be a function/);
  });
});
