import assert from "node:assert/strict";
import { test } from "node:test";
import { CAPACITY, intWorkload, ModelLru, runWorkload, stringWorkload } from "../comparisons/cache-workload.ts";
import { runConcurrently } from "../comparisons/concurrency.ts";
import { documentOf, isDocument } from "../comparisons/documents.ts";
import { zipfSequence } from "../comparisons/zipf.ts";

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

void test("string keys are equal to, but not identical with, each other, and name the same ids as int keys", () => {
  const strings = stringWorkload();
  const ints = intWorkload();
  assert.deepEqual(strings.ids, ints.ids);
  assert.ok(strings.keys.every((key, place) => Number.parseInt(key.slice(-16), 16) === ints.keys[place]));
});

void test("the model forgets the least recently used entry, and a read counts as use", () => {
  const model = new ModelLru();
  for (let id = 0; id < CAPACITY; id++) model.set(id, { id });
  assert.equal(model.get(0)?.id, 0);
  model.set(CAPACITY, { id: CAPACITY });
  assert.equal(model.get(0)?.id, 0);
  assert.equal(model.get(1), undefined);
});

void test("a cache that evicts the wrong entries comes out different from the model", () => {
  const workload = intWorkload();
  const entries = new Map<number, { id: number }>();
  // First in, first out: a read is not use.
  const fifo = {
    get: (key: number) => entries.get(key),
    set(key: number, value: { id: number }) {
      entries.set(key, value);
      const [oldest] = entries.keys();
      if (entries.size > CAPACITY && oldest !== undefined) entries.delete(oldest);
    },
  };
  assert.notDeepEqual(runWorkload(fifo, workload, 0, 100_000), runWorkload(new ModelLru(), workload, 0, 100_000));
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
