import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { execFileSync } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger, type LogDroppedMessage, LoggerConfigError } from "@vg/logging";
import { afterAll, describe, expect, test } from "vitest";
import { parseLines, runProgram } from "./support/run.ts";

const folder = mkdtempSync(join(tmpdir(), "vg-logging-drops-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const newFile = (): string => join(folder, `${files++}.log`);
const messages = (path: string): unknown[] => parseLines(readFileSync(path, "utf8")).map((line) => line["message"]);

/** Takes lines, unless it is told to fail. */
function flaky() {
  const lines: string[] = [];
  const state = { code: undefined as string | undefined };
  const write = (line: string): void => {
    if (state.code !== undefined) throw Object.assign(new Error("no"), { code: state.code });
    lines.push(line);
  };
  return { state, lines: () => parseLines(lines.join("")), destination: { write } };
}

describe("lines that were dropped", () => {
  test("are counted by level, and reported in one line when the destination takes lines again", () => {
    const { state, lines, destination } = flaky();
    let now = Date.UTC(2026, 10, 25);
    const logger = createLogger({ destination, level: "debug", clock: { now: () => now }, caller: "off" });
    state.code = "ENOSPC";
    logger.debug("a");
    now += 1000;
    logger.withFields({ a: 1 }).info("b");
    logger.pino.info("c");
    logger.error("d");
    state.code = undefined;
    now += 1000;
    logger.info("again");
    logger.info("and again");
    expect(logger.getStats()).toMatchObject({
      dropped_total: 4,
      dropped_by_level: { trace: 0, debug: 1, info: 2, warn: 0, error: 1, fatal: 0 },
      lines_total: { debug: 1, info: 4, warn: 1, error: 1 },
    });
    expect(lines().map((line) => line["message"])).toEqual(["again", "log lines were dropped", "and again"]);
    expect(lines()[1]).toEqual({
      level: "warn",
      time: "2026-11-25T00:00:02.000Z",
      message: "log lines were dropped",
      "log.dropped": { debug: 1, info: 2, error: 1 },
      "log.dropped_since": "2026-11-25T00:00:00.000Z",
      "log.dropped_reason": "ENOSPC",
    });
  });

  test("are reported once a second at most, and at close", async () => {
    const { state, lines, destination } = flaky();
    const logger = createLogger({ destination, clock: { now: () => 0 } });
    for (let i = 0; i < 5; i++) {
      state.code = "EIO";
      logger.info("lost");
      state.code = undefined;
      logger.info("taken");
    }
    const reports = () => lines().filter((line) => line["message"] === "log lines were dropped");
    expect(reports().map((line) => line["log.dropped"])).toEqual([{ info: 1 }]);
    await logger.close();
    expect(reports().map((line) => line["log.dropped"])).toEqual([{ info: 1 }, { info: 4 }]);
  });

  test("are not forgotten where their report is lost, too", async () => {
    const told: LogDroppedMessage[] = [];
    const listen = (message: unknown): void => void told.push(message as LogDroppedMessage);
    subscribe("vg:logging:dropped", listen);
    const lines: string[] = [];
    let room = 0;
    const write = (line: string): void => {
      if (room-- <= 0) throw Object.assign(new Error("full"), { code: "ENOSPC" });
      lines.push(line);
    };
    let now = 0;
    const logger = createLogger({ destination: { write }, clock: { now: () => now } });
    logger.error("lost");
    logger.info("lost");
    room = 1;
    logger.info("taken, but not the report");
    now = 5000;
    await logger.close();
    room = 2;
    now = 10_000;
    logger.info("taken");
    unsubscribe("vg:logging:dropped", listen);
    expect(parseLines(lines.join("")).at(-1)).toMatchObject({
      "log.dropped": { info: 1, warn: 2, error: 1 },
      "log.dropped_since": "1970-01-01T00:00:00.000Z",
    });
    expect(told.map(({ state, dropped }) => [state, dropped])).toEqual([
      ["dropping", { error: 1 }],
      ["reported", { info: 1, warn: 2, error: 1 }],
    ]);
  });

  test("are told to vg:logging:dropped, when it begins and when it is reported", () => {
    const told: LogDroppedMessage[] = [];
    const { state, destination } = flaky();
    const logger = createLogger({ destination, clock: { now: () => 5 } });
    // Whoever listens may log, and to the same logger.
    const listen = (message: unknown): void => {
      told.push(message as LogDroppedMessage);
      logger.info("told");
    };
    subscribe("vg:logging:dropped", listen);
    state.code = "EPIPE";
    logger.warn("a");
    logger.info("b");
    state.code = undefined;
    logger.info("c");
    unsubscribe("vg:logging:dropped", listen);
    expect(told).toEqual([
      { state: "dropping", dropped: { warn: 1 }, since: 5, reason: "EPIPE" },
      { state: "reported", dropped: { info: 2, warn: 1 }, since: 5, reason: "EPIPE" },
    ]);
  });
});

test("a disk that was full for a while costs a buffered logger nothing, and the limit's worth is kept", async () => {
  const { code, stderr, stdout } = await runProgram(`
    import { execFileSync } from "node:child_process";
    import { mkdtempSync, rmSync, writeFileSync, readFileSync } from "node:fs";
    import { createLogger } from "@vg/logging";
    const folder = mkdtempSync("/tmp/vg-logging-tmpfs-");
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], { stdio: "ignore" });
    } catch {
      rmSync(folder, { recursive: true });
      process.stdout.write("no tmpfs");
      process.exit();
    }
    try {
      writeFileSync(folder + "/fill", "x".repeat(60_000));
      const logger = createLogger({ destination: folder + "/log", buffer: { limitBytes: 8192 } });
      const text = "x".repeat(80);
      for (let i = 0; i < 50; i++) logger.info("kept", { i, text });
      for (let i = 0; i < 100; i++) logger.info("more", { i, text });
      logger.error("important");
      const full = logger.getStats();
      rmSync(folder + "/fill");
      await logger.close();
      const lines = readFileSync(folder + "/log", "utf8").trim().split("\\n").map((line) => JSON.parse(line));
      process.stderr.write(JSON.stringify({ full, stats: logger.getStats(), lines }));
    } finally {
      execFileSync("umount", ["-l", folder]);
      rmSync(folder, { recursive: true });
    }
  `);
  expect(code).toBe(0);
  if (stdout === "no tmpfs") return;
  const { full, stats, lines } = JSON.parse(stderr) as {
    full: { last_failure: string };
    stats: { dropped_total: number; dropped_by_level: Record<string, number> };
    lines: Record<string, unknown>[];
  };
  expect(full.last_failure).toBe("ENOSPC");
  expect(stats.dropped_total).toBeGreaterThan(20);
  expect(stats.dropped_by_level).toMatchObject({ info: stats.dropped_total, error: 0 });
  expect(lines).toHaveLength(152 - stats.dropped_total);
  expect(lines.filter((line) => line["message"] === "important")).toHaveLength(1);
  expect(lines.at(-1)).toMatchObject({ "log.dropped": { info: stats.dropped_total }, "log.dropped_reason": "ENOSPC" });
});

describe("a buffered logger", () => {
  test("writes when enough has come, after the interval, at fatal, flush and close", async () => {
    const path = newFile();
    const logger = createLogger({ destination: path, buffer: { sizeBytes: 256, flushIntervalMs: 20 } });
    logger.info("a");
    expect(messages(path)).toEqual([]);
    expect(logger.getStats().buffered_bytes).toBeGreaterThan(50);
    logger.info("b".repeat(300));
    expect(messages(path)).toHaveLength(2);
    logger.info("c");
    await expect.poll(() => messages(path)).toHaveLength(3);
    logger.fatal("d");
    expect(messages(path)).toHaveLength(4);
    logger.info("e");
    expect(await logger.flush()).toEqual({ lines_left: 0, bytes_left: 0 });
    expect(messages(path)).toHaveLength(5);
    logger.info("f");
    const closing = logger.close();
    logger.info("too late");
    expect(await closing).toEqual({ lines_left: 0, bytes_left: 0 });
    expect(await logger.close()).toEqual({ lines_left: 0, bytes_left: 0 });
    expect(messages(path)).toHaveLength(6);
    expect(logger.getStats()).toMatchObject({ dropped_total: 1, buffered_bytes: 0 });
  });

  test.skipIf(process.platform === "win32")(
    "gives up at the deadline of flush and close, and says what is left",
    async () => {
      const { code, stderr } = await runProgram(
        `
      import { execFileSync } from "node:child_process";
      import { constants, openSync } from "node:fs";
      import { createLogger } from "@vg/logging";
      const fifo = process.env.FIFO;
      execFileSync("mkfifo", [fifo]);
      const fd = openSync(fifo, constants.O_RDWR | constants.O_NONBLOCK);
      const logger = createLogger({ destination: fd, buffer: true });
      const text = "x".repeat(1000);
      for (let i = 0; i < 100; i++) logger.info("m", { i, text });
      const flushed = await logger.flush({ deadlineMs: 20 });
      const closed = await logger.close({ deadlineMs: 20 });
      process.stderr.write(JSON.stringify({ flushed, closed, stats: logger.getStats() }));
      process.exit();
    `,
        { env: { ...process.env, FIFO: newFile() } },
      );
      expect(code).toBe(0);
      const { flushed, closed, stats } = JSON.parse(stderr) as Record<string, Record<string, number>>;
      expect(flushed?.["lines_left"]).toBeGreaterThan(20);
      expect(closed).toEqual(flushed);
      expect(stats).toMatchObject({
        dropped_total: 0,
        buffered_bytes: flushed?.["bytes_left"],
        last_failure: "EAGAIN",
      });
    },
  );

  test("has nothing to do with a file that took the number of its own", async () => {
    const [first, second] = [newFile(), newFile()];
    const fd = openSync(first, "a");
    const logger = createLogger({ destination: fd, buffer: true });
    logger.info("a");
    closeSync(fd);
    const other = openSync(second, "a");
    expect(other).toBe(fd);
    await logger.flush();
    closeSync(other);
    expect([messages(first), messages(second)]).toEqual([[], []]);
    expect(logger.getStats()).toMatchObject({ dropped_total: 1, last_failure: "EBADF", buffered_bytes: 0 });
  });

  test("of several processes on one file leave whole lines", async () => {
    const path = newFile();
    const program = `
      import { createLogger } from "@vg/logging";
      const logger = createLogger({ destination: process.env.LOG, buffer: true });
      for (let i = 0; i < 500; i++) logger.info("m", { i, text: "x".repeat(i) });`;
    const env = { ...process.env, LOG: path };
    await Promise.all([runProgram(program, { env }), runProgram(program, { env })]);
    expect(messages(path)).toHaveLength(1000);
  });

  test.each([
    [{ buffer: 1 }, /buffer must be true, false or an object, got 1/],
    [{ buffer: { sizeBytes: 1 } }, /sizeBytes must be a whole number .*256/],
    [{ buffer: { limitBytes: 4096, sizeBytes: 8192 } }, /limitBytes .*8192/],
    [{ buffer: { minLength: 1 } }, /unknown option "minLength"/],
    [{ buffer: true, destination: process.stdout }, /buffer needs a path or a file descriptor/],
  ])("is refused with options that make no sense: %j", (config, message) => {
    expect(() => createLogger(config as never)).toThrow(LoggerConfigError);
    expect(() => createLogger(config as never)).toThrow(message);
  });

  test("rejects a deadline that makes no sense", async () => {
    const logger = createLogger();
    await expect(logger.flush({ deadlineMs: -1 })).rejects.toThrow(/flush: deadlineMs must be .*got -1/);
    await expect(logger.close({ deadlineMs: "1" as never })).rejects.toBeInstanceOf(LoggerConfigError);
    await expect(logger.close({ deadline: 1 } as never)).rejects.toThrow('close: unknown option "deadline"');
  });
});

describe.each([false, true])("with buffer %s, reopen", (buffer) => {
  test("goes on in a new file under the old name, and no line is lost or torn", async () => {
    const path = newFile();
    const logger = createLogger({ destination: path, buffer });
    logger.info("before");
    renameSync(path, `${path}.1`);
    logger.info("moved");
    expect(logger.reopen()).toBe(true);
    logger.info("after");
    await logger.close();
    expect(logger.reopen()).toBe(false);
    expect([messages(`${path}.1`), messages(path)]).toEqual([["before", "moved"], ["after"]]);
  });

  test("that can't open leaves the old file, and says why", async () => {
    const path = join(folder, `gone-${String(buffer)}`, "x.log");
    execFileSync("mkdir", [join(folder, `gone-${String(buffer)}`)]);
    const logger = createLogger({ destination: path, buffer });
    renameSync(join(folder, `gone-${String(buffer)}`), join(folder, `moved-${String(buffer)}`));
    expect(logger.reopen()).toBe(false);
    expect(logger.getStats().last_failure).toBe("ENOENT");
    logger.info("still here");
    await logger.close();
    expect(messages(join(folder, `moved-${String(buffer)}`, "x.log"))).toEqual(["still here"]);
  });
});

test("reopen of what is no file is refused, and a stream that can reopen does", () => {
  expect(createLogger().reopen()).toBe(false);
  let reopened = 0;
  const destination = { write: () => undefined, reopen: () => void reopened++ };
  expect(createLogger({ destination }).reopen()).toBe(true);
  expect(reopened).toBe(1);
});

test.each([
  [
    "throws",
    () => {
      throw new Error("clock");
    },
  ],
  ["tells no date", () => 1e20],
])("a clock that %s makes no call throw when a line is dropped", (_, now) => {
  const lines: string[] = [];
  let isBroken = true;
  const write = (line: string): void => {
    if (isBroken) throw new Error("full");
    lines.push(line);
  };
  const logger = createLogger({ destination: { write }, clock: { now } });
  logger.info("lost");
  isBroken = false;
  logger.info("kept");
  expect(logger.getStats().dropped_total).toBe(1);
  expect(lines.map((line) => (JSON.parse(line) as { message: string }).message)).toEqual([
    "kept",
    "log lines were dropped",
  ]);
});
