import * as fc from "fast-check";
import { expect, test } from "vitest";
import { LRUCache } from "../src/index.ts";
import type { EvictionReason } from "../src/index.ts";
import { FakeClock } from "./fake-clock.ts";

interface Entry {
  key: number;
  value: number;
  deadline: number;
  idleMs: number;
  /** When its TTL is over, used or not. */
  cap: number;
  size: number;
}

type Left = [key: number, value: number, reason: EvictionReason];

/** How many changes the callbacks of one operation may make; they could feed one another for ever. */
const REENTRIES = 3;

/**
 * What the cache promises, in the most naive form: an array in order of use, from which whatever has expired is taken
 * before every step. The cache takes expired entries out later than that, but nobody may be able to tell.
 */
class Model {
  live: Entry[] = [];
  readonly left: Left[] = [];
  readonly expired: Left[] = [];
  readonly #queue: Left[] = [];
  readonly counts = { hits: 0, misses: 0, sets: 0, rejected: 0, capacity: 0, bytes: 0, expired: 0, deleted: 0 };
  readonly moreCounts = { replaced: 0, cleared: 0 };
  reentries = 0;
  delivering = false;
  capacity: number;
  readonly #maxBytes: number;
  readonly #clock: FakeClock;
  readonly #react: (model: Target, left: Left) => void;

  constructor(capacity: number, maxBytes: number, clock: FakeClock, onLeft: (model: Target, left: Left) => void) {
    this.capacity = capacity;
    this.#maxBytes = maxBytes;
    this.#clock = clock;
    this.#react = onLeft;
  }

  purge(): void {
    for (const entry of this.live.filter(({ deadline }) => deadline <= this.#clock.time)) {
      this.counts.expired++;
      this.expired.push([entry.key, entry.value, "expired"]);
      this.live.splice(this.live.indexOf(entry), 1);
    }
  }

  find(key: number): Entry | undefined {
    this.purge();
    return this.live.find((entry) => entry.key === key);
  }

  get(key: number): number | undefined {
    const entry = this.find(key);
    if (entry === undefined) {
      this.counts.misses++;
      return undefined;
    }
    this.counts.hits++;
    this.live.splice(this.live.indexOf(entry), 1);
    this.live.unshift(entry);
    entry.deadline = Math.min(this.#clock.time + entry.idleMs, entry.cap);
    return entry.value;
  }

  set(key: number, value: number, ttlMs: number, idleMs: number, size: number): boolean {
    const old = this.find(key);
    if (old !== undefined) this.#leave(old, "replaced");
    const fits = size <= this.#maxBytes;
    if (fits) {
      this.counts.sets++;
      while (this.bytes + size > this.#maxBytes) this.#leave(this.live.at(-1)!, "bytes");
      if (this.live.length >= this.capacity) this.#leave(this.live.at(-1)!, "capacity");
      const cap = this.#clock.time + ttlMs;
      const deadline = Math.min(cap, this.#clock.time + idleMs);
      this.live.unshift({ key, value, deadline, idleMs, cap, size });
    } else {
      this.counts.rejected++;
    }
    this.#deliver();
    return fits;
  }

  delete(key: number): boolean {
    const entry = this.find(key);
    if (entry !== undefined) this.#leave(entry, "deleted");
    this.#deliver();
    return entry !== undefined;
  }

  clear(): void {
    this.purge();
    for (const entry of this.live.toReversed()) this.#leave(entry, "cleared");
    this.#deliver();
  }

  resize(capacity: number): void {
    this.purge();
    this.capacity = capacity;
    while (this.live.length > capacity) this.#leave(this.live.at(-1)!, "capacity");
    this.#deliver();
  }

  get bytes(): number {
    return this.live.reduce((sum, { size }) => sum + size, 0);
  }

  #leave(entry: Entry, reason: Exclude<EvictionReason, "expired">): void {
    if (reason === "replaced" || reason === "cleared") this.moreCounts[reason]++;
    else this.counts[reason]++;
    this.live.splice(this.live.indexOf(entry), 1);
    this.#queue.push([entry.key, entry.value, reason]);
  }

  #deliver(): void {
    if (this.delivering) return;
    this.delivering = true;
    for (let left = this.#queue.shift(); left !== undefined; left = this.#queue.shift()) {
      this.left.push(left);
      if (this.reentries++ < REENTRIES) this.#react(this, left);
    }
    this.delivering = false;
  }
}

type Target = Pick<Model, "get" | "delete"> & {
  set(key: number, value: number, ttlMs: number, idleMs: number, size: number): boolean;
};

/** What the callback does to the cache it is called from. */
function react(cache: Target, [key, value, reason]: Left): void {
  if (reason === "deleted") cache.set((key + 1) % KEYS, -value - 1, 7, Infinity, 2);
  if (reason === "capacity") cache.delete((key + 1) % KEYS);
  if (reason === "replaced") cache.get((key + 2) % KEYS);
}

const KEYS = 12;
const key = fc.nat({ max: KEYS - 1 });
const operation = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant("get" as const), key }) },
  {
    weight: 8,
    arbitrary: fc.record({
      op: fc.constant("set" as const),
      key,
      ttlMs: fc.constantFrom(1, 2, 3, 10, 30, Infinity),
      idleMs: fc.constantFrom(Infinity, Infinity, 1, 4, 12),
      size: fc.nat({ max: 12 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("delete" as const), key }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant("advance" as const), ms: fc.nat({ max: 8 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("clear" as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("resize" as const), capacity: fc.integer({ min: 1, max: 8 }) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("cleanup" as const) }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("look" as const), key }) },
);
const setup = fc.record({
  capacity: fc.integer({ min: 1, max: 8 }),
  maxBytes: fc.constantFrom(10, 20, Infinity),
  reentrant: fc.boolean(),
  throwing: fc.boolean(),
});

test("no sequence of operations, clock moves and callbacks can tell the cache from a naive list", () => {
  let operations = 0;
  fc.assert(
    fc.property(
      setup,
      fc.array(operation, { maxLength: 120, size: "max" }),
      ({ capacity, maxBytes, reentrant, throwing }, steps) => {
        const clock = new FakeClock();
        const left: Left[] = [];
        const expired: Left[] = [];
        let reentries = 0;
        let callbacks = 0;
        const cache = new LRUCache<number, number>({
          capacity,
          maxBytes,
          sizeOf: () => 1,
          clock,
          cleanupIntervalMs: 0,
          onEvict: (...args) => {
            callbacks++;
            if (args[2] === "expired") expired.push(args);
            else left.push(args);
            if (reentrant && args[2] !== "expired" && reentries++ < REENTRIES) react(target, args);
            if (throwing) throw new Error("a callback that fails");
          },
          onError: () => {},
        });
        const target: Target = {
          get: (k) => cache.get(k),
          delete: (k) => cache.delete(k),
          set: (k, v, ttlMs, idleMs, sizeBytes) => cache.set(k, v, { ttlMs, idleMs, sizeBytes }),
        };
        const model = new Model(capacity, maxBytes, clock, reentrant ? react : () => {});

        const checkStats = (): void => {
          // What is told in getStats() itself is counted after it.
          cache.cleanupExpired();
          const stats = cache.getStats();
          model.purge();
          const { counts, moreCounts } = model;
          expect(stats).toMatchObject({
            hits: counts.hits,
            misses: counts.misses,
            sets: counts.sets,
            rejected_too_large: counts.rejected,
            evictions: counts.capacity + counts.bytes,
            evictions_capacity: counts.capacity,
            evictions_bytes: counts.bytes,
            expirations: counts.expired,
            deletes: counts.deleted,
            ...moreCounts,
            entries: model.live.length,
            capacity: model.capacity,
            total_size_mb: model.bytes / 1024 / 1024,
            callback_errors: throwing ? callbacks : 0,
          });
          expect(stats.sets).toBe(
            stats.entries + stats.evictions + stats.expirations + stats.deletes + stats.replaced + stats.cleared,
          );
        };

        let value = 0;
        for (const step of steps) {
          reentries = model.reentries = 0;
          value++;
          switch (step.op) {
            case "get":
              expect(cache.get(step.key)).toBe(model.get(step.key));
              break;
            case "set":
              expect(target.set(step.key, value, step.ttlMs, step.idleMs, step.size)).toBe(
                model.set(step.key, value, step.ttlMs, step.idleMs, step.size),
              );
              break;
            case "delete":
              expect(cache.delete(step.key)).toBe(model.delete(step.key));
              break;
            case "advance":
              clock.advance(step.ms);
              break;
            case "clear":
              cache.clear();
              model.clear();
              break;
            case "resize":
              cache.resize(step.capacity);
              model.resize(step.capacity);
              break;
            case "cleanup": {
              const before = cache.getStats().expirations;
              clock.advance(1);
              const removed = cache.cleanupExpired();
              expect(cache.getStats().expirations - before).toBe(removed);
              break;
            }
            case "look": {
              const entry = model.find(step.key);
              expect(cache.has(step.key)).toBe(entry !== undefined);
              expect(cache.peek(step.key)).toBe(entry?.value);
              expect(cache.getRemainingTtlMs(step.key)).toBe(entry && entry.deadline - clock.time);
              checkStats();
              break;
            }
          }
          model.purge();
          operations++;
          expect([...cache]).toEqual(model.live.map((entry) => [entry.key, entry.value]));
          expect(left).toEqual(model.left);
        }
        checkStats();
        const sorted = (list: Left[]): Left[] => list.toSorted((a, b) => a[1] - b[1]);
        expect(sorted(expired)).toEqual(sorted(model.expired));
        expect(cache.size).toBe(model.live.length);
      },
    ),
    { numRuns: 2000 },
  );
  expect(operations).toBeGreaterThan(100_000);
});
