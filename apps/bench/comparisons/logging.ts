import { expectAnswer, type Case, type Comparison } from "../harness/comparison.ts";
import { VERIFIED_LINES, type LineKind } from "./logging-workload.ts";

const CONTENDERS = [
  { name: "@vg/logging", library: "@vg/logging" },
  { name: "@vg/logging (redact: false)", library: "@vg/logging" },
  { name: "pino (same line)", library: "pino" },
  { name: "pino (as it comes)", library: "pino" },
];

function lines(kind: LineKind, title: string): Case {
  const written = kind === "off" ? 0 : VERIFIED_LINES;
  return {
    name: kind,
    title,
    parameters: { kind },
    contenders: CONTENDERS,
    batch: 1000,
    check: (answer, operations) => expectAnswer(answer, { lines: operations }),
    // The null device keeps nothing; what a logger writes is proved on a file before its rounds.
    checkVerified: (answer) => expectAnswer(answer ?? {}, { lines: written, linesBeforeFlush: written, wrong: "" }),
  };
}

export const comparison: Comparison = {
  name: "logging",
  title: "Logging: a JSON line a call, synchronously, to the null device",
  packages: ["@vg/logging"],
  module: new URL("./logging-contenders.ts", import.meta.url),
  cases: [
    lines("flat", "message and three fields"),
    lines("nested", "message, an object and an array"),
    lines("child", "child logger with two bindings, three fields"),
    lines("off", "level off: debug at level info"),
  ],
};
