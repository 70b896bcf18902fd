import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { createLogger, LoggerDestinationError } from "@vg/logging";
import { afterAll, describe, expect, test } from "vitest";
import { parseLines } from "./support/run.ts";

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
