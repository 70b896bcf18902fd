import fc from "fast-check";
import { expect, test } from "vitest";
import { Bag, NOT_BAGGED, type Bagged } from "@vg/internal";

test("a bag has what a set has, whatever comes and goes in which order", () => {
  const step = fc.tuple(fc.constantFrom("add", "delete"), fc.nat(7));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const items = Array.from({ length: 8 }, (): Bagged => ({ bagIndex: NOT_BAGGED }));
      const bag = new Bag<Bagged>();
      const model = new Set<Bagged>();
      for (const [what, which] of steps) {
        const item = items[which] as Bagged;
        bag[what as "add" | "delete"](item);
        model[what as "add" | "delete"](item);
        expect(bag.size).toBe(model.size);
        expect(new Set(bag)).toEqual(model);
        for (const each of items) expect(each.bagIndex === NOT_BAGGED).toBe(!model.has(each));
      }
    }),
  );
});

test("a walk over a bag visits all of then, though each leaves when it is visited", () => {
  const items = Array.from({ length: 5 }, (): Bagged => ({ bagIndex: NOT_BAGGED }));
  const bag = new Bag<Bagged>();
  for (const item of items) bag.add(item);
  const visited: Bagged[] = [];
  for (const item of bag) {
    bag.delete(item);
    visited.push(item);
  }
  expect(visited).toEqual(items);
  expect(bag.size).toBe(0);
});
