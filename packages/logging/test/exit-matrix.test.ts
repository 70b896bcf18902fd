import { existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { ended, spawnProgram, type Ended } from "./support/run.ts";

const FORMATS = {
  json: `{ format: "json" }`,
  console: `{ format: "console", color: "never" }`,
  "buffered json": `{ format: "json", buffer: true }`,
  "buffered console": `{ format: "console", color: "never", buffer: true }`,
};
const LINES = 200;
const START = (config: string): string => `
import { createLogger } from "@vg/logging";
const logger = createLogger(${config});
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const log = (from, to) => { for (let i = from; i <= to; i++) logger.info("line", { i, text: "x".repeat(i) }); };
log(1, ${LINES});
`;
const waitFor = (signal: string): string => `process.kill(process.pid, "${signal}"); await sleep(60_000);`;

/** The numbers of the lines that came out, in both formats. */
const numbers = ({ stdout }: Ended): number[] =>
  stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => Number(/(?:"i":|i=)(\d+).*(?:x"?}?)$/.exec(line)?.[1] ?? line));
const upTo = (last: number): number[] => Array.from({ length: last }, (_, index) => index + 1);

async function run(source: string, stdout: "pipe" | number = "pipe"): Promise<Ended> {
  return ended(spawnProgram(source, { stdio: ["pipe", stdout, "pipe"] }));
}

const ENDS: [string, string, number | null, NodeJS.Signals | null][] = [
  ["main returns", "", 0, null],
  ["process.exit is called", "process.exit(3);", 3, null],
  ["something is thrown", "throw new Error('unhandled');", 1, null],
  ["a promise is rejected", "void Promise.reject(new Error('unhandled')); await sleep(60_000);", 1, null],
  ["SIGTERM arrives", waitFor("SIGTERM"), null, "SIGTERM"],
  ["SIGINT arrives", waitFor("SIGINT"), null, "SIGINT"],
  ["SIGHUP arrives", waitFor("SIGHUP"), null, "SIGHUP"],
];

describe.each(Object.entries(FORMATS))("in %s", (_, config) => {
  test.concurrent.each(ENDS)(
    "no line is lost when %s, which ends the process as without a logger",
    async (_name, end, code, signal) => {
      const result = await run(START(config) + end);
      expect([result.code, result.signal]).toEqual([code, signal]);
      expect(numbers(result)).toEqual(upTo(LINES));
    },
  );

  test.concurrent("a closed pipe does not end the service, and all that was lost is counted", async () => {
    const child = spawnProgram(`${START(config)}
      await logger.flush();
      process.stderr.write("ready ");
      process.stdin.once("data", async () => {
        log(1, 100);
        await logger.flush();
        log(1, 10);
        const { dropped_total, dropped_by_level, last_failure } = logger.getStats();
        process.stderr.write(JSON.stringify({ dropped_total, dropped_by_level, last_failure }));
        await logger.close();
        process.exit(7);
      });`);
    child.stdout?.once("close", () => child.stdin?.write("go"));
    child.stderr?.once("data", () => child.stdout?.destroy());
    const { code, stderr } = await ended(child);
    expect(code).toBe(7);
    expect(JSON.parse(stderr.replace("ready ", ""))).toMatchObject({
      dropped_total: 110,
      dropped_by_level: { info: 110, warn: 0 },
      last_failure: "EPIPE",
    });
  });

  test.skipIf(!existsSync("/dev/full")).concurrent("a full disk does not end the service, nor its exit", async () => {
    const source = `${START(config)}
      const { buffered_bytes, dropped_total, last_failure } = logger.getStats();
      process.stderr.write(JSON.stringify({ buffered_bytes, dropped_total, last_failure }));
      process.exitCode = 4;`;
    const { code, signal, stderr } = await run(source, openSync("/dev/full", "w"));
    expect([code, signal]).toEqual([4, null]);
    const { buffered_bytes, dropped_total, last_failure } = JSON.parse(stderr) as Record<string, unknown>;
    expect(last_failure).toBe("ENOSPC");
    // A buffer keeps what was logged, should there be room again.
    if (config.includes("buffer")) expect([Number(buffered_bytes) > 20_000, dropped_total]).toEqual([true, 0]);
    else expect([buffered_bytes, dropped_total]).toEqual([0, LINES]);
  });
});

describe("where somebody else listens for the signal", () => {
  const config = FORMATS["buffered json"];
  const shutdown = `async () => { await sleep(100); log(201, 300); process.exit(5); }`;

  test.concurrent.each([
    ["always", `process.on("SIGTERM", ${shutdown});`],
    ["once", `process.once("SIGTERM", ${shutdown});`],
    [
      "and ends without an exit",
      `process.on("SIGTERM", async () => { await sleep(100); log(201, 300); process.exitCode = 5; clearTimeout(alive); });`,
    ],
  ])("%s, the logger only flushes, and the last lines are there", async (_, listen) => {
    const source = `${START(config)}${listen}
      const alive = setTimeout(() => {}, 60_000);
      process.kill(process.pid, "SIGTERM");`;
    const result = await run(source);
    expect([result.code, result.signal]).toEqual([5, null]);
    expect(numbers(result)).toEqual(upTo(300));
  });

  test.concurrent("a second signal is theirs, too", async () => {
    const source = `${START(config)}
      let signals = 0;
      process.on("SIGTERM", () => {
        log(200 + ++signals, 200 + signals);
        if (signals === 2) process.exit(6);
        else process.kill(process.pid, "SIGTERM");
      });
      ${waitFor("SIGTERM")}`;
    const result = await run(source);
    expect([result.code, result.signal]).toEqual([6, null]);
    expect(numbers(result)).toEqual(upTo(202));
  });

  test.concurrent("who leaves and signals again gets the signal's own end", async () => {
    const source = `${START(config)}
      process.once("SIGTERM", () => { log(201, 201); process.kill(process.pid, "SIGTERM"); });
      ${waitFor("SIGTERM")}`;
    const result = await run(source);
    expect([result.code, result.signal]).toEqual([null, "SIGTERM"]);
    expect(numbers(result)).toEqual(upTo(201));
  });
});

describe("several loggers", () => {
  test.concurrent("of two copies of the package are one listener, and the signal still ends the process", async () => {
    const source = `
      import { registerHooks } from "node:module";
      ${START(FORMATS["buffered json"])}
      registerHooks({
        resolve(specifier, context, next) {
          const found = next(specifier, context);
          const isCopy = specifier.endsWith("?2") || context.parentURL?.endsWith("?2");
          return isCopy && found.url.includes("/logging/src/") ? { ...found, url: found.url.split("?")[0] + "?2" } : found;
        },
      });
      const { createLogger: other } = await import(process.cwd() + "/src/index.ts?2");
      if (other === createLogger) throw new Error("one copy");
      const b = other({ destination: 2, buffer: true });
      b.info("line", { i: 1, text: "x" });
      if (process.listenerCount("SIGTERM") !== 1) throw new Error("listeners: " + process.listenerCount("SIGTERM"));
      ${waitFor("SIGTERM")}`;
    const result = await run(source);
    expect([result.signal, result.stderr.split("\n").length]).toEqual(["SIGTERM", 2]);
    expect(numbers(result)).toEqual(upTo(LINES));
  });

  test.concurrent("on one descriptor, buffered or not, keep the order of their lines", async () => {
    const source = `
      import { createLogger } from "@vg/logging";
      const loggers = [{ buffer: true }, { buffer: { sizeBytes: 1000 } }, {}].map((config) => createLogger(config));
      for (let i = 1; i <= 300; i++) loggers[Math.floor(i / 7) % 3].info("line", { i, text: "x" });`;
    expect(numbers(await run(source))).toEqual(upTo(300));
  });
});

test.each(["buffered json", "json"] as const)(
  "a signal that comes during the last work of all ends the process by that signal (%s)",
  async (format) => {
    const limited = format === "json" ? ", rateLimit: { burst: 1 }" : "";
    const result = await run(`
      import { createLogger } from "@vg/logging";
      const logger = createLogger({ buffer: ${format === "buffered json"}${limited} });
      for (const i of [1, 2]) logger.info("line", { i, text: "x" });
      setTimeout(() => process.kill(process.pid, "SIGTERM"), 1);`);
    expect([result.code, result.signal]).toEqual([null, "SIGTERM"]);
    expect(result.stdout).toContain(format === "json" ? '"log.suppressed":1' : '"i":2');
  },
);

test("who listens for beforeExit is told of it once", async () => {
  const { code, stderr, stdout } = await run(`
    import { createLogger } from "@vg/logging";
    const logger = createLogger({ buffer: true });
    logger.info("line");
    process.on("beforeExit", () => process.stderr.write("told"));`);
  expect([code, stderr, stdout.split("\n").length]).toEqual([0, "told", 2]);
});

test.each([
  ["before any other", ""],
  ["after all others were written", "logger.info('line', { i: 1, text: 'x' }); await logger.flush();"],
])("a line that is logged while the process ends is written, %s", async (_, first) => {
  const result = await run(`
    import { createLogger } from "@vg/logging";
    const logger = createLogger({ buffer: true });
    ${first}
    process.on("exit", () => logger.info("line", { i: 2, text: "x" }));`);
  expect(numbers(result)).toEqual(first === "" ? [2] : [1, 2]);
});

test("nothing listens before a line is gathered, nor after close", async () => {
  const { stderr } = await run(`
    import { createLogger } from "@vg/logging";
    const events = ["exit", "beforeExit", "SIGTERM", "SIGINT", "SIGHUP", "uncaughtExceptionMonitor"];
    const count = () => events.map((event) => process.listenerCount(event)).join("");
    const before = count();
    createLogger().info("a");
    const logger = createLogger({ buffer: true });
    const made = count();
    logger.info("b");
    const gathered = count();
    await logger.close();
    process.stderr.write([before, made, gathered, count()].join(" "));
  `);
  const [before, made, gathered, closed] = stderr.split(" ");
  expect([made, closed]).toEqual([before, before]);
  expect(gathered?.split("").map(Number)).toEqual(before?.split("").map((count) => Number(count) + 1));
});

describe("a stream of pino's that gathers lines", () => {
  test.concurrent.each([
    ["SIGTERM arrives", waitFor("SIGTERM"), "SIGTERM"],
    ["process.exit is called", "process.exit(0);", null],
  ])("loses none when %s", async (_, end, signal) => {
    const source = `
      import { pino } from "pino";
      ${START("{ destination: pino.destination({ dest: 1, sync: false, minLength: 4096 }) }")}${end}`;
    const result = await run(source);
    expect(result.signal).toBe(signal);
    // On exit, the write that another thread has begun may come out after what is flushed.
    expect(numbers(result).toSorted((a, b) => a - b)).toEqual(upTo(LINES));
  });

  test.concurrent.each(["SIGTERM", "SIGINT"])(
    "and a transport in a worker lose none when %s arrives",
    async (signal) => {
      const source = `
      import { pino } from "pino";
      ${START(`{ destination: pino.transport({ target: "pino/file", options: { destination: 1 } }) }`)}
      ${waitFor(signal)}`;
      const result = await run(source);
      expect(result.signal).toBe(signal);
      expect(numbers(result)).toEqual(upTo(LINES));
    },
  );
});

test("a file that Node streams to loses no line on SIGTERM", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vg-logging-exit-"));
  const path = join(folder, "x.log");
  const source = `
    import { createWriteStream } from "node:fs";
    ${START(`{ destination: createWriteStream(${JSON.stringify(path)}) }`)}
    ${waitFor("SIGTERM")}`;
  const result = await run(source);
  const stdout = readFileSync(path, "utf8");
  rmSync(folder, { recursive: true });
  expect(result.signal).toBe("SIGTERM");
  expect(numbers({ ...result, stdout })).toEqual(upTo(LINES));
});
