import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { LRUCache } from "../src/index.ts";
import { FakeClock } from "./fake-clock.ts";

// Real traces lie beside the project, not in it; without them these tests are reported as skipped.
const folder = fileURLToPath(new URL("../../../../shared/traces/", import.meta.url));
const missing = !existsSync(folder);

/** Exact LRU hits by capacity: any correct LRU must give these numbers to the digit. */
const LIRS: Record<string, Record<number, number>> = {
  "2_pools": { 50: 11804, 100: 21946, 200: 36794, 400: 49153 },
  backf: { 100: 1100, 500: 5500 },
  cpp: { 20: 56, 35: 78, 50: 838, 80: 4002, 100: 6307, 300: 7553, 500: 7670, 900: 7805 },
  cs: { 500: 124, 1000: 124, 1400: 5372, 1408: 5372 },
  gli: { 250: 55, 500: 57, 750: 69, 1000: 674, 1250: 1278, 1500: 2199, 1750: 2709, 2000: 3453 },
  loop: { 1010: 0, 1250: 504489 },
  multi1: { 600: 7460, 1000: 7648, 1400: 7697, 1800: 13063, 2200: 13233, 2600: 13252 },
  multi2: { 600: 9769, 1200: 12655, 1800: 12757, 2400: 14995, 3000: 18728 },
  multi3: { 600: 10175, 1200: 12462, 1800: 13453, 2400: 13754, 3000: 15762, 4000: 19995 },
  ps: { 500: 5072, 1000: 5072, 2000: 7364, 3000: 7364 },
  scan: { 100: 0, 1000: 0 },
  sprite: { 100: 28917, 200: 53435, 400: 94834, 600: 111477, 800: 118650, 1000: 121452 },
  zigzag: { 100: 2475, 500: 12475, 1000: 24975 },
};
const OLTP: Record<number, number> = { 250: 150591, 1000: 300122, 2000: 388235, 15000: 590851 };

function readLines(file: string): string[] {
  const text = gunzipSync(readFileSync(`${folder}${file}.gz`)).toString("latin1");
  return text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && line !== "*");
}

/** One `get` an event, a `set` after a miss; time passes, so that deadlines are kept and moved. */
function hits(events: number[], capacity: number): number {
  const clock = new FakeClock();
  const cache = new LRUCache<number, number>({ capacity, clock, defaultTtlMs: 1e9, cleanupIntervalMs: 0 });
  for (const key of events) {
    clock.advance(1);
    if (cache.get(key) === undefined) cache.set(key, key);
  }
  const stats = cache.getStats();
  expect(stats.hits + stats.misses).toBe(events.length);
  expect(stats.sets).toBe(stats.entries + stats.evictions);
  return stats.hits;
}

describe.skipIf(missing)(
  "on real traces (skipped when ../shared/traces is not there) it hits as exact LRU does",
  () => {
    test.each(Object.keys(LIRS))("lirs_%s", (name) => {
      const events = readLines(`lirs_${name}`).map(Number);
      const expected = LIRS[name]!;
      expect(Object.keys(expected).map((capacity) => [capacity, hits(events, Number(capacity))])).toEqual(
        Object.entries(expected),
      );
    });

    test("arc_oltp", () => {
      const events = readLines("arc_oltp").flatMap((line) => {
        const [start, count] = line.split(" ").map(Number);
        return Array.from({ length: count! }, (_, i) => start! + i);
      });
      expect(events.length).toBe(914_145);
      expect(Object.keys(OLTP).map((capacity) => [capacity, hits(events, Number(capacity))])).toEqual(
        Object.entries(OLTP),
      );
    });
  },
);
