import { existsSync, openSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { ended, parseLines, runProgram, spawnProgram } from "./support/run.ts";

const START = `
import { createLogger } from "@vg/logging";
const logger = createLogger({ format: FORMAT, color: "never" });
for (let i = 1; i <= 200; i++) logger.info("line", { i });
`;

describe.each(["json", "console"])("in %s, no line is lost", (format) => {
  test.each<[string, string, number | null, NodeJS.Signals | null]>([
    ["main returns", "", 0, null],
    ["process.exit is called", "process.exit(3);", 3, null],
    ["something is thrown", "throw new Error('unhandled');", 1, null],
    ["a promise is rejected", "await Promise.reject(new Error('unhandled'));", 1, null],
    [
      "SIGTERM arrives",
      "process.kill(process.pid, 'SIGTERM'); await new Promise((done) => setTimeout(done, 60_000));",
      null,
      "SIGTERM",
    ],
    [
      "SIGKILL arrives",
      "process.kill(process.pid, 'SIGKILL'); await new Promise((done) => setTimeout(done, 60_000));",
      null,
      "SIGKILL",
    ],
    ["the process aborts", "process.abort();", null, "SIGABRT"],
    ["fatal is followed by exit", "logger.fatal('line', new Error('x')); process.exit(1);", 1, null],
  ])("when %s", async (_, end, code, signal) => {
    const result = await runProgram(START.replace("FORMAT", JSON.stringify(format)) + end);
    expect([result.code, result.signal]).toEqual([code, signal]);
    const written = result.stdout.split("\n").filter((line) => line.includes("i=200") || line.includes('"i":200'));
    expect(written).toHaveLength(1);
    expect(result.stdout.match(/INFO {2}line|"message":"line","i"/g)).toHaveLength(200);
  });
});

test("a closed pipe does not kill the service, and what it lost is counted", async () => {
  const child = spawnProgram(`
    import { createLogger } from "@vg/logging";
    const logger = createLogger();
    process.stdin.once("data", () => {
      for (let i = 0; i < 100; i++) logger.info("into the void", { i });
      logger.error("and an error", new Error("x"));
      process.stderr.write(JSON.stringify(logger.getStats()));
      process.exit(7);
    });
    logger.info("ready");
  `);
  child.stdout?.once("data", () => {
    child.stdout?.destroy();
    child.stdout?.once("close", () => child.stdin?.write("go"));
  });
  const { code, stderr } = await ended(child);
  expect(code).toBe(7);
  expect(JSON.parse(stderr)).toEqual({
    lines_total: { trace: 0, debug: 0, info: 101, warn: 0, error: 1, fatal: 0 },
    dropped_total: 101,
    dropped_by_level: { trace: 0, debug: 0, info: 100, warn: 0, error: 1, fatal: 0 },
    buffered_bytes: 0,
    suppressed_total: 0,
    sampled_out_total: 0,
    truncated_total: 0,
    last_failure: "EPIPE",
  });
});

test.skipIf(!existsSync("/dev/full"))(
  "a full disk does not kill the service, and what it lost is counted",
  async () => {
    const child = spawnProgram(
      `
    import { createLogger } from "@vg/logging";
    const logger = createLogger();
    for (let i = 0; i < 10; i++) logger.info("m", { i });
    logger.pino.fatal("f");
    process.stderr.write(JSON.stringify(logger.getStats()));
  `,
      { stdio: ["ignore", openSync("/dev/full", "w"), "pipe"] },
    );
    const { code, stderr } = await ended(child);
    expect(code).toBe(0);
    expect(JSON.parse(stderr)).toMatchObject({ dropped_total: 11, last_failure: "ENOSPC" });
  },
);

test("a reader that stops reading loses whole lines only, and they are counted", async () => {
  const child = spawnProgram(`
    import { createLogger } from "@vg/logging";
    process.stdout; // makes the pipe non-blocking, as any use of console.log does
    const logger = createLogger();
    const text = "x".repeat(1000);
    for (let i = 0; i < 2000; i++) logger.info("m", { i, text });
    process.stderr.write(JSON.stringify(logger.getStats()));
  `);
  child.stdout?.pause();
  // The statistics arrive when all has been logged; only then does anybody read.
  let stats = "";
  child.stderr?.setEncoding("utf8").once("data", (text: string) => {
    stats = text;
    child.stdout?.resume();
  });
  let stdout = "";
  child.stdout?.setEncoding("utf8").on("data", (text: string) => (stdout += text));
  child.stdout?.pause();
  const [code] = await new Promise<[number | null]>((resolve) => child.once("close", (value) => resolve([value])));
  expect(code).toBe(0);
  const { dropped_total, last_failure } = JSON.parse(stats) as { dropped_total: number; last_failure: string };
  expect(last_failure).toBe("EAGAIN");
  expect(dropped_total).toBeGreaterThan(0);
  const lines = parseLines(stdout);
  expect(lines.filter((line) => line["message"] === "m")).toHaveLength(2000 - dropped_total);
  expect(lines.at(-1)).toMatchObject({ "log.dropped": { info: dropped_total }, "log.dropped_reason": "EAGAIN" });
});

test("a logger keeps no process alive", async () => {
  const { code, stdout } = await runProgram(`
    import { createLogger, initGlobalLogger } from "@vg/logging";
    initGlobalLogger().info("a");
    createLogger({ destination: process.stdout }).info("b");
  `);
  expect(code).toBe(0);
  expect(parseLines(stdout)).toHaveLength(2);
});
