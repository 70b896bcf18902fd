import type { CacheUnderTest, Value } from "./caches.ts";
import { zipfSequence } from "./zipf.ts";

/**
 * What the cache comparison does with every cache, and the plain model that says what must come out.
 *
 * - `hot`: gets by Zipf's law of as many keys as the cache holds: all hit.
 * - `mixed`: gets by Zipf's law of ten times as many; what is missing is set, and every 16th operation sets without
 *   reading.
 */
export interface Work {
  readonly kind: "hot" | "mixed";
  readonly capacity: number;
}

export type KeyType = "string" | "number" | "object";
export type Key = string | number | object;

const EXPONENT = 0.99;
const SEQUENCE = 1 << 18;
/** Mixed operations that fill the cache before a round, so that a round runs on a full cache. */
const FILL = 1 << 16;
/** A round does a multiple of so many operations. */
export const BATCH: number = 1 << 14;

export interface Workload<K> {
  readonly kind: Work["kind"];
  /** The key's number at each place of the sequence. */
  readonly ids: Int32Array;
  /** The keys at each place of the sequence. */
  readonly keys: readonly K[];
  /** By number: the keys as they are stored at first, and the values. */
  readonly stored: readonly K[];
  readonly values: readonly Value[];
}

/**
 * What the values of a cache may take together where there is a budget. The mixed work meets both limits, the number of
 * entries and the bytes, in turns; the hot one neither.
 */
export function maxBytesOf({ kind, capacity }: Work): number {
  return capacity * (kind === "hot" ? MAX_BYTES : MEAN_BYTES);
}

const MIN_BYTES = 64;
const MAX_BYTES = 127;
const MEAN_BYTES = (MIN_BYTES + MAX_BYTES + 1) / 2;

export function makeWorkload(work: Work, keyType: KeyType): Workload<Key> {
  const count = work.capacity * (work.kind === "hot" ? 1 : 10);
  const ids = zipfSequence(SEQUENCE, count, EXPONENT, 42);
  const stored = makeKeys(keyType, count);
  // A program makes its strings anew for each request: equal keys that are not identical, which a map finds later.
  const copies = keyType === "string" ? makeKeys(keyType, count) : stored;
  const keys = Array.from(ids, (id, place) => (place % 2 === 0 ? stored : copies)[id]!);
  return { kind: work.kind, ids, keys, stored, values: makeValues(count) };
}

function makeKeys(keyType: KeyType, count: number): Key[] {
  return Array.from({ length: count }, (_, id): Key => {
    if (keyType === "number") return id;
    if (keyType === "object") return { id };
    // Through a buffer: concatenation would leave ropes, which the first look-up would have to flatten.
    return Buffer.from(`inference:phi-3:${id.toString(16).padStart(16, "0")}`).toString("latin1");
  });
}

function makeValues(count: number): Value[] {
  // Scattered evenly, since the multiplier is the golden ratio's.
  const bytes = (id: number): number => MIN_BYTES + (Math.imul(id, 0x9e3779b1) >>> 26);
  return Array.from({ length: count }, (_, id): Value => ({ id, bytes: bytes(id) }));
}

export interface Outcome {
  hits: number;
  /** Over the values hit: two caches that hit as often, but on other values, differ. */
  checksum: number;
  /** Hits with the value of another key. */
  wrong: number;
}

/** Brings a new cache into the state that each round starts from. */
export function fill<K>(cache: CacheUnderTest<K>, workload: Workload<K>): void {
  const { kind, stored, values } = workload;
  if (kind === "mixed") run(cache, workload, -FILL, FILL);
  else for (const [id, key] of stored.entries()) cache.set(key, values[id]!);
}

/** Does `count` operations from `start` on in the sequence, which repeats itself both ways. */
export function run<K>(cache: CacheUnderTest<K>, workload: Workload<K>, start: number, count: number): Outcome {
  return workload.kind === "hot" ? runHot(cache, workload, start, count) : runMixed(cache, workload, start, count);
}

function runHot<K>(cache: CacheUnderTest<K>, { ids, keys }: Workload<K>, start: number, count: number): Outcome {
  let hits = 0;
  let checksum = 0;
  let wrong = 0;
  for (let i = start; i < start + count; i++) {
    const place = i & (SEQUENCE - 1);
    const value = cache.get(keys[place]!);
    if (value === undefined) continue;
    hits++;
    checksum = (checksum + value.id) | 0;
    if (value.id !== ids[place]) wrong++;
  }
  return { hits, checksum, wrong };
}

function runMixed<K>(cache: CacheUnderTest<K>, workload: Workload<K>, start: number, count: number): Outcome {
  const { ids, keys, values } = workload;
  let hits = 0;
  let checksum = 0;
  let wrong = 0;
  for (let i = start; i < start + count; i++) {
    const place = i & (SEQUENCE - 1);
    const key = keys[place]!;
    if ((i & 15) === 0) {
      cache.set(key, values[ids[place]!]!);
      continue;
    }
    const value = cache.get(key);
    if (value === undefined) {
      cache.set(key, values[ids[place]!]!);
    } else {
      hits++;
      checksum = (checksum + value.id) | 0;
      if (value.id !== ids[place]) wrong++;
    }
  }
  return { hits, checksum, wrong };
}

/** The simplest exact LRU: a Map in the order of use. Slow, and obviously right. */
export class ModelLru implements CacheUnderTest<Key> {
  readonly #entries = new Map<Key, Value>();
  readonly #capacity: number;
  readonly #maxBytes: number;
  #bytes = 0;

  constructor(capacity: number, maxBytes: number) {
    this.#capacity = capacity;
    this.#maxBytes = maxBytes;
  }

  get(key: Key): Value | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  set(key: Key, value: Value): void {
    this.#delete(key);
    this.#entries.set(key, value);
    this.#bytes += value.bytes;
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= this.#capacity && this.#bytes <= this.#maxBytes) return;
      this.#delete(oldest);
    }
  }

  #delete(key: Key): void {
    this.#bytes -= this.#entries.get(key)?.bytes ?? 0;
    this.#entries.delete(key);
  }
}

/** What an exact LRU answers to a round, from one run of the model that is as long as the longest round. */
export class ExpectedOutcomes {
  readonly #model: CacheUnderTest<Key>;
  readonly #workload: Workload<Key>;
  /** After so many batches. */
  readonly #outcomes: Outcome[] = [{ hits: 0, checksum: 0, wrong: 0 }];

  constructor(work: Work, maxBytes: number) {
    this.#workload = makeWorkload(work, "number");
    // Hot gets meet no limit and no set, so the order of use changes no answer, and a Map says the same sooner.
    this.#model = work.kind === "hot" ? new Map<Key, Value>() : new ModelLru(work.capacity, maxBytes);
    fill(this.#model, this.#workload);
  }

  /** @param operations a multiple of BATCH */
  after(operations: number): Outcome {
    const batches = operations / BATCH;
    for (let done = this.#outcomes.length - 1; done < batches; done++) {
      const last = this.#outcomes[done]!;
      const next = run(this.#model, this.#workload, done * BATCH, BATCH);
      this.#outcomes.push({
        hits: last.hits + next.hits,
        checksum: (last.checksum + next.checksum) | 0,
        wrong: last.wrong + next.wrong,
      });
    }
    return this.#outcomes[batches]!;
  }
}
