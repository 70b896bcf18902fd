import * as fc from "fast-check";
import { expect, test } from "vitest";
import { DeadlineHeap, UNDECIDED } from "../src/expiry/deadline-heap.ts";

const SLOTS = 20;
const slot = fc.integer({ min: 1, max: SLOTS - 1 });

test("however deadlines are set, moved and removed, it finds an expired slot exactly when there is one", () => {
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.tuple(fc.constant("set" as const), slot, fc.oneof(fc.nat({ max: 60 }), fc.constant(Infinity))),
    },
    { weight: 2, arbitrary: fc.tuple(fc.constant("remove" as const), slot, fc.constant(0)) },
    { weight: 2, arbitrary: fc.tuple(fc.constant("take" as const), fc.constant(0), fc.nat({ max: 20 })) },
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
      const heap = new DeadlineHeap();
      heap.grow(8);
      heap.grow(SLOTS);
      const deadlines = new Map<number, number>();
      let now = 0;
      for (const [verb, at, n] of steps) {
        if (verb === "set") {
          heap.set(at, now + n);
          deadlines.set(at, now + n);
        } else if (verb === "remove") {
          heap.remove(at);
          deadlines.delete(at);
        } else {
          now += n;
          for (;;) {
            const due = [...deadlines].filter(([, deadline]) => deadline <= now).map(([which]) => which);
            const found = heap.firstExpired(now, Infinity);
            if (due.length === 0) {
              expect(found).toBe(0);
              break;
            }
            expect(due).toContain(found);
            heap.remove(found);
            deadlines.delete(found);
          }
        }
      }
      // Whatever is left comes out at the end of time, and the heap empties itself.
      for (let found = heap.firstExpired(1e9, Infinity); found !== 0; found = heap.firstExpired(1e9, Infinity)) {
        expect(deadlines.get(found)).toBeLessThanOrEqual(1e9);
        heap.remove(found);
        deadlines.delete(found);
      }
      expect([...deadlines.values()].filter((deadline) => deadline !== Infinity)).toEqual([]);
      expect(heap.isEmpty).toBe(true);
    }),
    { numRuns: 500 },
  );
});

test("it gives up, undecided, when more deadlines were moved than it may repair, and goes on at the next call", () => {
  const heap = new DeadlineHeap();
  heap.grow(SLOTS);
  for (let s = 1; s <= 10; s++) heap.set(s, 10 + s);
  heap.set(11, 100);
  for (let s = 1; s <= 10; s++) heap.set(s, 1000);
  expect(heap.firstExpired(100, 4)).toBe(UNDECIDED);
  expect(heap.firstExpired(100, 4)).toBe(UNDECIDED);
  expect(heap.firstExpired(100, 4)).toBe(11);
});
