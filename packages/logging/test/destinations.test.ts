import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { createLogger, LoggerDestinationError } from "@vg/logging";
import { afterAll, describe, expect, test } from "vitest";
import { parseLines, runProgram } from "./support/run.ts";

const folder = mkdtempSync(join(tmpdir(), "vg-logging-"));
afterAll(() => rmSync(folder, { recursive: true }));
let files = 0;
const newFile = (): string => join(folder, `${files++}.log`);

describe("a file", () => {
  test("is appended to, and each line is there when the call returns", () => {
    const path = newFile();
    createLogger({ destination: path }).info("a");
    createLogger({ destination: path }).info("é😀");
    expect(parseLines(readFileSync(path, "utf8")).map((line) => line["message"])).toEqual(["a", "é😀"]);
  });

  test("that can't be opened is refused with the path, the reason and the remedy", () => {
    const path = join(folder, "missing", "x.log");
    expect(() => createLogger({ destination: path })).toThrow(LoggerDestinationError);
    expect(() => createLogger({ destination: path })).toThrow(/x\.log.*ENOENT.*Create its folder first/);
    try {
      createLogger({ destination: path });
    } catch (error) {
      expect(error).toMatchObject({ code: "ERR_VG_LOGGING_DESTINATION", cause: { code: "ENOENT" } });
    }
  });

  test("is closed by close, after which lines are dropped and counted", async () => {
    const path = newFile();
    const logger = createLogger({ destination: path });
    const child = logger.child({ a: 1 });
    logger.info("a");
    await child.close();
    await logger.close();
    logger.info("b");
    child.pino.info("c");
    expect(parseLines(readFileSync(path, "utf8"))).toHaveLength(1);
    expect(logger.getStats()).toMatchObject({ lines_total: { info: 3 }, dropped_total: 2 });
  });

  test("is closed at the end of `await using`", async () => {
    const path = newFile();
    let outside;
    {
      await using logger = createLogger({ destination: path });
      logger.info("a");
      outside = logger;
    }
    outside.info("b");
    expect(parseLines(readFileSync(path, "utf8"))).toHaveLength(1);
  });
});

describe("a file descriptor", () => {
  test("is written to, and left open by close", async () => {
    const path = newFile();
    const fd = openSync(path, "a");
    const logger = createLogger({ destination: fd });
    await logger.close();
    logger.info("after");
    expect(parseLines(readFileSync(path, "utf8"))).toHaveLength(1);
    closeSync(fd);
  });

  test.skipIf(!existsSync("/dev/full"))("that is full drops lines until it is not", () => {
    const fd = openSync("/dev/full", "w");
    const logger = createLogger({ destination: fd });
    logger.info("a");
    logger.pino.info("b");
    expect(logger.getStats()).toMatchObject({ lines_total: { info: 2 }, dropped_total: 2, last_failure: "ENOSPC" });
    closeSync(fd);
  });
});

describe("a stream", () => {
  test("gets each line once, and flush waits until it has taken them", async () => {
    const taken: string[] = [];
    let release: () => void = () => undefined;
    const slow = new Writable({
      decodeStrings: false,
      write(chunk: string, _encoding, done) {
        taken.push(chunk);
        release = done;
      },
    });
    const logger = createLogger({ destination: slow });
    logger.info("a");
    let flushed = false;
    const flushing = logger.flush().then(() => (flushed = true));
    await Promise.resolve();
    expect(flushed).toBe(false);
    release();
    await flushing;
    expect(taken).toHaveLength(1);
    await logger.flush();
  });

  test("that fails is no unhandled error; what it did not take is counted", async () => {
    const broken = new Writable({
      write(_chunk, _encoding, done) {
        done(Object.assign(new Error("broken"), { code: "EIO" }));
      },
    });
    const logger = createLogger({ destination: broken });
    logger.info("a");
    await logger.flush();
    logger.info("b");
    await logger.close();
    expect(logger.getStats()).toMatchObject({ lines_total: { info: 2 }, dropped_total: 2 });
  });

  test("whose write throws costs the line only", () => {
    const logger = createLogger({
      destination: {
        write() {
          throw Object.assign(new Error("no"), { code: "ENO" });
        },
      },
    });
    logger.info("a");
    logger.pino.error("b");
    logger.fatal("c");
    expect(logger.getStats()).toMatchObject({ dropped_total: 3, last_failure: "ENO" });
  });

  test("that does not keep up is not filled without bound", () => {
    const stuck = new Writable({ write: () => undefined });
    const logger = createLogger({ destination: stuck, maxStringLength: 2_000_000, maxLineBytes: 4_000_000 });
    for (let i = 0; i < 40; i++) logger.info("x".repeat(1_000_000));
    expect(stuck.writableLength).toBeLessThan(20_000_000);
    expect(logger.getStats().dropped_total).toBeGreaterThan(20);
  });
});

test("statistics are a frozen snapshot", () => {
  const logger = createLogger({ destination: { write: () => undefined } });
  const before = logger.getStats();
  logger.child({}).warn("a");
  expect(before.lines_total.warn).toBe(0);
  expect(logger.getStats().lines_total).toEqual({ trace: 0, debug: 0, info: 0, warn: 1, error: 0, fatal: 0 });
  expect(Object.isFrozen(before) && Object.isFrozen(before.lines_total)).toBe(true);
});

describe("several loggers", () => {
  test.skipIf(process.platform === "win32")("for one pipe whose reader is behind leave no line broken", async () => {
    const path = newFile();
    const { code, stderr } = await runProgram(
      `
      import { execFileSync } from "node:child_process";
      import { constants, openSync, readSync, writeFileSync } from "node:fs";
      import { createLogger, initGlobalLogger } from "@vg/logging";
      execFileSync("mkfifo", [process.env.FIFO]);
      const fd = openSync(process.env.FIFO, constants.O_RDWR | constants.O_NONBLOCK);
      const a = createLogger({ destination: fd, maxStringLength: 1e6, maxLineBytes: 1e6 });
      const b = initGlobalLogger({}, { destination: fd });
      let text = "";
      const drain = () => {
        const buffer = Buffer.alloc(1e6);
        try {
          for (;;) text += buffer.toString("utf8", 0, readSync(fd, buffer));
        } catch {}
      };
      a.info("x".repeat(100_000)); // more than a pipe holds: its end is kept
      drain();
      b.info("b");
      drain();
      await a.flush();
      drain();
      process.stderr.write(JSON.stringify({ text, dropped: [a, b].map((logger) => logger.getStats().dropped_total) }));
    `,
      { env: { ...process.env, FIFO: path } },
    );
    expect(code).toBe(0);
    const { text, dropped } = JSON.parse(stderr) as { text: string; dropped: number[] };
    const whole = parseLines(text);
    expect(whole.map((line) => String(line["message"]).length)).toEqual([100_000, 1]);
    expect(dropped).toEqual([0, 0]);
  });

  test("for one stream add one listener to it, and each counts its own lines", async () => {
    const broken = new Writable({
      write(_chunk, _encoding, done) {
        done(Object.assign(new Error("broken"), { code: "EIO" }));
      },
    });
    const loggers = Array.from({ length: 12 }, () => createLogger({ destination: broken }));
    expect(broken.listenerCount("error")).toBe(1);
    loggers[0]?.info("a");
    await loggers[0]?.flush();
    expect(loggers.map((logger) => logger.getStats().dropped_total)).toEqual([
      1,
      ...Array.from({ length: 11 }, () => 0),
    ]);
  });

  test("for a number that was closed and means another file now have nothing of the first", () => {
    const before = openSync(newFile(), "a");
    const old = createLogger({ destination: before });
    closeSync(before);
    old.info("nowhere");
    expect(old.getStats()).toMatchObject({ dropped_total: 1, last_failure: "EBADF" });
    const path = newFile();
    const fd = openSync(path, "a");
    expect(fd).toBe(before);
    const logger = createLogger({ destination: fd });
    logger.info("here");
    expect(parseLines(readFileSync(path, "utf8"))).toHaveLength(1);
    expect(logger.getStats()).toMatchObject({ dropped_total: 0, last_failure: null });
    closeSync(fd);
  });
});

test("a write that rejects later is no unhandled rejection; it is counted, and flush waits for it", async () => {
  const logger = createLogger({
    destination: {
      write: async (line: string) => {
        await Promise.resolve();
        if (line.includes("bad")) throw Object.assign(new Error("no"), { code: "ELATE" });
      },
    },
  });
  logger.info("good");
  logger.info("bad");
  await logger.flush();
  expect(logger.getStats()).toMatchObject({ lines_total: { info: 2 }, dropped_total: 1, last_failure: "ELATE" });
});
