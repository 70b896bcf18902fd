import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { callTimes, timeEach } from "../harness/call-times.ts";
import type { Contender, Parameters } from "../harness/contender.ts";
import { LatencyHistogram } from "../harness/latency-histogram.ts";
import { textField } from "../harness/values.ts";

/** So that it is really allocated. */
const kept: number[][] = [];

/** Contenders for the tests of the harness: real processes, small work. */
export function createContender(name: string, parameters: Parameters): Contender {
  if (name === "cannot start") throw new Error("no such library");
  // Shows that this process has been there.
  const folder = parameters["folder"];
  if (typeof folder === "string") writeFileSync(join(folder, String(process.pid)), "");
  let rounds = 0;
  return {
    ...(name !== "untimed" && {
      timeCalls(calls: number) {
        const histogram = new LatencyHistogram();
        timeEach((i) => void work(i), 0, calls, histogram);
        return callTimes(histogram, { operations: name === "wrong call" ? 0 : histogram.count });
      },
    }),
    // What a round left behind, and what only this contender was given.
    ...(parameters["leaves"] !== undefined && { after: () => ({ left: parameters["leaves"] ?? null }) }),
    verify: () => ({ greeting: name === "wrong at the start" ? "bye" : textField(parameters, "greeting") }),
    run(operations) {
      rounds++;
      if (name === "crashes") process.exit(3);
      if (name === "throws") throw new Error("broken", { cause: new Error("the cause") });
      // A contender that only later forgets part of its work.
      const skipped = name === "wrong later" && rounds > 2 ? 1 : 0;
      if (name === "wasteful") for (let i = 0; i < operations; i++) kept[i % 10] = Array(10_000).fill(i);
      return { operations: operations - skipped, sum: work(operations) };
    },
  };
}

function work(operations: number): number {
  let sum = 0;
  for (let i = 0; i < operations; i++) sum += i % 7;
  return sum;
}
