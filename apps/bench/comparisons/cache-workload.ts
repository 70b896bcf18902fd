import { zipfSequence } from "./zipf.ts";

/**
 * What the cache comparison does with every cache, and the plain model that says what must come out.
 *
 * Reads by Zipf's law; what is missing is set, and every 16th operation sets without reading.
 */

export const CAPACITY = 10_000;
export const KEYS = 100_000;
const EXPONENT = 0.99;
const SEQUENCE = 1 << 18;
/** Operations that fill the cache before a round, so that a round runs on a full cache. */
export const FILL = 1 << 16;

/** A value is an object, as in a real cache; its id takes part in the checksum. */
export interface Value {
  readonly id: number;
}

/** What is asked of a cache here. Thin enough that V8 inlines it. */
export interface CacheUnderTest<K> {
  get(key: K): Value | undefined;
  set(key: K, value: Value): void;
}

export interface Workload<K> {
  /** The key's number at each place of the sequence. */
  readonly ids: Int32Array;
  /** The keys at each place of the sequence. */
  readonly keys: readonly K[];
  readonly values: readonly Value[];
}

export function intWorkload(): Workload<number> {
  const ids = draw();
  return { ids, keys: Array.from(ids), values: makeValues() };
}

/**
 * The keys come in two copies that are equal but not identical, because a program makes its keys anew for each request,
 * and a map finds an identical string sooner than an equal one.
 */
export function stringWorkload(): Workload<string> {
  const ids = draw();
  const [first, second] = [stringKeys(), stringKeys()];
  const keys = Array.from(ids, (id, place) => (place % 2 === 0 ? first : second)[id]!);
  return { ids, keys, values: makeValues() };
}

function draw(): Int32Array {
  return zipfSequence(SEQUENCE, KEYS, EXPONENT, 42);
}

function makeValues(): Value[] {
  return Array.from({ length: KEYS }, (_, id): Value => ({ id }));
}

function stringKeys(): string[] {
  // Through a buffer: concatenation would leave ropes, which the first look-up would have to flatten.
  return Array.from({ length: KEYS }, (_, id) =>
    Buffer.from(`inference:phi-3:${id.toString(16).padStart(16, "0")}`).toString("latin1"),
  );
}

export interface Outcome {
  hits: number;
  checksum: number;
}

/** Does `count` operations from `start` on in the sequence, which repeats itself. */
export function runWorkload<K>(cache: CacheUnderTest<K>, workload: Workload<K>, start: number, count: number): Outcome {
  const { ids, keys, values } = workload;
  let hits = 0;
  let checksum = 0;
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
    }
  }
  return { hits, checksum };
}

/** The simplest exact LRU: a Map in the order of use. Slow, and obviously right. */
export class ModelLru implements CacheUnderTest<number> {
  readonly #entries = new Map<number, Value>();

  get(key: number): Value | undefined {
    const value = this.#entries.get(key);
    if (value === undefined) return undefined;
    this.#entries.delete(key);
    this.#entries.set(key, value);
    return value;
  }

  set(key: number, value: Value): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    if (this.#entries.size <= CAPACITY) return;
    for (const oldest of this.#entries.keys()) {
      this.#entries.delete(oldest);
      break;
    }
  }
}
