import assert from "node:assert/strict";
import { test } from "node:test";
import type { CacheUnderTest, Value } from "../comparisons/caches.ts";
import {
  BATCH,
  ExpectedOutcomes,
  fill,
  makeWorkload,
  maxBytesOf,
  ModelLru,
  run,
  type Key,
  type Work,
} from "../comparisons/cache-workload.ts";
import { runConcurrently } from "../comparisons/concurrency.ts";
import { documentOf, isDocument } from "../comparisons/documents.ts";
import { zipfSequence } from "../comparisons/zipf.ts";

const MIXED: Work = { kind: "mixed", capacity: 1000 };
const HOT: Work = { kind: "hot", capacity: 1000 };
const valueOf = (id: number, bytes = 1): Value => ({ id, bytes });

void test("draws follow Zipf's law: the second rank comes half as often as the first", () => {
  const counts = new Map<number, number>();
  for (const item of zipfSequence(200_000, 1000, 1, 1)) counts.set(item, (counts.get(item) ?? 0) + 1);
  const byRank = [...counts.values()].toSorted((a, b) => b - a);
  for (const rank of [2, 4, 8]) {
    const expected = byRank[0]! / rank;
    assert.ok(Math.abs(byRank[rank - 1]! - expected) < expected * 0.1, `rank ${rank}`);
  }
});

void test("the same seed gives the same sequence, another one another", () => {
  assert.deepEqual(zipfSequence(100, 50, 1, 3), zipfSequence(100, 50, 1, 3));
  assert.notDeepEqual(zipfSequence(100, 50, 1, 3), zipfSequence(100, 50, 1, 4));
});

void test("keys of every type name the same ids; strings are equal to, but not identical with, each other", () => {
  const strings = makeWorkload(MIXED, "string");
  const numbers = makeWorkload(MIXED, "number");
  const objects = makeWorkload(MIXED, "object");
  assert.deepEqual(strings.ids, numbers.ids);
  assert.deepEqual(objects.ids, numbers.ids);
  assert.ok(
    strings.keys.every((key, place) => Number.parseInt((key as string).slice(-16), 16) === numbers.keys[place]),
  );
  // An object is only equal to itself.
  assert.ok(objects.keys.every((key, place) => key === objects.stored[objects.ids[place]!]));
});

void test("the model forgets the least recently used entry, and a read counts as use", () => {
  const model = new ModelLru(3, Infinity);
  for (const id of [0, 1, 2]) model.set(id, valueOf(id));
  assert.equal(model.get(0)?.id, 0);
  model.set(3, valueOf(3));
  assert.equal(model.get(0)?.id, 0);
  assert.equal(model.get(1), undefined);
});

void test("the model keeps its budget of bytes, and counts a replaced value once", () => {
  const model = new ModelLru(3, 10);
  model.set(0, valueOf(0, 4));
  model.set(1, valueOf(1, 4));
  model.set(1, valueOf(1, 6));
  assert.equal(model.get(0)?.id, 0);
  model.set(2, valueOf(2, 5));
  assert.equal(model.get(1), undefined);
  assert.equal(model.get(0)?.id, 0);
});

void test("hot gets all hit, and mixed work meets both limits, the number of entries and the bytes", () => {
  const hot = new ExpectedOutcomes(HOT, maxBytesOf(HOT)).after(BATCH);
  assert.equal(hot.hits, BATCH);
  const hits = [
    [MIXED.capacity, maxBytesOf(MIXED)],
    [MIXED.capacity, Infinity],
    [10 * MIXED.capacity, maxBytesOf(MIXED)],
  ].map(([capacity, maxBytes]) => new ExpectedOutcomes({ kind: "mixed", capacity: capacity! }, maxBytes!).after(BATCH));
  assert.equal(new Set(hits.map((outcome) => outcome.checksum)).size, 3);
});

void test("what is expected after several batches is what one run of them all gives", () => {
  const workload = makeWorkload(MIXED, "number");
  const model = new ModelLru(MIXED.capacity, maxBytesOf(MIXED));
  fill(model, workload);
  const expected = new ExpectedOutcomes(MIXED, maxBytesOf(MIXED));
  assert.deepEqual(expected.after(3 * BATCH), run(model, workload, 0, 3 * BATCH));
  assert.notDeepEqual(expected.after(BATCH), expected.after(2 * BATCH));
});

void test("a cache that evicts the wrong entries, or mixes values up, comes out different from the model", () => {
  const workload = makeWorkload(MIXED, "number");
  const outcome = (cache: CacheUnderTest<Key>) => {
    fill(cache, workload);
    return run(cache, workload, 0, BATCH);
  };
  const right = outcome(new ModelLru(MIXED.capacity, Infinity));
  const entries = new Map<Key, Value>();
  // First in, first out: a read is not use.
  const fifo = {
    get: (key: Key) => entries.get(key),
    set(key: Key, value: Value) {
      entries.set(key, value);
      const [oldest] = entries.keys();
      if (entries.size > MIXED.capacity && oldest !== undefined) entries.delete(oldest);
    },
  };
  assert.notDeepEqual(outcome(fifo), right);
  const model = new ModelLru(MIXED.capacity, Infinity);
  const confused = {
    get: (key: Key) => (model.get(key) === undefined ? undefined : valueOf(-1)),
    set: (key: Key, value: Value) => model.set(key, value),
  };
  const { hits, wrong } = outcome(confused);
  assert.equal(hits, right.hits);
  assert.equal(wrong, right.hits);
});

void test("callers take the next task when theirs is done, never more than so many at a time", async () => {
  let running = 0;
  let most = 0;
  const done: number[] = [];
  await runConcurrently(25, 4, async (index) => {
    most = Math.max(most, ++running);
    await new Promise((resolve) => setImmediate(resolve));
    running--;
    done.push(index);
  });
  assert.equal(most, 4);
  assert.deepEqual(
    done.toSorted((a, b) => a - b),
    Array.from({ length: 25 }, (_, i) => i),
  );
});

void test("a document is 1 KiB of JSON that is recognised by its id", () => {
  for (const id of [0, 999]) {
    assert.equal(documentOf(id).length, 1024);
    assert.ok(isDocument(JSON.parse(documentOf(id)), id));
    assert.ok(!isDocument(JSON.parse(documentOf(id)), id + 1));
  }
});

void test("a document that differs anywhere is not taken for the right one", () => {
  const right = JSON.parse(documentOf(7)) as { tags: string[]; text: string };
  const { text, ...cut } = right;
  for (const wrong of [
    undefined,
    documentOf(7),
    cut,
    { ...right, score: 0.876 },
    { ...right, object: "dokument" },
    { ...right, tags: right.tags.toReversed() },
    { ...right, text: text.slice(1) },
    { ...right, text: `${text.slice(0, -1)}x` },
    { ...right, more: 1 },
  ]) {
    assert.ok(!isDocument(wrong, 7), JSON.stringify(wrong));
  }
  assert.ok(isDocument({ ...right }, 7));
});
