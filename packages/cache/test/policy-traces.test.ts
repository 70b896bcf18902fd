import { describe, expect, test } from "vitest";
import { FIRST_SLOT } from "../src/entries/slot-array.ts";
import { makePolicy } from "../src/policy/make-policy.ts";
import type { PolicyName } from "../src/policy/make-policy.ts";
import { seededRandom } from "./seeded-random.ts";
import { EXACT_LRU_HITS, readTrace, TRACES_MISSING } from "./traces.ts";

/** Keys numbered from 0 in the order in which they come first: tables by key can be arrays then. */
function numbered(keys: number[]): { accesses: Uint32Array; keys: number } {
  const numbers = new Map<number, number>();
  const accesses = Uint32Array.from(keys, (key) => {
    const number = numbers.get(key) ?? numbers.size;
    numbers.set(key, number);
    return number;
  });
  return { accesses, keys: numbers.size };
}

/** The least cache: a hit is a touch, a miss an insert, in the place of the victim when it is full. */
function hits(name: PolicyName, trace: ReturnType<typeof numbered>, capacity: number): number {
  const policy = makePolicy(name, { wide: false, random: seededRandom(1) });
  const slotOf = new Uint32Array(trace.keys);
  const keyOf = new Uint32Array(FIRST_SLOT + capacity);
  policy.grow(FIRST_SLOT + capacity);
  let unused = FIRST_SLOT;
  let count = 0;
  for (const key of trace.accesses) {
    const held = slotOf[key]!;
    if (held !== 0) {
      count++;
      policy.touch(held);
      continue;
    }
    let slot = unused;
    if (slot < keyOf.length) {
      unused++;
    } else {
      slot = policy.victim();
      policy.remove(slot);
      slotOf[keyOf[slot]!] = 0;
    }
    slotOf[key] = slot;
    keyOf[slot] = key;
    policy.insert(slot, key);
  }
  return count;
}

/** Sizes at which the optimum (Belady's) hits at least 10 points more than LRU does: there is something to win. */
const WINNABLE: Record<string, number[]> = {
  lirs_2_pools: [50, 100, 200, 400],
  lirs_cpp: [20, 35, 50, 80, 100],
  lirs_cs: [500, 1000],
  lirs_gli: [250, 500, 750, 1000, 1250, 1500, 1750],
  lirs_loop: [500, 1000, 1010],
  lirs_multi1: [600, 1000, 1400],
  lirs_multi2: [600, 1200, 1800, 2400],
  lirs_multi3: [600, 1200, 1800, 2400, 3000],
  lirs_ps: [1000],
  lirs_scan: [1000],
  lirs_sprite: [100, 200, 400],
  arc_oltp: [250, 500, 750, 1000, 1250, 1500, 1750, 2000, 5000, 10000, 15000],
};

/** W-TinyLFU wins 5 points where there is something to win, and loses at most 1 elsewhere. It fails to here. */
const LESS_THAN_FIVE: Record<string, Record<number, number>> = {
  lirs_2_pools: { 400: 2 },
  lirs_sprite: { 400: -1 },
  arc_oltp: { 2000: 4.5, 5000: 2, 10000: 1.5, 15000: 0.9 },
};

/** What SIEVE and S3-FIFO are good for: points above LRU that they must win. */
const LEADS: Record<"sieve" | "s3fifo", Record<string, Record<number, number>>> = {
  sieve: {
    lirs_2_pools: { 50: 11, 100: 25, 200: 13 },
    lirs_cpp: { 35: 15, 50: 34, 80: 19 },
    lirs_gli: { 1000: 19, 1250: 19, 1500: 14, 1750: 9 },
    lirs_multi2: { 2400: 12 },
    lirs_multi3: { 3000: 5 },
    lirs_ps: { 500: 3, 1000: 3 },
  },
  s3fifo: {
    lirs_2_pools: { 50: 10, 100: 22, 200: 13 },
    lirs_cpp: { 35: 34, 50: 37, 80: 25, 100: 6 },
    lirs_gli: { 500: 15, 750: 29, 1000: 23, 1250: 14, 1500: 11, 1750: 6 },
    lirs_loop: { 1000: 89, 1010: 93 },
    lirs_multi3: { 600: 9, 1800: 9, 2400: 12, 3000: 8 },
    lirs_sprite: { 100: 7, 200: 7 },
    arc_oltp: { 250: 5, 1000: 7, 2000: 4 },
  },
};

describe.skipIf(TRACES_MISSING)("on real traces (skipped when ../shared/traces is not there)", () => {
  const traces = new Map<string, ReturnType<typeof numbered>>();
  const trace = (name: string): ReturnType<typeof numbered> => {
    const known = traces.get(name) ?? numbered(readTrace(name));
    traces.set(name, known);
    return known;
  };
  /** Points of the hit rate above exact LRU. */
  const lead = (policy: PolicyName, name: string, capacity: number): number =>
    (100 * (hits(policy, trace(name), capacity) - EXACT_LRU_HITS[name]![capacity]!)) / trace(name).accesses.length;

  test.each(Object.keys(EXACT_LRU_HITS))("LRU hits as exact LRU does, to the digit: %s", (name) => {
    const expected = Object.entries(EXACT_LRU_HITS[name]!);
    expect(expected.map(([capacity]) => [capacity, hits("lru", trace(name), Number(capacity))])).toEqual(expected);
  });

  test.each(Object.keys(EXACT_LRU_HITS))(
    "W-TinyLFU wins where there is something to win, and is close to LRU elsewhere: %s",
    (name) => {
      for (const capacity of Object.keys(EXACT_LRU_HITS[name]!).map(Number)) {
        const winnable = WINNABLE[name]?.includes(capacity) ?? false;
        const least = LESS_THAN_FIVE[name]?.[capacity] ?? (winnable ? 5 : -1);
        expect(lead("tinylfu", name, capacity), `${name} ${capacity}`).toBeGreaterThanOrEqual(least);
      }
    },
  );

  test.each(["sieve", "s3fifo"] as const)("%s wins on the traces that it is good for", (policy) => {
    for (const [name, leads] of Object.entries(LEADS[policy])) {
      for (const [capacity, least] of Object.entries(leads)) {
        expect(lead(policy, name, Number(capacity)), `${name} ${capacity}`).toBeGreaterThanOrEqual(least);
      }
    }
  });
});
