/**
 * More entries than one Map of V8 can hold (2^24, and by churn already from half of that on), of keys that can be
 * spread over several and of keys that can't. It takes gigabytes, so it lives here and not among the tests.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { LRUCache } from "../src/index.ts";

const ENTRIES = 2 ** 24 + 100_000;
const CHURN = 4_000_000;

function fillAndChurn<K>(name: string, entries: number, keyOf: (i: number) => K): void {
  const cache = new LRUCache<K, number>({ capacity: entries, defaultTtlMs: Infinity });
  for (let i = 0; i < entries; i++) cache.set(keyOf(i), i);
  assert.equal(cache.size, entries);
  for (let i = entries; i < entries + CHURN; i++) cache.set(keyOf(i), i);
  assert.equal(cache.size, entries);
  assert.deepEqual([cache.get(keyOf(CHURN - 1)), cache.get(keyOf(CHURN))], [undefined, CHURN]);
  assert.equal(cache.getStats().evictions_capacity, CHURN);
  console.log(`${name}: ${entries} entries, then ${CHURN} evictions`);
}

const [, , kind] = process.argv;
if (kind === "numbers") {
  fillAndChurn("numbers", ENTRIES, (i) => i);
} else if (kind === "symbols") {
  // Nothing to spread them by: they overflow from one Map into the next.
  const keys: symbol[] = [];
  fillAndChurn("symbols", 2 ** 23 + 100_000, (i) => (keys[i] ??= Symbol()));
} else {
  for (const each of ["numbers", "symbols"]) {
    const { status } = spawnSync(
      process.execPath,
      [...process.execArgv, "--max-old-space-size=8192", fileURLToPath(import.meta.url), each],
      { stdio: "inherit" },
    );
    assert.equal(status, 0, `${each}: exit code ${status}`);
  }
}
