import type { Contender, Parameters } from "../harness/contender.ts";
import { numberField, textField } from "../harness/values.ts";
import { cacheMaker, type DisposableCache, type Features } from "./caches.ts";
import { fill, makeWorkload, maxBytesOf, run, type Key, type KeyType, type Work } from "./cache-workload.ts";

export async function createContender(name: string, parameters: Parameters): Promise<Contender> {
  const work: Work = {
    kind: textField(parameters, "kind") as Work["kind"],
    capacity: numberField(parameters, "capacity"),
  };
  const workload = makeWorkload(work, textField(parameters, "keyType") as KeyType);
  const makeCache = await cacheMaker<Key>(name, featuresOf(work, textField(parameters, "deadline")));
  let cache: DisposableCache<Key> = makeCache();
  return {
    // Each round has a cache of its own, filled: every round starts from the same state, for the same answer.
    prepare() {
      cache[Symbol.dispose]?.();
      cache = makeCache();
      fill(cache, workload);
      // The cache of the round before, and what filling this one left, are not this round's work.
      globalThis.gc?.();
    },
    run: (operations) => ({ ...run(cache, workload, 0, operations) }),
    close: () => cache[Symbol.dispose]?.(),
  };
}

function featuresOf(work: Work, deadline: string): Features {
  const { capacity } = work;
  if (deadline !== "exact" && deadline !== "coarse") return { capacity };
  return { capacity, deadline, maxBytes: maxBytesOf(work) };
}
