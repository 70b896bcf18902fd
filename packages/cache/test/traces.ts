import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";

// Real traces lie beside the project, not in it.
const folder = fileURLToPath(new URL("../../../../shared/traces/", import.meta.url));

/** Whether there are no traces here: tests that need them are reported as skipped then. */
export const TRACES_MISSING: boolean = !existsSync(folder);

/** Exact LRU hits by trace and capacity: any correct LRU must give these numbers to the digit. */
export const EXACT_LRU_HITS: Record<string, Record<number, number>> = {
  lirs_2_pools: { 50: 11804, 100: 21946, 200: 36794, 400: 49153 },
  lirs_backf: { 100: 1100, 500: 5500 },
  lirs_cpp: { 20: 56, 35: 78, 50: 838, 80: 4002, 100: 6307, 300: 7553, 500: 7670, 900: 7805 },
  lirs_cs: { 500: 124, 1000: 124, 1400: 5372, 1408: 5372 },
  lirs_gli: { 250: 55, 500: 57, 750: 69, 1000: 674, 1250: 1278, 1500: 2199, 1750: 2709, 2000: 3453 },
  lirs_loop: { 500: 0, 1000: 0, 1010: 0, 1250: 504489 },
  lirs_multi1: { 600: 7460, 1000: 7648, 1400: 7697, 1800: 13063, 2200: 13233, 2600: 13252 },
  lirs_multi2: { 600: 9769, 1200: 12655, 1800: 12757, 2400: 14995, 3000: 18728 },
  lirs_multi3: { 600: 10175, 1200: 12462, 1800: 13453, 2400: 13754, 3000: 15762, 4000: 19995 },
  lirs_ps: { 500: 5072, 1000: 5072, 2000: 7364, 3000: 7364 },
  lirs_scan: { 100: 0, 1000: 0 },
  lirs_sprite: { 100: 28917, 200: 53435, 400: 94834, 600: 111477, 800: 118650, 1000: 121452 },
  lirs_zigzag: { 100: 2475, 500: 12475, 1000: 24975 },
  arc_oltp: {
    250: 150591,
    500: 214325,
    750: 258527,
    1000: 300122,
    1250: 331009,
    1500: 353738,
    1750: 372863,
    2000: 388235,
    5000: 490443,
    10000: 554906,
    15000: 590851,
  },
};

/** The keys of a trace, one for each access. `lirs_*` have one a line; ARC's have the start and the length of a run. */
export function readTrace(name: string): number[] {
  const lines = gunzipSync(readFileSync(`${folder}${name}.gz`))
    .toString("latin1")
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "" && line !== "*");
  if (!name.startsWith("arc_")) return lines.map(Number);
  const keys: number[] = [];
  for (const line of lines) {
    const [start, count] = line.split(" ").map(Number);
    for (let i = 0; i < count!; i++) keys.push(start! + i);
  }
  return keys;
}
