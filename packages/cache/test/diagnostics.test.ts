import { channel, subscribe, unsubscribe } from "node:diagnostics_channel";
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import { LRUCache } from "../src/index.ts";
import type { CacheEvictMessage, CacheLoadMessage, CacheMissMessage } from "../src/index.ts";
import { deferred } from "./deferred.ts";
import { FakeClock } from "./fake-clock.ts";

interface Messages {
  readonly "vg:cache:miss": CacheMissMessage;
  readonly "vg:cache:evict": CacheEvictMessage;
  readonly "vg:cache:load": CacheLoadMessage;
}
type Name = keyof Messages;
const names: readonly Name[] = ["vg:cache:miss", "vg:cache:evict", "vg:cache:load"];

const undo: (() => void)[] = [];

function listen<N extends Name>(name: N, listener: (message: Messages[N]) => void): void {
  const called = (message: unknown): void => listener(message as Messages[N]);
  subscribe(name, called);
  undo.push(() => void unsubscribe(name, called));
}

/** What is said on a channel until the end of the test. */
function collect<N extends Name>(name: N): Messages[N][] {
  const messages: Messages[N][] = [];
  listen(name, (message) => void messages.push(message));
  return messages;
}

afterEach(() => {
  for (const each of undo.splice(0)) each();
  for (const name of names) expect(channel(name).hasSubscribers).toBe(false);
});

const down = new Error("no database");

function make(capacity = 1000) {
  const clock = new FakeClock();
  const cache = new LRUCache<string, number>({
    name: "users",
    clock,
    cleanupIntervalMs: 0,
    defaultTtlMs: 10,
    capacity,
  });
  return { cache, clock };
}

/** What the process would end with. Runs its callbacks instead. */
async function uncaught(work: () => unknown): Promise<unknown[]> {
  const errors: unknown[] = [];
  process.setUncaughtExceptionCaptureCallback((error) => void errors.push(error));
  try {
    await work();
    await turn();
  } finally {
    process.setUncaughtExceptionCaptureCallback(null);
  }
  return errors;
}

describe("vg:cache:miss", () => {
  test("says the cache and the key of each look-up that found no live entry", async () => {
    const { cache, clock } = make();
    const messages = collect("vg:cache:miss");
    cache.set("a", 1);
    cache.get("a");
    cache.get("b");
    cache.peek("c");
    cache.has("c");
    clock.advance(10);
    cache.get("a");
    await cache.getOrLoad("d", () => 1);
    await cache.getManyOrLoad(["d", "e", "f"], () => [1, 1]);
    expect(messages).toEqual(["b", "a", "d", "e", "f"].map((key) => ({ cache: "users", key })));
    expect(cache.getStats().misses).toBe(messages.length);
  });

  test("comes after the expired entry has left, so that a subscriber finds the cache in order", () => {
    const { cache, clock } = make();
    const sizes: number[] = [];
    listen("vg:cache:miss", () => void sizes.push(cache.size));
    cache.set("a", 1);
    clock.advance(10);
    cache.get("a");
    expect(sizes).toEqual([0]);
  });

  test("is not said of an old value that was given in place of a load", async () => {
    const clock = new FakeClock();
    const cache = new LRUCache<string, number>({ clock, defaultTtlMs: 10, staleWhileRevalidateMs: 5 });
    const messages = collect("vg:cache:miss");
    cache.set("a", 1);
    clock.advance(10);
    await cache.getOrLoad("a", () => 2);
    expect(messages).toEqual([]);
  });
});

describe("vg:cache:evict", () => {
  test("says what left and why, with or without onEvict, and counts with the statistics", () => {
    const { cache, clock } = make(2);
    const messages = collect("vg:cache:evict");
    cache.set("a", 1);
    cache.set("b", 2);
    cache.set("c", 3);
    cache.set("c", 4);
    cache.delete("b");
    clock.advance(10);
    cache.get("c");
    cache.set("d", 5);
    cache.clear();
    const left = [
      ["a", 1, "capacity"],
      ["c", 3, "replaced"],
      ["b", 2, "deleted"],
      ["c", 4, "expired"],
      ["d", 5, "cleared"],
    ] as const;
    expect(messages).toEqual(left.map(([key, value, reason]) => ({ cache: "users", key, value, reason })));
    expect(cache.getStats()).toMatchObject({ evictions: 1, replaced: 1, deletes: 1, expirations: 1, cleared: 1 });
  });

  test("comes in the same order as onEvict, and before it for each value", () => {
    const order: string[] = [];
    const cache = new LRUCache<string, number>({ capacity: 1, onEvict: (key) => void order.push(`onEvict ${key}`) });
    listen("vg:cache:evict", ({ key }) => void order.push(`channel ${String(key)}`));
    for (const key of ["a", "b", "c"]) cache.set(key, 1);
    expect(order).toEqual(["channel a", "onEvict a", "channel b", "onEvict b"]);
  });
});

describe("vg:cache:load", () => {
  test("says how each load ended, and how long it took by the cache's clock", async () => {
    const { cache, clock } = make();
    const messages = collect("vg:cache:load");
    await cache.getOrLoad("a", async () => {
      await Promise.resolve();
      clock.advance(5);
      return 1;
    });
    await expect(cache.getManyOrLoad(["b", "c"], () => Promise.reject(down))).rejects.toBe(down);
    const controller = new AbortController();
    const left = cache.getOrLoad("d", () => new Promise(() => {}), { signal: controller.signal });
    controller.abort("gone");
    await expect(left).rejects.toBe("gone");
    expect(messages).toEqual([
      { cache: "users", keys: ["a"], outcome: "ok", durationMs: 5, error: undefined },
      { cache: "users", keys: ["b", "c"], outcome: "failed", durationMs: 0, error: down },
      { cache: "users", keys: ["d"], outcome: "abandoned", durationMs: 0, error: undefined },
    ]);
  });

  test("is said once of a load that many wait for, of one in the background, and of one that was fenced", async () => {
    const clock = new FakeClock();
    const cache = new LRUCache<string, number>({ clock, defaultTtlMs: 10, staleWhileRevalidateMs: 5 });
    const messages = collect("vg:cache:load");
    await Promise.all([1, 2, 3].map(() => cache.getOrLoad("a", () => 1)));
    clock.advance(10);
    await cache.getOrLoad("a", () => 2);
    await turn();
    const { promise, resolve } = deferred<number>();
    const fenced = cache.getOrLoad("b", () => promise);
    cache.delete("b");
    resolve(1);
    await fenced;
    expect(messages.map(({ keys, outcome }) => `${keys.join()} ${outcome}`)).toEqual(["a ok", "a ok", "b ok"]);
    expect(cache.getStats().loads_ok).toBe(3);
  });

  test("comes when the value is stored and before its callers go on", async () => {
    const { cache } = make();
    const order: string[] = [];
    listen(
      "vg:cache:load",
      () => void order.push(`load, has: ${cache.has("a")}, in flight: ${cache.getStats().loads_in_flight}`),
    );
    await cache.getOrLoad("a", () => 1).then(() => order.push("caller"));
    expect(order).toEqual(["load, has: true, in flight: 0", "caller"]);
  });

  test("of one whose value could not be stored, is a failure with that error", async () => {
    const { cache } = make();
    const messages = collect("vg:cache:load");
    await expect(cache.getOrLoad("a", () => 1, { ttlMs: () => NaN })).rejects.toThrow();
    expect(messages).toMatchObject([{ outcome: "failed", error: { code: "ERR_VG_CACHE_TTL" } }]);
  });
});

describe("a subscriber", () => {
  test("hears nothing of what was before it came, or after it left", () => {
    const { cache } = make();
    cache.get("before");
    const heard: unknown[] = [];
    const listener = ({ key }: CacheMissMessage): void => void heard.push(key);
    const called = (message: unknown): void => listener(message as CacheMissMessage);
    subscribe("vg:cache:miss", called);
    cache.get("during");
    unsubscribe("vg:cache:miss", called);
    cache.get("after");
    expect(heard).toEqual(["during"]);
  });

  test("of one cache can tell it from the others by its name", () => {
    const heard = collect("vg:cache:miss");
    for (const name of ["one", "two"]) new LRUCache<string, number>({ name }).get("k");
    expect(heard).toEqual([
      { cache: "one", key: "k" },
      { cache: "two", key: "k" },
    ]);
  });

  test.each(names)("of %s that throws breaks no verb, no entry, no load and no other subscriber", async (name) => {
    const { cache } = make(1);
    const failure = new Error("a subscriber");
    listen(name, () => {
      throw failure;
    });
    const messages = collect(name);
    const errors = await uncaught(async () => {
      expect(cache.get("a")).toBe(undefined);
      cache.set("a", 1);
      cache.set("b", 2);
      expect(await cache.getOrLoad("c", () => 3)).toBe(3);
      await expect(cache.getOrLoad("d", () => Promise.reject(down))).rejects.toBe(down);
      expect([...(await cache.getManyOrLoad(["c", "e"], () => [5])).values()]).toEqual([3, 5]);
    });
    // Node gives what a subscriber throws to the process, and not to the one who publishes.
    expect(errors).toEqual(messages.map(() => failure));
    expect(messages.length).toBeGreaterThan(1);
    expect([...cache]).toEqual([["e", 5]]);
    expect(cache.getStats()).toMatchObject({ loads_in_flight: 0, loads_ok: 2, loads_failed: 1, callback_errors: 0 });
  });

  test("of misses may set the key: get has missed all the same, and the value is there", () => {
    const { cache } = make();
    listen("vg:cache:miss", ({ key }) => void cache.set(String(key), 7));
    expect(cache.get("a")).toBe(undefined);
    expect(cache.get("a")).toBe(7);
  });

  test("of misses may load the key: the caller joins that load, also as one of a batch", async () => {
    const { cache } = make();
    const loads: Promise<number>[] = [];
    let isInside = false;
    listen("vg:cache:miss", ({ key }) => {
      if (isInside) return;
      isInside = true;
      loads.push(cache.getOrLoad(String(key), () => 7));
      isInside = false;
    });
    const never = (): never => {
      throw new Error("no load was expected");
    };
    expect(await cache.getOrLoad("a", never)).toBe(7);
    expect([...(await cache.getManyOrLoad(["b", "c"], never)).values()]).toEqual([7, 7]);
    expect(await Promise.all(loads)).toEqual([7, 7, 7]);
    expect(cache.getStats()).toMatchObject({ loads_ok: 3, loads_deduplicated: 3 });
  });

  test("of evictions may change the cache, and is never called inside itself", () => {
    const { cache } = make(2);
    let depth = 0;
    const heard: unknown[] = [];
    listen("vg:cache:evict", ({ key }) => {
      expect(++depth).toBe(1);
      heard.push(key);
      if (key === "a") {
        cache.set("x", 1);
        cache.delete("c");
      }
      depth--;
    });
    for (const key of ["a", "b", "c"]) cache.set(key, 1);
    expect(heard).toEqual(["a", "b", "c"]);
    expect([...cache.keys()]).toEqual(["x"]);
  });

  test("of loads may change the key of the load: what it sets stays, and has no share in the failed one's pause or error", async () => {
    const clock = new FakeClock();
    const cache = new LRUCache<string, number>({ clock, defaultTtlMs: 10_000, errorTtlMs: 10_000 });
    listen("vg:cache:load", () => void cache.set("a", 9));
    await expect(cache.getOrLoad("a", () => Promise.reject(down))).rejects.toBe(down);
    clock.advance(5000);
    expect(await cache.getOrLoad("a", () => 1)).toBe(9);
    await turn();
    expect(cache.getStats()).toMatchObject({ refreshes: 0, loads_failed: 1, loads_ok: 0 });
    expect(await cache.getOrLoad("b", () => 2)).toBe(2);
    expect(cache.get("a")).toBe(9);
  });

  test("of loads may close the cache, clear it, or start another load", async () => {
    const { cache } = make();
    const others: Promise<number>[] = [];
    listen("vg:cache:load", ({ keys }) => {
      if (keys[0] !== "a") return;
      cache.close();
      cache.clear();
      others.push(cache.getOrLoad("b", () => 2));
    });
    expect(await cache.getOrLoad("a", () => 1)).toBe(1);
    expect(await Promise.all(others)).toEqual([2]);
    expect([...cache.keys()]).toEqual(["b"]);
    expect(cache.getStats()).toMatchObject({ loads_ok: 2, loads_in_flight: 0 });
  });
});
