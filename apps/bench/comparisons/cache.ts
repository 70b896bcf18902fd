import { expectAnswer, type Case, type Comparison } from "../harness/comparison.ts";
import type { Answer } from "../harness/contender.ts";
import { CAPACITY, FILL, KEYS, intWorkload, ModelLru, runWorkload, type Workload } from "./cache-workload.ts";

const CONTENDERS = [
  { name: "@vg/cache", library: "@vg/cache" },
  { name: "lru-cache", library: "lru-cache" },
];

// An exact LRU has one right answer: both caches must hit as often, and on the same values, as the plain model.
const expected = new Map<number, Answer>();
let workload: Workload<number> | undefined;

function check(answer: Answer, operations: number): string | undefined {
  let right = expected.get(operations);
  if (right === undefined) {
    workload ??= intWorkload();
    const model = new ModelLru();
    runWorkload(model, workload, 0, FILL);
    right = { ...runWorkload(model, workload, FILL, operations) };
    expected.set(operations, right);
  }
  return expectAnswer(answer, right);
}

function mix(keyType: "int" | "string", ttl: boolean): Case {
  return {
    name: `${keyType}${ttl ? "-ttl" : ""}`,
    title: `${keyType} keys, ${ttl ? "TTL of 1 h" : "no TTL"}`,
    parameters: { keyType, ttl },
    contenders: CONTENDERS,
    batch: 1 << 16,
    check,
  };
}

export const comparison: Comparison = {
  name: "cache",
  title: `Cache: get, and set on a miss, of ${KEYS} keys by Zipf's law in ${CAPACITY} entries`,
  packages: ["@vg/cache"],
  module: new URL("./cache-contenders.ts", import.meta.url),
  cases: [mix("string", false), mix("string", true), mix("int", false), mix("int", true)],
};
