import fc from "fast-check";
import { test } from "vitest";
import { play, scenarios } from "../support/random-faults.ts";

// fast-check prints the seed of a failure; `{ seed, path, endOnFailure: true }` here repeats it.
test("under random scripts no unsafe request is seen twice, every call ends, limits hold, and nothing is left", async () => {
  await fc.assert(fc.asyncProperty(scenarios, play), { numRuns: 250, endOnFailure: true });
}, 120_000);
