import { FIRST_SLOT } from "../../../packages/cache/src/entries/slot-array.ts";
import { makePolicy, type PolicyName } from "../../../packages/cache/src/policy/make-policy.ts";
import { seededRandom } from "../../../packages/cache/test/seeded-random.ts";

/** A trace whose keys are numbered from 0 in the order in which they come first. */
export interface NumberedTrace {
  accesses: Uint32Array;
  keys: number;
}

export function numbered(keys: readonly number[]): NumberedTrace {
  const numbers = new Map<number, number>();
  const accesses = Uint32Array.from(keys, (key) => {
    const number = numbers.get(key) ?? numbers.size;
    numbers.set(key, number);
    return number;
  });
  return { accesses, keys: numbers.size };
}

/** The hits of a policy in the least cache there is: a hit is a touch; a miss an insert, in the victim's place when full. */
export function hitsOf(name: PolicyName, { accesses, keys }: NumberedTrace, capacity: number): number {
  const policy = makePolicy(name, { wide: false, random: seededRandom(1) });
  const slotOf = new Uint32Array(keys);
  const keyOf = new Uint32Array(FIRST_SLOT + capacity);
  policy.grow(FIRST_SLOT + capacity);
  let unused = FIRST_SLOT;
  let hits = 0;
  for (const key of accesses) {
    const held = slotOf[key]!;
    if (held !== 0) {
      hits++;
      policy.touch(held);
      continue;
    }
    let slot = unused;
    if (slot < keyOf.length) {
      unused++;
      policy.insert(slot, key);
    } else {
      slot = policy.victim();
      slotOf[keyOf[slot]!] = 0;
      policy.reuse(slot, key);
    }
    slotOf[key] = slot;
    keyOf[slot] = key;
  }
  return hits;
}
