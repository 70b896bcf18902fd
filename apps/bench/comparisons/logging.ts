import { expectAnswer, type Case, type Comparison, type ContenderSpec } from "../harness/comparison.ts";
import { VERIFIED_LINES, type LineKind } from "./logging-workload.ts";

const OURS: ContenderSpec = { name: "@vg/logging", library: "@vg/logging" };
const OURS_BARE: ContenderSpec = { ...OURS, name: "@vg/logging (redact: false)" };
const OURS_CALLER: ContenderSpec = { ...OURS, name: "@vg/logging (caller: all)" };
const SAME_LINE: ContenderSpec = { name: "pino (same line)", library: "pino" };
const REDACTING: ContenderSpec = { name: "pino (same line, redact)", library: "pino" };
const AS_IT_COMES: ContenderSpec = { name: "pino (as it comes)", library: "pino" };
const WINSTON: ContenderSpec = { name: "winston", library: "winston" };

const WRITTEN: Partial<Record<LineKind, string>> = {
  flat: "three fields",
  nested: "an object and an array",
  child: "child logger with two bindings",
  special: "`logHttpRequest`, no objects made",
  error: "an error and a field",
  context: "ids from the asynchronous context",
};

interface Setting {
  readonly name: string;
  readonly title: string;
  readonly buffered: boolean;
  readonly kinds: readonly LineKind[];
  readonly contenders: readonly ContenderSpec[];
}

const ALL: readonly LineKind[] = ["flat", "nested", "child", "special", "error"];

const SETTINGS: readonly Setting[] = [
  {
    name: "bare",
    title: "Nothing is redacted on either side, each line written before the call returns",
    buffered: false,
    kinds: ALL,
    contenders: [OURS_BARE, { ...SAME_LINE, bar: 1 }, AS_IT_COMES, { ...WINSTON, bar: 2 }],
  },
  {
    name: "redacting",
    title: "Our default redaction, each line written before the call returns",
    buffered: false,
    kinds: ALL,
    contenders: [OURS, { ...SAME_LINE, bar: 0.85 }, { ...REDACTING, bar: 1 }],
  },
  {
    name: "bare-buffered",
    title: "Nothing is redacted on either side, a buffer of 4096 bytes",
    buffered: true,
    kinds: ALL,
    contenders: [OURS_BARE, { ...SAME_LINE, bar: 1 }, AS_IT_COMES, { ...WINSTON, bar: 2 }],
  },
  {
    name: "redacting-buffered",
    title: "Our default redaction, a buffer of 4096 bytes",
    buffered: true,
    kinds: ALL,
    contenders: [OURS, { ...SAME_LINE, bar: 0.85 }, { ...REDACTING, bar: 1 }],
  },
];

const lines = (setting: Setting, kind: LineKind): Case =>
  caseOf(`${setting.name}-${kind}`, WRITTEN[kind] ?? kind, setting.title, kind, setting.buffered, setting.contenders);

function caseOf(
  name: string,
  title: string,
  setting: string,
  kind: LineKind,
  buffered: boolean,
  contenders: readonly ContenderSpec[],
): Case {
  const written = kind === "off" ? 0 : VERIFIED_LINES;
  return {
    name,
    title,
    setting,
    parameters: { kind, buffered },
    contenders,
    batch: 1000,
    // What a quick run shows of 22 cases.
    fullOnly: kind !== "flat" && kind !== "off",
    check: (answer, operations) => expectAnswer(answer, { lines: operations }),
    // The null device keeps nothing; what a logger writes is proved on a file before its rounds.
    checkVerified: (answer) =>
      expectAnswer(answer ?? {}, { lines: written, held: buffered && kind !== "off", wrong: "" }),
  };
}

export const comparison: Comparison = {
  name: "logging",
  title: "Logging: a JSON line a call to the null device",
  packages: ["@vg/logging"],
  module: new URL("./logging-contenders.ts", import.meta.url),
  budgetMs: { full: 450_000, quick: 10_000 },
  warmUpMs: 1000,
  cases: [
    ...SETTINGS.flatMap((setting) => setting.kinds.map((kind) => lines(setting, kind))),
    caseOf("off", "debug at level info", "Calls below the level", "off", false, [
      OURS,
      { ...SAME_LINE, bar: 0.9 },
      WINSTON,
    ]),
    caseOf("caller", "three fields", "What the caller costs: ours without, beside ours with", "flat", false, [
      { ...OURS, name: "@vg/logging (caller: off)", creates: "@vg/logging" },
      OURS_CALLER,
    ]),
  ],
};
