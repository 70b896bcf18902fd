import { expectAnswer, type Case, type Comparison, type ContenderSpec } from "../harness/comparison.ts";
import { EXCHANGES } from "./access-log-traffic.ts";
import { VERIFIED_LINES, type LineKind } from "./logging-workload.ts";

const OURS: ContenderSpec = { name: "@vg/logging", library: "@vg/logging" };
const OURS_BARE: ContenderSpec = { ...OURS, name: "@vg/logging (redact: false)" };
const OURS_CALLER: ContenderSpec = { ...OURS, name: "@vg/logging (caller: all)", parameters: { caller: true } };
const SAME_LINE: ContenderSpec = { name: "pino (same line)", library: "pino" };
const REDACTING: ContenderSpec = { name: "pino (same line, redact)", library: "pino" };
const AS_IT_COMES: ContenderSpec = { name: "pino (as it comes)", library: "pino" };
const CALLER: ContenderSpec = { name: "pino-caller", library: "pino-caller", parameters: { caller: true } };
const WINSTON: ContenderSpec = { name: "winston", library: "winston" };

const OURS_CONTEXT: ContenderSpec = { ...OURS_BARE, name: "@vg/logging (withContext)", creates: OURS_BARE.name };
const MIXIN: ContenderSpec = { ...SAME_LINE, name: "pino (same line, mixin)", creates: SAME_LINE.name };
const CHILD_A_REQUEST: ContenderSpec = { ...WINSTON, name: "winston (a child a request)", creates: WINSTON.name };

const ACCESS: ContenderSpec = { ...OURS, name: "@vg/logging accessLog" };
const ACCESS_BARE: ContenderSpec = { ...OURS, name: "@vg/logging accessLog (nothing hidden)" };
const PINO_HTTP: ContenderSpec = { name: "pino-http (same fields)", library: "pino-http" };
const PINO_HTTP_AS_IT_COMES: ContenderSpec = { name: "pino-http (as it comes)", library: "pino-http" };
const NO_ACCESS_LOG: ContenderSpec = { name: "node:http (no access log)", library: "node", differs: "logs nothing" };

const WRITTEN: Partial<Record<LineKind, string>> = {
  flat: "three fields",
  nested: "an object and an array",
  child: "child logger with two bindings",
  special: "`logHttpRequest`, no objects made",
  error: "an error and a field",
  context: "three fields and two ids",
};

interface Setting {
  readonly name: string;
  readonly title: string;
  readonly buffered: boolean;
  readonly kinds: readonly LineKind[];
  readonly contenders: readonly ContenderSpec[];
}

/** Whose single calls are timed. */
const TIMED: ReadonlySet<LineKind> = new Set<LineKind>(["flat", "nested", "error", "context"]);
/** In each sample: a hundred of them are above the 99th percentile. */
const CALLS = 10_000;

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
  ...[false, true].map((buffered) => ({
    name: buffered ? "context-buffered" : "context",
    title: `Ids of the request in every line, ${buffered ? "a buffer of 4096 bytes" : "each line written before the call returns"}`,
    buffered,
    kinds: ["context"] as const,
    contenders: [OURS_CONTEXT, { ...MIXIN, bar: 1 }, CHILD_A_REQUEST],
  })),
];

const lines = (setting: Setting, kind: LineKind): Case => ({
  ...caseOf(setting.title, kind, setting.buffered, setting.contenders),
  name: `${setting.name}-${kind}`,
  ...(TIMED.has(kind) && { calls: CALLS }),
  fullOnly: kind !== "flat" && setting.name !== "context",
});

function caseOf(setting: string, kind: LineKind, buffered: boolean, contenders: readonly ContenderSpec[]): Case {
  const written = kind === "off" ? 0 : VERIFIED_LINES;
  return {
    name: kind,
    title: WRITTEN[kind] ?? "debug at level info",
    setting,
    parameters: { kind, buffered },
    contenders,
    batch: 1000,
    check: (answer, operations) => expectAnswer(answer, { lines: operations }),
    // The null device keeps nothing; what a logger writes is proved on a file before its rounds.
    checkVerified: (answer) =>
      expectAnswer(answer ?? {}, { lines: written, held: buffered && kind !== "off", wrong: "" }),
  };
}

/** How many functions lie between the event loop's and the one that logs. */
const SHALLOW = 0;
const DEEP = 20;

function callers(frames: number): Case {
  const one = caseOf('What the caller costs: ours with `caller: "all"`, nothing is redacted', "flat", false, [
    OURS_CALLER,
    { ...CALLER, bar: 1 },
    OURS_BARE,
    SAME_LINE,
  ]);
  const title = frames === SHALLOW ? "three fields" : `three fields, ${frames} functions deep`;
  const name = `caller-${frames}`;
  return { ...one, name, title, parameters: { ...one.parameters, frames }, fullOnly: frames !== SHALLOW };
}

const CONNECTIONS = 32;

function accessLogs(buffered: boolean): Case {
  return {
    name: buffered ? "access-buffered" : "access",
    title: buffered ? "a buffer of 4096 bytes" : "each line written at once",
    setting: `Access log: a node:http server, ${CONNECTIONS} connections, a line a request into a file`,
    rate: "requests",
    parameters: { kind: "access", buffered, connections: CONNECTIONS },
    contenders: [ACCESS_BARE, { ...PINO_HTTP, bar: 1 }, PINO_HTTP_AS_IT_COMES, ACCESS, NO_ACCESS_LOG],
    batch: 800,
    fullOnly: buffered,
    check(answer, requests, { differs }) {
      const logged = differs === undefined ? requests : 0;
      const ofEach = logged === 0 ? [] : [logged / EXCHANGES.length];
      const log = { lines: logged, requests: logged, ofEach, wrongLine: "" };
      return expectAnswer(answer, { right: requests, wrong: 0, ...log });
    },
  };
}

export const comparison: Comparison = {
  name: "logging",
  title: "Logging: a JSON line a call to the null device, and a line a request",
  packages: ["@vg/logging"],
  module: new URL("./logging-contenders.ts", import.meta.url),
  budgetMs: { full: 490_000, quick: 14_000 },
  warmUpMs: 800,
  cases: [
    ...SETTINGS.flatMap((setting) => setting.kinds.map((kind) => lines(setting, kind))),
    caseOf("Calls below the level", "off", false, [OURS, { ...SAME_LINE, bar: 0.9 }, WINSTON]),
    ...[SHALLOW, DEEP].map(callers),
    ...[false, true].map(accessLogs),
  ],
};
