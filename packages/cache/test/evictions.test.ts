import { describe, expect, test, vi } from "vitest";
import { CacheCallbackError, LRUCache } from "../src/index.ts";
import type { EvictionReason } from "../src/index.ts";
import { deferred } from "./deferred.ts";
import { FakeClock } from "./fake-clock.ts";

function recording(options: object = {}) {
  const clock = new FakeClock();
  const left: [string, unknown, EvictionReason][] = [];
  const cache = new LRUCache<string, unknown>({
    clock,
    cleanupIntervalMs: 0,
    onEvict: (...args) => void left.push(args),
    ...options,
  });
  return { cache, clock, left };
}

function fail(): never {
  throw new Error("no");
}

describe("onEvict", () => {
  test("names every reason, with the value that left", () => {
    const { cache, clock, left } = recording({ capacity: 2, maxBytes: 100 });
    cache.set("a", 1, { sizeBytes: 1 });
    cache.set("b", 2, { sizeBytes: 1 });
    cache.set("c", 3, { sizeBytes: 1 });
    cache.set("c", 4, { sizeBytes: 99 });
    cache.set("d", 5, { sizeBytes: 2 });
    cache.delete("d");
    cache.set("e", 6, 10);
    clock.advance(10);
    expect(cache.get("e")).toBe(undefined);
    cache.set("f", 7);
    cache.set("g", 8);
    cache.clear();
    expect(left).toEqual([
      ["a", 1, "capacity"],
      ["c", 3, "replaced"],
      ["b", 2, "bytes"],
      ["c", 4, "bytes"],
      ["d", 5, "deleted"],
      ["e", 6, "expired"],
      ["f", 7, "cleared"],
      ["g", 8, "cleared"],
    ]);
  });

  test("an entry whose TTL has passed leaves as expired, whichever verb takes it out", () => {
    const { cache, clock, left } = recording({ capacity: 3 });
    const verbs: ((key: string) => unknown)[] = [
      (key) => cache.get(key),
      (key) => cache.set(key, "new"),
      (key) => cache.delete(key),
      () => cache.clear(),
      () => cache.resize(3),
      () => cache.cleanupExpired(),
      () => cache.size,
      () => cache.getStats(),
      () => cache.dump(),
    ];
    for (const [i, verb] of verbs.entries()) {
      cache.clear();
      cache.set("k", i, 5);
      clock.advance(5);
      verb("k");
      cache.cleanupExpired();
    }
    expect(left.filter(([, , reason]) => reason === "expired").map(([, value]) => value)).toEqual(
      verbs.map((_, i) => i),
    );
    expect(cache.getStats()).toMatchObject({ evictions: 0, deletes: 0, replaced: 0 });
  });

  test("a value that is set again has not left", () => {
    const { cache, clock, left } = recording();
    const resource = { open: true };
    cache.set("a", resource, 10);
    cache.set("a", resource, 10);
    clock.advance(10);
    cache.set("a", resource);
    expect(left).toEqual([]);
    expect(cache.getStats()).toMatchObject({ sets: 3, replaced: 1, expirations: 1, entries: 1 });
  });

  test("sees the finished state, and its own changes are delivered after it, in order and not nested", () => {
    const log: string[] = [];
    let depth = 0;
    const cache: LRUCache<string, number> = new LRUCache<string, number>({
      capacity: 2,
      onEvict: (key, value, reason) => {
        expect(depth++).toBe(0);
        log.push(`${key}=${value} ${reason}, ${cache.size} live, has it: ${cache.has(key)}`);
        if (key === "a") {
          cache.delete("b");
          cache.set("d", 4);
          cache.set("d", 5);
        }
        depth--;
      },
    });
    cache.set("a", 1);
    cache.set("b", 2);
    cache.set("c", 3);
    expect(log).toEqual([
      "a=1 capacity, 2 live, has it: false",
      "b=2 deleted, 2 live, has it: false",
      "d=4 replaced, 2 live, has it: true",
    ]);
  });

  test("may throw: the cache works on, everybody else is told, and onError gets a wrapped error", () => {
    const errors: CacheCallbackError[] = [];
    const seen: string[] = [];
    const failure = new Error("listener is broken");
    const cache = new LRUCache<string, number>({
      name: "answers",
      capacity: 1,
      onEvict: (key) => {
        seen.push(key);
        throw failure;
      },
      onError: (error) => void errors.push(error),
    });
    for (const key of ["a", "b", "c"]) expect(cache.set(key, 1)).toBe(true);
    cache.clear();
    expect(seen).toEqual(["a", "b", "c"]);
    expect(errors).toHaveLength(3);
    expect(errors[0]).toBeInstanceOf(CacheCallbackError);
    expect(errors[0]).toMatchObject({ code: "ERR_VG_CACHE_CALLBACK", name: "CacheCallbackError", cause: failure });
    expect(errors[0]!.message).toMatch(/^LRUCache "answers": onEvict failed for a value that left as "capacity"/);
    expect(cache.getStats()).toMatchObject({ callback_errors: 3, evictions: 2, cleared: 1 });
  });

  test("may be async and reject: that is caught, too", async () => {
    const caught = deferred<CacheCallbackError>();
    const cache = new LRUCache<string, number>({
      onEvict: () => Promise.reject(new Error("late")),
      onError: caught.resolve,
    });
    cache.set("a", 1);
    cache.delete("a");
    expect((await caught.promise).cause).toMatchObject({ message: "late" });
    expect(cache.getStats().callback_errors).toBe(1);
  });

  test("may give a thenable that is no promise of this realm, and onError may be async, too: their failures are caught", async () => {
    // oxlint-disable-next-line unicorn/no-thenable -- it is what is tested
    const thenable = { then: (_: unknown, reject: (error: Error) => void) => reject(new Error("thenable")) };
    const warned = deferred<unknown>();
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(warned.resolve);
    try {
      const cache = new LRUCache<string, number>({
        // @ts-expect-error: callers without types
        onEvict: () => thenable,
        onError: (error) => Promise.reject(error),
      });
      cache.set("a", 1);
      cache.delete("a");
      const warning = await warned.promise;
      expect(warning).toMatchObject({
        message: expect.stringContaining("onError failed"),
        cause: { message: expect.stringContaining("onEvict failed"), cause: { message: "thenable" } },
      });
      expect(cache.getStats().callback_errors).toBe(2);
    } finally {
      warn.mockRestore();
    }
  });

  test("without onError, the first failure of a cache becomes a process warning, and an onError that throws does", () => {
    const warn = vi.spyOn(process, "emitWarning").mockImplementation(() => {});
    try {
      const silent = new LRUCache<string, number>({ onEvict: fail });
      for (const key of ["a", "b"]) {
        silent.set(key, 1);
        silent.delete(key);
      }
      expect(warn).toHaveBeenCalledTimes(1);
      expect(silent.getStats().callback_errors).toBe(2);
      const both = new LRUCache<string, number>({ onEvict: fail, onError: fail });
      both.set("a", 1);
      both.delete("a");
      expect(warn).toHaveBeenCalledTimes(2);
      expect(both.getStats().callback_errors).toBe(2);
    } finally {
      warn.mockRestore();
    }
  });
});
