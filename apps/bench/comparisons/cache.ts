import { expectAnswer, type Case, type Comparison, type ContenderSpec } from "../harness/comparison.ts";
import type { Answer } from "../harness/contender.ts";
import { numberField } from "../harness/values.ts";
import { BATCH, ExpectedOutcomes, maxBytesOf, type KeyType, type Work } from "./cache-workload.ts";

interface Setting {
  readonly deadline: "exact" | "coarse" | "none";
  readonly title: string;
  /** How many times as fast as which rivals ours has to be; those without a bar are there to look at. */
  readonly rivals: (kind: Work["kind"]) => readonly ContenderSpec[];
}

const OURS: ContenderSpec = { name: "@vg/cache", library: "@vg/cache" };
const LRU_CACHE = { name: "lru-cache", library: "lru-cache" };

const SETTINGS: readonly Setting[] = [
  {
    deadline: "exact",
    title: "Exact clock: TTL of 1 h, capacity and byte budget; lru-cache with `ttlResolution: 0`",
    rivals: (kind) => [{ ...LRU_CACHE, bar: kind === "hot" ? 1 : 1.2 }],
  },
  {
    deadline: "coarse",
    title: "Coarse clock: the same with `clockResolutionMs: 1`; lru-cache with its default `ttlResolution`, 1",
    rivals: () => [{ ...LRU_CACHE, bar: 1.3 }],
  },
  {
    deadline: "none",
    title: "No deadlines: capacity alone; ours with its statistics, the others have none",
    rivals: () => [
      { name: "lru.min", library: "lru.min", bar: 1 },
      { name: "mnemonist LRUMap", library: "mnemonist", creates: "mnemonist", bar: 1 },
      { name: "quick-lru", library: "quick-lru", differs: "approximate LRU" },
      { name: "Map", library: "node", differs: "unbounded, no order of use" },
    ],
  },
];

const KEY_TYPES: readonly KeyType[] = ["string", "number", "object"];
const WORKS: readonly Work[] = [
  { kind: "hot", capacity: 1000 },
  { kind: "hot", capacity: 10_000 },
  { kind: "mixed", capacity: 10_000 },
];

// An exact LRU has one right answer: all must hit as often, and on the same values, as the plain model.
const expected = new Map<string, ExpectedOutcomes>();

function expectedOutcomes(work: Work, maxBytes: number): ExpectedOutcomes {
  const key = `${work.kind} ${work.capacity} ${maxBytes}`;
  let outcomes = expected.get(key);
  if (outcomes === undefined) expected.set(key, (outcomes = new ExpectedOutcomes(work, maxBytes)));
  return outcomes;
}

function makeCase({ deadline, title, rivals }: Setting, work: Work, keyType: KeyType): Case {
  const { kind, capacity } = work;
  const maxBytes = deadline === "none" ? Infinity : maxBytesOf(work);
  return {
    name: `${deadline}-${kind}-${capacity}-${keyType}`,
    title: `${kind === "hot" ? "hot gets" : "mixed"}, ${capacity.toLocaleString("en-US")} entries, ${keyType} keys`,
    setting: title,
    // A quick run has each kind of work and of key, but not each with each.
    fullOnly: capacity < 10_000 || keyType === (kind === "hot" ? "number" : "object"),
    parameters: { deadline, kind, capacity, keyType },
    contenders: [OURS, ...rivals(kind)],
    batch: BATCH,
    check(answer, operations, contender) {
      // Whoever keeps more, or something else, must still give each key's own value.
      if (kind === "mixed" && contender.differs !== undefined) return checkValues(answer);
      return expectAnswer(answer, { ...expectedOutcomes(work, maxBytes).after(operations) });
    },
    describe: (answer, operations) => `${((100 * numberField(answer, "hits")) / operations).toFixed(1)} % hits`,
  };
}

function checkValues(answer: Answer): string | undefined {
  const wrong = numberField(answer, "wrong");
  return wrong === 0 ? undefined : `${wrong} hits gave the value of another key`;
}

export const comparison: Comparison = {
  name: "cache",
  title: "Cache: gets and sets by Zipf's law",
  packages: ["@vg/cache"],
  module: new URL("./cache-contenders.ts", import.meta.url),
  // A few small loops, each of which does some hundred thousand operations in it.
  warmUpMs: 150,
  budgetMs: { full: 170_000, quick: 19_000 },
  cases: SETTINGS.flatMap((setting) =>
    WORKS.flatMap((work) => KEY_TYPES.map((keyType) => makeCase(setting, work, keyType))),
  ),
};
