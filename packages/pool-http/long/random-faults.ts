/**
 * The property of test/faults/random-faults.test.ts for a minute (or as many seconds as the first argument says), with seeds
 * of its own: random scripts of faults, random requests and aborts, and what must hold whatever comes of them. The second
 * argument is a seed that failed, to repeat it.
 */
import fc from "fast-check";
import { play, scenarios } from "../test/support/random-faults.ts";

const seconds = Number(process.argv[2] ?? 60);
const first = process.argv[3] === undefined ? Date.now() % 2 ** 31 : Number(process.argv[3]);
const RUNS = 100;

const end = performance.now() + seconds * 1000;
let seeds = 0;
for (let seed = first; seeds === 0 || performance.now() < end; seed++, seeds++) {
  const details = await fc.check(fc.asyncProperty(scenarios, play), { seed, numRuns: RUNS, endOnFailure: true });
  if (!details.failed) continue;
  console.error(fc.defaultReportMessage(details));
  console.error(details.errorInstance);
  throw new Error(`seed ${seed} failed`);
}
console.log(`${seeds} seeds from ${first} on, ${seeds * RUNS} scenarios: all held`);
