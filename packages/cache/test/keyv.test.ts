import { Keyv } from "keyv";
import { describe, expect, test, vi } from "vitest";
import { CacheConfigError, CacheTtlError, LRUCache } from "../src/index.ts";
import type { EvictionReason } from "../src/index.ts";
import { KeyvStore } from "../src/keyv.ts";
import { FakeClock } from "./fake-clock.ts";

/** What Keyv 5 does with a store: it names the namespace there, and puts it before each key. */
function keyv5(store: KeyvStore, namespace: string): { key: (name: string) => string } {
  store.namespace = namespace;
  return { key: (name) => `${namespace}:${name}` };
}

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe("a KeyvStore by itself", () => {
  test("stores, finds, lists and deletes", async () => {
    const store = new KeyvStore();
    expect(await store.set("a", "1")).toBe(true);
    expect(
      await store.setMany([
        { key: "b", value: "2" },
        { key: "c", value: "3", ttl: 1000 },
      ]),
    ).toEqual([true, true]);
    expect(await store.get("a")).toBe("1");
    expect(await store.getMany(["c", "nothing", "b"])).toEqual(["3", undefined, "2"]);
    expect(await store.has("a")).toBe(true);
    expect(await store.hasMany(["a", "nothing"])).toEqual([true, false]);
    expect(await store.delete("a")).toBe(true);
    expect(await store.delete("a")).toBe(false);
    expect(await collect(store.iterator())).toEqual([
      ["b", "2"],
      ["c", "3"],
    ]);
    expect(await store.getMany([])).toEqual([]);
    expect(await store.setMany([])).toEqual([]);
  });

  test("values may be undefined and null", async () => {
    const store = new KeyvStore();
    await store.set("undefined", undefined);
    await store.set("null", null);
    expect(await store.has("undefined")).toBe(true);
    expect(await store.get("undefined")).toBeUndefined();
    expect(await store.get("null")).toBeNull();
    expect(await collect(store.iterator())).toEqual([
      ["null", null],
      ["undefined", undefined],
    ]);
  });

  test("a TTL ends an entry to the millisecond, by the clock of the cache", async () => {
    const clock = new FakeClock();
    const store = new KeyvStore({ clock });
    await store.set("a", "1", 100);
    clock.advance(99);
    expect(await store.get("a")).toBe("1");
    clock.advance(1);
    expect(await store.get("a")).toBeUndefined();
    expect(await store.has("a")).toBe(false);
    expect(await store.delete("a")).toBe(false);
    expect(await collect(store.iterator())).toEqual([]);
  });

  test("what is set without a TTL stays, unless defaultTtlMs says how long", async () => {
    const clock = new FakeClock();
    const forEver = new KeyvStore({ clock, defaultTtlMs: undefined });
    const briefly = new KeyvStore({ clock, defaultTtlMs: 100 });
    const hourly = new KeyvStore(new LRUCache({ clock }));
    for (const store of [forEver, briefly, hourly]) {
      await store.set("left out", "1");
      await store.set("zero", "1", 0);
    }
    const left = async (): Promise<boolean[]> =>
      (await Promise.all([forEver, briefly, hourly].map((store) => store.hasMany(["left out", "zero"])))).flat();
    clock.advance(100);
    expect(await left()).toEqual([true, true, false, false, true, true]);
    clock.advance(3_600_000);
    expect(await left()).toEqual([true, true, false, false, false, false]);
  });

  test("a TTL below 0 is over at once, and takes the old value with it", async () => {
    const store = new KeyvStore();
    await store.set("a", "old");
    expect(await store.set("a", "new", -1)).toBe(true);
    expect(await store.has("a")).toBe(false);
  });

  test("a TTL that is no number is refused, and nothing is changed", async () => {
    const store = new KeyvStore();
    await store.set("a", "old");
    await expect(store.set("a", "new", NaN)).rejects.toThrow(CacheTtlError);
    await expect(store.setMany([{ key: "a", value: "new", ttl: NaN }])).rejects.toThrow(CacheTtlError);
    expect(await store.get("a")).toBe("old");
  });

  test("is bounded: the least recently used entry gives way", async () => {
    const gone: [string, EvictionReason][] = [];
    const store = new KeyvStore({ capacity: 2, onEvict: (key, _value, reason) => void gone.push([key, reason]) });
    await store.set("a", "1");
    await store.set("b", "2");
    await store.get("a");
    await store.set("c", "3");
    expect(gone).toEqual([["b", "capacity"]]);
    expect(await store.hasMany(["a", "b", "c"])).toEqual([true, false, true]);
  });

  test("a value larger than maxBytes is not stored, and set says so", async () => {
    const store = new KeyvStore({ maxBytes: 10, sizeOf: (value) => String(value).length });
    await store.set("a", "old");
    expect(await store.set("a", "x".repeat(11))).toBe(false);
    expect(
      await store.setMany([
        { key: "b", value: "x".repeat(11) },
        { key: "c", value: "x" },
      ]),
    ).toEqual([false, true]);
    expect(await store.hasMany(["a", "b", "c"])).toEqual([false, false, true]);
  });

  test("iterates over what was there when it began, while it is changed", async () => {
    const store = new KeyvStore();
    for (const key of ["a", "b", "c", "d"]) await store.set(key, key);
    const seen: [string, unknown][] = [];
    for await (const [key, value] of store.iterator()) {
      seen.push([key, value]);
      if (key !== "d") continue;
      await store.delete("c");
      await store.set("b", "changed");
      await store.set("new", "new");
    }
    expect(seen).toEqual([
      ["d", "d"],
      ["b", "changed"],
      ["a", "a"],
    ]);
  });

  test("clear takes all entries, and those of the namespace if there is one", async () => {
    const gone: [string, EvictionReason][] = [];
    const store = new KeyvStore({ onEvict: (key, _value, reason) => void gone.push([key, reason]) });
    await store.set("one:a", "1");
    await store.set("one", "1");
    await store.set("ones:a", "1");
    store.namespace = "one";
    expect(await store.clear()).toBeUndefined();
    expect(gone).toEqual([["one:a", "deleted"]]);
    store.namespace = "";
    await store.clear();
    expect(gone.slice(1)).toEqual([
      ["one", "cleared"],
      ["ones:a", "cleared"],
    ]);
  });

  test("stores that share a cache keep their namespaces apart", async () => {
    const cache = new LRUCache<string, unknown>({ capacity: 10 });
    const [first, second] = [new KeyvStore(cache), new KeyvStore(cache)];
    const [one, two] = [keyv5(first, "one"), keyv5(second, "two")];
    await first.set(one.key("a"), "1");
    await second.set(two.key("a"), "2");
    expect(await collect(first.iterator("one"))).toEqual([["one:a", "1"]]);
    expect(await collect(first.iterator())).toEqual([["one:a", "1"]]);
    await first.clear();
    expect(cache.get("one:a")).toBeUndefined();
    expect(cache.get("two:a")).toBe("2");
  });

  test("disconnect closes the cache that was made for the store, and no other", async () => {
    const shared = new LRUCache<string, unknown>();
    const closeShared = vi.spyOn(shared, "close");
    await new KeyvStore(shared).disconnect();
    expect(closeShared).not.toHaveBeenCalled();

    const store = new KeyvStore();
    const close = vi.spyOn(store.cache, "close");
    await store.set("a", "1", 60_000);
    await store.disconnect();
    expect(close).toHaveBeenCalledOnce();
    expect(await store.get("a")).toBe("1");
    {
      await using disposed = store;
      expect(await disposed.set("b", "2")).toBe(true);
    }
    expect(close).toHaveBeenCalledTimes(2);
  });

  test("takes listeners, and calls none of them", async () => {
    const store = new KeyvStore();
    const fail = (): never => expect.unreachable("there is nothing to tell");
    expect(store.on("error", fail).once("error", fail).off("error", fail)).toBe(store);
    await expect(store.set("a", "1", NaN)).rejects.toThrow(CacheTtlError);
  });

  test.each([
    ["an option with a bad value", { capacity: -1 }, "capacity"],
    ["an unknown option", { max: 100 }, "max"],
    ["a Map", new Map(), "KeyvStore: needs the options of an LRUCache"],
    ["null", null, "got null"],
    ["a URL", "redis://localhost", 'got "redis://localhost"'],
  ])("refuses %s", (_name, options, message) => {
    expect(() => new KeyvStore(options as never)).toThrow(CacheConfigError);
    expect(() => new KeyvStore(options as never)).toThrow(message);
  });
});

describe("Keyv 6 on a KeyvStore", () => {
  test("keeps values of every kind", async () => {
    const keyv = new Keyv({ store: new KeyvStore() });
    for (const value of ["text", 0, false, null, { nested: [1, { a: "b" }] }, Buffer.from("bytes")]) {
      expect(await keyv.set("key", value)).toBe(true);
      expect(await keyv.get("key")).toEqual(value);
    }
    await keyv.set("key", undefined);
    expect(await keyv.has("key")).toBe(true);
    expect(await keyv.get("key")).toBeUndefined();
  });

  test("answers for each key of a batch", async () => {
    const keyv = new Keyv({ store: new KeyvStore({ maxBytes: 100, sizeOf: (value) => String(value).length }) });
    expect(
      await keyv.setMany<unknown>([
        { key: "a", value: 1 },
        { key: "large", value: "x".repeat(200) },
        { key: "b", value: 2, ttl: 60_000 },
      ]),
    ).toEqual([true, false, true]);
    expect(await keyv.getMany(["b", "large", "a"])).toEqual([2, undefined, 1]);
    expect(await keyv.hasMany(["a", "large"])).toEqual([true, false]);
    expect(await keyv.deleteMany(["a", "nothing", "b"])).toEqual([true, false, true]);
  });

  test("entries are over when the clock of the cache says so", async () => {
    const clock = new FakeClock();
    const keyv = new Keyv({ store: new KeyvStore({ clock }), ttl: 60_000 });
    await keyv.set("a", 1);
    await keyv.set("b", 2, 120_000);
    clock.advance(60_000);
    expect(await keyv.getMany(["a", "b"])).toEqual([undefined, 2]);
    clock.advance(60_000);
    expect(await keyv.has("b")).toBe(false);
  });

  test.each(["a store for each", "one store for all"])("namespaces stay apart: %s", async (how) => {
    const cache = new LRUCache<string, unknown>({ capacity: 10 });
    const store = new KeyvStore(cache);
    const another = how === "one store for all" ? store : new KeyvStore(cache);
    const one = new Keyv({ store, namespace: "one" });
    const two = new Keyv({ store: another, namespace: "two" });
    const none = new Keyv({ store: new KeyvStore(cache) });
    await one.set("a", 1);
    await two.set("a", 2);
    await none.set("a", 0);
    expect(await Promise.all([one.get("a"), two.get("a"), none.get("a")])).toEqual([1, 2, 0]);
    expect(await collect(one.iterator())).toEqual([["a", 1]]);
    await one.clear();
    expect(await Promise.all([one.get("a"), two.get("a"), none.get("a")])).toEqual([undefined, 2, 0]);
    await none.clear();
    expect(cache.size).toBe(0);
  });

  test("iterates while it is changed", async () => {
    const keyv = new Keyv({ store: new KeyvStore(), namespace: "one" });
    for (const key of ["a", "b", "c"]) await keyv.set(key, key);
    const seen: unknown[] = [];
    for await (const [key] of keyv.iterator()) {
      seen.push(key);
      await keyv.delete("b");
      await keyv.set("new", "new");
    }
    expect(seen).toEqual(["c", "a"]);
  });

  test("hears of a refused call as its own error", async () => {
    const keyv = new Keyv({
      store: new KeyvStore({
        maxBytes: 10,
        sizeOf: () => {
          throw new Error("no scales");
        },
      }),
    });
    const errors: string[] = [];
    keyv.on("error", (error: Error) => void errors.push(error.message));
    expect(await keyv.set("a", 1)).toBe(false);
    expect(errors).toEqual(["no scales"]);
    await keyv.disconnect();
  });
});
