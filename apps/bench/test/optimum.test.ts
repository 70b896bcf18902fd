import assert from "node:assert/strict";
import { test } from "node:test";
import { optimalHits } from "../hit-rate/optimum.ts";

/** Tries out everything a cache could do: after a miss keep the key in a free place, in another's place, or not at all. */
function mostHits(accesses: readonly number[], capacity: number, held: readonly number[] = []): number {
  const [key, ...rest] = accesses;
  if (key === undefined) return 0;
  if (held.includes(key)) return 1 + mostHits(rest, capacity, held);
  const choices = [held];
  if (held.length < capacity) choices.push([...held, key]);
  for (const out of held) choices.push([...held.filter((other) => other !== out), key]);
  return Math.max(...choices.map((choice) => mostHits(rest, capacity, choice)));
}

void test("no way to keep and drop entries hits more often than the optimum, and one hits as often", () => {
  let draws = 7;
  const draw = (below: number): number => {
    draws = (Math.imul(draws, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return (draws >>> 8) % below;
  };
  for (let run = 0; run < 400; run++) {
    const keys = 1 + draw(5);
    const accesses = Array.from({ length: draw(10) }, () => draw(keys));
    const capacity = 1 + draw(3);
    const message = `${accesses.join()} in ${capacity}`;
    assert.equal(optimalHits(Uint32Array.from(accesses), capacity), mostHits(accesses, capacity), message);
  }
});

void test("in a loop that does not fit, each entry hits once a round", () => {
  const accesses = Uint32Array.from({ length: 100 }, (_, i) => i % 10);
  assert.equal(optimalHits(accesses, 10), 90);
  assert.equal(optimalHits(accesses, 9), 81);
  assert.equal(optimalHits(accesses, 1), 9);
});

void test("what never comes again, and nothing at all, never hits", () => {
  assert.equal(optimalHits(Uint32Array.from([1, 2, 3, 4]), 2), 0);
  assert.equal(optimalHits(new Uint32Array(0), 2), 0);
});
