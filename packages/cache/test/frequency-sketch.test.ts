import * as fc from "fast-check";
import { expect, test } from "vitest";
import { FrequencySketch } from "../src/policy/frequency-sketch.ts";
import { seededRandom } from "./seeded-random.ts";

const hash = fc.integer({ min: 0, max: 0xffff_ffff });

/** The sketch with one number a counter: which counters are a key's is worked out in whole numbers without end. */
class NaiveSketch {
  #counters: Map<string, number> = new Map();
  #blocks = 256;
  #uses = 0;
  entries = 1;

  grow(entries: number): void {
    while (this.#blocks * 8 < entries) {
      const copies = [...this.#counters].map(([name, count]): [string, number] => {
        const [block, ...rest] = name.split(" ");
        return [[Number(block) + this.#blocks, ...rest].join(" "), count];
      });
      for (const [name, count] of copies) this.#counters.set(name, count);
      this.#blocks *= 2;
    }
  }

  increment(of: number): void {
    const least = this.estimate(of);
    for (const name of this.#names(of)) {
      if ((this.#counters.get(name) ?? 0) === least && least < 15) this.#counters.set(name, least + 1);
    }
    if (++this.#uses >= 12 * this.entries) {
      this.#uses = 0;
      for (const [name, count] of this.#counters) this.#counters.set(name, Math.floor(count / 2));
    }
  }

  estimate(of: number): number {
    return Math.min(...this.#names(of).map((name) => this.#counters.get(name) ?? 0));
  }

  #names(of: number): string[] {
    const spread = (BigInt(of) * 0x9e3779b1n) % 0x1_0000_0000n;
    const bits = spread.toString(2).padStart(32, "0");
    return [0, 1, 2, 3].map((row) => `${of % this.#blocks} ${row} ${bits.slice(5 * row, 5 * row + 5)}`);
  }
}

test("no sequence of uses, growth and changes of the number of entries can tell it from one with a number a counter", () => {
  const few = fc.constantFrom(0, 1, 0x8000_0000, 0xffff_ffff, 0x1234_5678, 256, 512);
  const step = fc.oneof(
    {
      weight: 40,
      arbitrary: fc.record({ op: fc.constant("use" as const), hash: fc.oneof(few, hash), times: fc.nat(20) }),
    },
    { weight: 1, arbitrary: fc.record({ op: fc.constant("grow" as const), entries: fc.nat(20_000) }) },
    { weight: 2, arbitrary: fc.record({ op: fc.constant("hold" as const), entries: fc.integer({ min: 1, max: 99 }) }) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const sketch = new FrequencySketch();
      const naive = new NaiveSketch();
      for (const one of steps) {
        if (one.op === "grow") {
          sketch.grow(one.entries);
          naive.grow(one.entries);
        } else if (one.op === "hold") {
          sketch.hold(one.entries);
          naive.entries = one.entries;
        } else {
          for (let i = 0; i < one.times; i++) {
            sketch.increment(one.hash);
            naive.increment(one.hash);
          }
          expect(sketch.estimate(one.hash)).toBe(naive.estimate(one.hash));
        }
      }
    }),
  );
});

test("a key is never estimated below what was counted, up to 15, and seldom above", () => {
  const random = seededRandom(1);
  const sketch = new FrequencySketch();
  sketch.grow(10_000);
  sketch.hold(1_000_000);
  const counts = new Map<number, number>();
  for (let i = 0; i < 100_000; i++) {
    const one = Math.imul(Math.floor(10_000 * random() ** 2), 0x85ebca6b) >>> 0;
    sketch.increment(one);
    counts.set(one, (counts.get(one) ?? 0) + 1);
  }
  const errors = [...counts].map(([one, count]) => sketch.estimate(one) - Math.min(15, count));
  expect(Math.min(...errors)).toBe(0);
  expect(errors.filter((error) => error > 0).length / errors.length).toBeLessThan(0.05);
});

test("all counts are halved after 12 uses for each entry held", () => {
  const sketch = new FrequencySketch();
  sketch.hold(2);
  for (let i = 0; i < 13; i++) sketch.increment(7);
  for (let i = 0; i < 10; i++) sketch.increment(8);
  expect([sketch.estimate(7), sketch.estimate(8)]).toEqual([13, 10]);
  sketch.increment(9);
  expect([sketch.estimate(7), sketch.estimate(8), sketch.estimate(9)]).toEqual([6, 5, 0]);
});

test("growing keeps what was counted, and a reset forgets it", () => {
  const sketch = new FrequencySketch();
  sketch.hold(1000);
  for (let i = 0; i < 9; i++) sketch.increment(0xdead_beef);
  sketch.grow(100_000);
  expect(sketch.estimate(0xdead_beef)).toBe(9);
  sketch.reset();
  expect(sketch.estimate(0xdead_beef)).toBe(0);
});
