import * as fc from "fast-check";
import { expect, test } from "vitest";
import { DeadlineHeap, UNDECIDED } from "../src/expiry/deadline-heap.ts";

const SLOTS = 20;
const slot = fc.integer({ min: 1, max: SLOTS - 1 });

test("however deadlines are set, moved and removed, it finds a slot whose time is over exactly when there is one", () => {
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
      const heap = new DeadlineHeap(8, false);
      heap.grow(SLOTS);
      const deadlines = new Map<number, number>();
      let now = 0;
      for (const [verb, at, n] of steps) {
        if (verb === "set") {
          heap.set(at, now + n);
          deadlines.set(at, now + n);
        } else if (verb === "remove") {
          heap.set(at, Infinity);
          deadlines.delete(at);
        } else {
          now += n;
          for (;;) {
            const due = [...deadlines].filter(([, deadline]) => deadline <= now).map(([which]) => which);
            const found = heap.firstPassed(now, Infinity);
            if (due.length === 0) {
              expect(found).toBe(0);
              break;
            }
            expect(due).toContain(found);
            heap.set(found, Infinity);
            deadlines.delete(found);
          }
        }
      }
      // Whatever is left comes out at the end of time, and the heap empties itself.
      for (let found = heap.firstPassed(1e9, Infinity); found !== 0; found = heap.firstPassed(1e9, Infinity)) {
        expect(deadlines.get(found)).toBeLessThanOrEqual(1e9);
        heap.set(found, Infinity);
        deadlines.delete(found);
      }
      expect([...deadlines.values()].filter((deadline) => deadline !== Infinity)).toEqual([]);
      expect(heap.nextFloor).toBe(Infinity);
    }),
    { numRuns: 500 },
  );
});

test("it gives up, undecided, when more deadlines were moved than it may repair, and goes on at the next call", () => {
  const heap = new DeadlineHeap(SLOTS, false);
  for (let s = 1; s <= 10; s++) heap.set(s, 10 + s);
  heap.set(11, 100);
  for (let s = 1; s <= 10; s++) heap.set(s, 1000);
  expect(heap.firstPassed(100, 4)).toBe(UNDECIDED);
  expect(heap.firstPassed(100, 4)).toBe(UNDECIDED);
  expect(heap.firstPassed(100, 4)).toBe(11);
});
