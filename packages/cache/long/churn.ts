/**
 * Ten million operations of every kind on one cache of each policy: the heap after them is what it was after the first
 * million. It takes long, so it lives here and not among the tests.
 */
import assert from "node:assert/strict";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { LRUCache, type PolicyName } from "../src/index.ts";

const OPERATIONS = 10_000_000;
const FIRST = 1_000_000;
/** What V8 compiles and caches for itself meanwhile; an entry lost in a thousand would be 1 MB. */
const SLACK_BYTES = 1_000_000;

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

function heapBytes(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

let seed = 1;
/** D. Lehmer's generator (Park and Miller): the same run each time. */
function random(): number {
  seed = (seed * 16_807) % 2_147_483_647;
  return seed / 2_147_483_647;
}

async function churn(policy: PolicyName): Promise<void> {
  let now = 0;
  let told = 0;
  const cache = new LRUCache<string, { id: number }>({
    capacity: 5000,
    maxBytes: 400_000,
    sizeOf: ({ id }) => 50 + (id % 100),
    policy,
    random,
    clock: { now: () => now },
    defaultTtlMs: 20_000,
    staleWhileRevalidateMs: 1000,
    errorTtlMs: 500,
    onEvict: () => void told++,
  });
  let after = 0;
  for (let i = 1; i <= OPERATIONS; i++) {
    const id = Math.floor(20_000 ** random());
    const key = `key:${id}`;
    const dice = i % 64;
    now += 1;
    if (dice === 0) cache.delete(key);
    else if (dice === 1) cache.set(key, { id }, { idleMs: 3000, ttlMs: 10_000 });
    else if (dice === 2) await cache.getOrLoad(key, async () => ({ id })).catch(() => undefined);
    else if (dice === 3) await cache.getOrLoad(key, () => Promise.reject(new Error("no"))).catch(() => undefined);
    else if (cache.get(key) === undefined) cache.set(key, { id });
    if (i % 2_000_003 === 0) cache.clear();
    if (i === FIRST) after = heapBytes();
  }
  const growth = heapBytes() - after;
  const stats = cache.getStats();
  console.log(
    `${policy}: heap after ${OPERATIONS} operations is that after ${FIRST} plus ${growth} bytes; ` +
      `${stats.entries} entries, hit rate ${stats.hit_rate.toFixed(3)}, ${told} departures told`,
  );
  assert.equal(
    stats.sets,
    stats.entries + stats.evictions + stats.expirations + stats.deletes + stats.replaced + stats.cleared,
  );
  assert.ok(growth < SLACK_BYTES, `the heap grew by ${growth} bytes`);
  cache.close();
}

for (const policy of ["lru", "sieve", "s3fifo", "tinylfu"] as const) await churn(policy);
