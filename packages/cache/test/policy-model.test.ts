import * as fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FIRST_SLOT } from "../src/entries/slot-array.ts";
import { makePolicy, POLICY_NAMES } from "../src/policy/make-policy.ts";
import type { EvictionPolicy } from "../src/policy/eviction-policy.ts";
import type { PolicyName } from "../src/policy/make-policy.ts";
import { makeNaive } from "./naive-policies.ts";
import type { NaivePolicy } from "./naive-policies.ts";
import { seededRandom } from "./seeded-random.ts";

/** What a cache does with a policy, done to the policy and to the naive one; they must not differ. */
class Pair {
  operations = 0;
  readonly real: EvictionPolicy;
  readonly naive: NaivePolicy & { growSketch?(slots: number): void };
  readonly #slots: Map<number, number> = new Map();
  readonly #keys: Map<number, number> = new Map();
  #free: number[] = [];
  #room = 0;
  #capacity: number;

  constructor(name: PolicyName, capacity: number, seed: number) {
    this.real = makePolicy(name, { wide: false, random: seededRandom(seed) });
    this.naive = makeNaive(name, { wide: false, random: seededRandom(seed) });
    this.#capacity = capacity;
    this.#growTo(FIRST_SLOT + 1);
  }

  get(key: number): void {
    const held = this.#slots.get(key);
    this.operations++;
    if (held !== undefined) {
      this.real.touch(held);
      this.naive.touch(held);
      return;
    }
    if (this.#slots.size >= this.#capacity && this.operations % 2 === 0) {
      this.#replace(key);
      return;
    }
    if (this.#slots.size >= this.#capacity) this.evict();
    const slot = this.#freeSlot();
    this.#slots.set(key, slot);
    this.#keys.set(slot, key);
    this.real.insert(slot, key);
    this.naive.insert(slot, key);
  }

  delete(key: number): void {
    const slot = this.#slots.get(key);
    if (slot !== undefined) this.#remove(slot);
  }

  resize(capacity: number): void {
    this.#capacity = capacity;
    while (this.#slots.size > capacity) this.evict();
  }

  reset(): void {
    this.operations++;
    this.real.reset();
    this.naive.reset();
    this.#slots.clear();
    this.#keys.clear();
    this.#free = [];
    this.#room = 0;
    this.#growTo(FIRST_SLOT + 1);
  }

  evict(): void {
    const victim = this.real.victim();
    same(victim, this.naive.victim(), "victims");
    if (this.#slots.size === 0) same(victim, 0, "victims of nothing");
    else this.#remove(victim);
  }

  /** What they hold and in which order, as a whole and cut off. */
  compare(): void {
    const all = this.real.slots(Infinity);
    same(all.join(), this.naive.slots(Infinity).join(), "slots");
    same(sorted(all).join(), sorted([...this.#keys.keys()]).join(), "slots held");
    const limit = this.operations % 5;
    same(this.real.slots(limit).join(), all.slice(0, limit).join(), "first slots");
  }

  /** Evicts one and gives its slot to the key, in one call. */
  #replace(key: number): void {
    const slot = this.real.victim();
    same(slot, this.naive.victim(), "victims");
    this.#slots.delete(this.#keys.get(slot)!);
    this.#slots.set(key, slot);
    this.#keys.set(slot, key);
    this.real.reuse(slot, key);
    this.naive.remove(slot);
    this.naive.insert(slot, key);
  }

  #remove(slot: number): void {
    this.operations++;
    this.#slots.delete(this.#keys.get(slot)!);
    this.#keys.delete(slot);
    this.#free.push(slot);
    this.real.remove(slot);
    this.naive.remove(slot);
  }

  /** Now the slot that was freed last, now the one that was freed first, now a new one. */
  #freeSlot(): number {
    const reused = this.operations % 3 === 0 ? this.#free.shift() : this.#free.pop();
    if (reused !== undefined) return reused;
    const slot = FIRST_SLOT + this.#slots.size;
    if (slot >= this.#room) this.#growTo(2 * slot);
    return slot;
  }

  #growTo(slots: number): void {
    this.#room = slots;
    this.real.grow(slots);
    this.naive.growSketch?.(slots);
  }
}

/** As `expect(real).toBe(naive)`, which is too slow for so many. */
function same(real: number | string, naive: number | string, what: string): void {
  if (real !== naive) throw new Error(`${what} differ: ${real}, and the naive policy has ${naive}`);
}

function sorted(slots: number[]): number[] {
  return slots.toSorted((a, b) => a - b);
}

const key = fc.nat({ max: 40 });
const step = fc.oneof(
  { weight: 60, arbitrary: fc.record({ op: fc.constant("get" as const), key }) },
  { weight: 30, arbitrary: fc.record({ op: fc.constant("get" as const), key: fc.nat({ max: 6 }) }) },
  { weight: 10, arbitrary: fc.record({ op: fc.constant("delete" as const), key }) },
  {
    weight: 5,
    arbitrary: fc.record({
      op: fc.constant("loop" as const),
      key: fc.nat({ max: 200 }),
      length: fc.integer({ min: 1, max: 40 }),
      rounds: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ op: fc.constant("evict" as const) }) },
  {
    weight: 3,
    arbitrary: fc.record({ op: fc.constant("resize" as const), capacity: fc.integer({ min: 1, max: 32 }) }),
  },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("reset" as const) }) },
);

describe.each(POLICY_NAMES)("%s", (name) => {
  test("no sequence of uses, evictions, deletes, resizes and resets can tell it from a naive one with plain arrays", () => {
    let operations = 0;
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 24 }),
        fc.integer(),
        fc.array(step, { minLength: 200, maxLength: 600 }),
        (capacity, seed, steps) => {
          const pair = new Pair(name, capacity, seed);
          for (const one of steps) {
            if (one.op === "get") pair.get(one.key);
            else if (one.op === "delete") pair.delete(one.key);
            else if (one.op === "evict") pair.evict();
            else if (one.op === "resize") pair.resize(one.capacity);
            else if (one.op === "reset") pair.reset();
            else {
              for (let i = 0; i < one.length * one.rounds; i++) {
                pair.get(one.key + (i % one.length));
                pair.compare();
              }
            }
            pair.compare();
          }
          operations += pair.operations;
        },
      ),
      { numRuns: 150 },
    );
    expect(operations).toBeGreaterThan(100_000);
  });

  test("thousands of entries, scans and loops, growing and shrinking, come out as with the naive one", () => {
    const pair = new Pair(name, 2500, 1);
    const random = seededRandom(2);
    const skewed = (keys: number): number => Math.floor(keys * random() ** 3);
    for (let i = 0; i < 12_000; i++) pair.get(i < 3000 ? i : skewed(6000));
    pair.compare();
    pair.resize(40);
    for (let i = 0; i < 5000; i++) pair.get(i % 45);
    pair.compare();
    pair.resize(300);
    for (let i = 0; i < 5000; i++) pair.get(i % 3 === 0 ? 10_000 + i : skewed(1000));
    pair.compare();
    if ("changes" in pair.naive) expect(pair.naive.changes).toBeGreaterThan(1);
  });

  test("the only entry is the victim, and an empty policy has none", () => {
    const policy = makePolicy(name, { wide: false, random: seededRandom(1) });
    policy.grow(8);
    expect(policy.victim()).toBe(0);
    expect(policy.slots(10)).toEqual([]);
    for (const slot of [5, 4, 7]) {
      policy.insert(slot, "a key");
      for (let uses = 0; uses < slot; uses++) policy.touch(slot);
      expect(policy.victim()).toBe(slot);
      expect(policy.slots(10)).toEqual([slot]);
      policy.remove(slot);
      expect(policy.victim()).toBe(0);
    }
  });

  test("slots beyond 16 bits are told apart, however the table grew", () => {
    const policy = makePolicy(name, { wide: false, random: seededRandom(1) });
    policy.grow(10);
    policy.insert(4, 4);
    policy.grow(70_000);
    policy.insert(4 + 65_536, "far");
    policy.insert(5, 5);
    expect(sorted(policy.slots(10))).toEqual([4, 5, 4 + 65_536]);
    const left = [policy.victim()];
    for (policy.remove(left[0]!); policy.victim() !== 0; policy.remove(left.at(-1)!)) left.push(policy.victim());
    expect(sorted(left)).toEqual([4, 5, 4 + 65_536]);
  });
});
