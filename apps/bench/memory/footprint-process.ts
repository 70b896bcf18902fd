/**
 * Measures one cache's memory, in a process of its own: see footprint.ts.
 *
 * What `heapUsed + external` grew by, after a collection, while a number of caches was made and filled with keys and
 * values that were there before: the caches' own structure. `rss` is beside it, since a small buffer outside of the heap
 * takes more of the process than its length.
 */
import { cacheMaker, type CacheUnderTest, type Value } from "../comparisons/caches.ts";
import { measured } from "../harness/measuring-process.ts";
import type { Bytes, Footprint, FootprintTask } from "./footprint.ts";

/** Enough caches to take so much together, so that what V8 itself does on the side is far below 1 %. */
const BYTES_TOGETHER = 16 * 1024 * 1024;
const MOST_CACHES = 20_000;
const VALUE_BYTES = 64;
const WARM_UP_SETS = 20_000;
/** Of an estimate. */
const FEW_CACHES = 20;
/** A cache this large is measured alone. */
const LARGE = 1_000_000;

await measured(async ({ library, capacity, features }: FootprintTask): Promise<Footprint> => {
  const limits = features === "plain" ? {} : { deadline: "exact" as const, maxBytes: 2 * VALUE_BYTES * capacity };
  const makeCache = await cacheMaker<string>(library, { capacity, ...limits });
  const keys = Array.from({ length: 2 * capacity }, (_, i) => Buffer.from(`key:${i}`).toString("latin1"));
  const value: Value = { id: 0, bytes: VALUE_BYTES };
  const setAll = (cache: CacheUnderTest<string>, from: number, to: number): void => {
    for (let i = from; i < to; i++) cache.set(keys[i]!, value);
  };
  const fill = (cache: CacheUnderTest<string>): void => setAll(cache, 0, capacity);
  // Each key anew when it has just been evicted: as many evictions as twice the capacity.
  const churn = (cache: CacheUnderTest<string>): void => {
    setAll(cache, capacity, 2 * capacity);
    setAll(cache, 0, capacity);
  };

  // So that code is compiled, and the keys have their hash codes.
  for (let sets = 0; sets < WARM_UP_SETS; sets += 2 * capacity) {
    setAll(makeCache(), 0, Math.min(2 * capacity, WARM_UP_SETS));
  }
  setAll(new Map(), 0, 2 * capacity);

  const unused: Use = () => {};
  // An empty one may be large, too.
  const first = await growth(makeCache, unused, 1);
  const empty = first.heap < LARGE ? await growth(makeCache, unused, await enough(makeCache, unused)) : first;
  const count = capacity < LARGE ? await enough(makeCache, fill) : 1;
  const filled = await growth(makeCache, fill, count);
  // A Map evicts nothing.
  if (library === "Map") return { empty, filled };
  const churned = await growth(
    makeCache,
    (cache) => {
      fill(cache);
      churn(cache);
    },
    count,
  );
  return { empty, filled, churned };
});

type Use = (cache: CacheUnderTest<string>) => void;
type Make = () => CacheUnderTest<string>;

async function enough(makeCache: Make, use: Use): Promise<number> {
  const { heap } = await growth(makeCache, use, FEW_CACHES);
  return Math.max(FEW_CACHES, Math.min(MOST_CACHES, Math.floor(BYTES_TOGETHER / Math.max(1, heap))));
}

/** The bytes that a cache takes after `use`, from `count` of them. */
async function growth(makeCache: Make, use: Use, count: number): Promise<Bytes> {
  const kept = Array.from<CacheUnderTest<string> | undefined>({ length: count }).fill(undefined);
  const before = await memory();
  for (let i = 0; i < count; i++) {
    const cache = makeCache();
    use(cache);
    kept[i] = cache;
  }
  const after = await memory();
  // Still in use here, or the collector could have taken them before.
  for (const cache of kept) if (cache === undefined) throw new Error("unreachable");
  for (const cache of kept) (cache as Partial<Disposable>)[Symbol.dispose]?.();
  return { heap: (after.heap - before.heap) / count, rss: (after.rss - before.rss) / count, caches: count };
}

async function memory(): Promise<{ heap: number; rss: number }> {
  // Timers of a millisecond, as some caches have them, are over; buffers are freed in a second collection.
  for (let i = 0; i < 2; i++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    globalThis.gc?.();
  }
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heap: heapUsed + external, rss };
}
