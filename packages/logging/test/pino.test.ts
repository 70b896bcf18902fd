import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { createLogger } from "@vg/logging";
import { captureLogs } from "@vg/logging/testing";
import { describe, expect, test } from "vitest";
import { resolveConfig } from "../src/config.ts";
import { openDestination } from "../src/destination.ts";
import { LineWriter } from "../src/line/line-writer.ts";
import { createRedactor } from "../src/line/redact.ts";
import { createTimestamp } from "../src/line/time.ts";
import { createPinoCore } from "../src/pino-core.ts";
import { parseLines } from "./support/run.ts";
import { rawLines } from "./support/raw-lines.ts";
import { byLevel } from "./support/by-level.ts";

test("pino's own methods write our lines, which can't be forged", () => {
  const { logger, texts } = rawLines({ clock: { now: () => 0 } });
  logger.pino.child({ a: 1, level: 99 }).info({ level: 10, time: 1, msg: "x" }, "real");
  expect(texts).toEqual([
    '{"level":"info","time":"1970-01-01T00:00:00.000Z","message":"real","a":1,"field.level":99,"field.field.level":10,"field.time":1,"msg":"x"}\n',
  ]);
});

test("pino's messages, placeholders and errors come out right", () => {
  const { logger, lines } = captureLogs({ caller: "off" });
  logger.pino.info("user %s has %d", "bob", 3);
  logger.pino.info({ a: 1 }, "user %s", "eve");
  logger.pino.error(new Error("boom"));
  logger.pino.error({ err: new Error("boom") }, "failed");
  logger.pino.info({ msg: "own" });
  logger.pino.error({ a: 1 }, new Error("second") as never);
  expect(lines.map((line) => line.message)).toEqual(["user bob has 3", "user eve", "boom", "failed", "own", "second"]);
  expect(lines[5]).toMatchObject({ a: 1, error: { type: "Error", message: "second" } });
  expect(lines[2]).toMatchObject({ error: { type: "Error", message: "boom" } });
  expect(lines[3]).toMatchObject({ error: { type: "Error", message: "boom" } });
  expect(Object.keys(lines[3] as object)).not.toContain("err");
});

test("serialisers of a child are used, and one that throws spoils only its own field", () => {
  const { logger, lines } = captureLogs();
  const child = logger.pino.child(
    { req: { method: "GET", socket: {} } },
    {
      serializers: {
        req: (req: { method: string }) => ({ method: req.method }),
        res: () => {
          throw new Error("no res");
        },
      },
    },
  );
  child.info({ res: {}, ok: 1 }, "done");
  child.child({ more: 1 }).info({ req: { method: "PUT" } }, "again");
  expect(lines[0]).toMatchObject({ req: { method: "GET" }, res: "[unreadable: no res]", ok: 1 });
  expect(lines[1]).toMatchObject({ req: { method: "PUT" }, more: 1 });
});

test("prefixes, levels, bindings and setBindings of pino work", () => {
  const { logger, lines } = captureLogs();
  const child = logger.pino.child({ a: 1, password: "p" }, { msgPrefix: "[db] ", level: "warn" });
  child.info("unseen");
  child.warn("seen");
  child.setBindings({ b: 2 });
  expect(child.bindings()).toEqual({ a: 1, password: "[redacted]", b: 2 });
  child.warn({ c: 3 }, "again");
  expect(lines.map(({ message, a, b, c }) => ({ message, a, b, c }))).toEqual([
    { message: "[db] seen", a: 1, b: undefined, c: undefined },
    { message: "[db] again", a: 1, b: 2, c: 3 },
  ]);
});

test("msgPrefix of a logger's own child is before its messages, in every order of arguments", () => {
  const { logger, lines } = captureLogs();
  const child = logger.child({ a: 1 }, { msgPrefix: "[db] " });
  child.info("seen");
  child.withFields({ b: 2 }).child({}, { msgPrefix: "[pool] " }).info("deeper", { c: 3 });
  child.error("failed", new Error("why"));
  child.info({ c: 3 }, "%s again", "seen");
  child.error(new Error("the error's own"));
  logger.info("without");
  expect(lines.map((line) => line.message)).toEqual([
    "[db] seen",
    "[db] [pool] deeper",
    "[db] failed",
    "[db] seen again",
    "the error's own",
    "without",
  ]);
});

test("levels of one's own are shown by their name", () => {
  const { logger, lines } = captureLogs();
  const child = logger.pino.child({}, { customLevels: { audit: 35 } });
  child.audit({ a: 1 }, "m");
  expect(lines[0]).toMatchObject({ level: "audit", message: "m", a: 1 });
});

test("pino.multistream sorts our lines by level", () => {
  const { destination, all, bad } = byLevel();
  const logger = createLogger({ destination });
  logger.info("a");
  logger.error("b");
  logger.logHttpRequest("GET", "/", 200, 1);
  expect([all.length, bad.length]).toEqual([3, 1]);
});

test("a pino destination takes our lines, and is flushed", async () => {
  const texts: string[] = [];
  const buffered = {
    held: [] as string[],
    write(line: string) {
      this.held.push(line);
    },
    flush(done: () => void) {
      texts.push(...this.held.splice(0));
      done();
    },
    flushSync() {
      texts.push(...this.held.splice(0));
    },
  };
  const logger = createLogger({ destination: buffered });
  logger.info("a");
  expect(texts).toHaveLength(0);
  await logger.flush();
  expect(texts).toHaveLength(1);
  logger.fatal("b");
  expect(texts).toHaveLength(2);
});

test("pino.destination with a buffer keeps lines until it is flushed, and its failure is counted", async () => {
  const folder = mkdtempSync(join(tmpdir(), "vg-logging-pino-"));
  const path = join(folder, "buffered.log");
  const destination = pino.destination({ dest: path, sync: false, minLength: 4096 });
  await once(destination, "ready");
  const logger = createLogger({ destination });
  for (let i = 0; i < 5; i++) logger.info("m", { i });
  expect(readFileSync(path, "utf8")).toBe("");
  await logger.flush();
  expect(parseLines(readFileSync(path, "utf8"))).toHaveLength(5);
  destination.destroy();
  logger.info("too late");
  expect(logger.getStats().dropped_total).toBe(1);
  rmSync(folder, { recursive: true });
});

describe.each([
  ["with pino's symbols", pino.symbols],
  ["without them", {}],
])("%s", (_, symbols) => {
  const make = () => {
    const texts: string[] = [];
    const settings = resolveConfig({ destination: { write: (line) => texts.push(line) }, clock: { now: () => 0 } });
    const core = createPinoCore({
      settings,
      lines: new LineWriter(settings.limits, createRedactor(settings.redact)),
      timestamp: createTimestamp(settings.timeFormat, settings.clock),
      destination: openDestination(settings),
      hooks: { gate: undefined, template: undefined, ambient: undefined },
      present: undefined,
      symbols,
    });
    return { core, lines: () => parseLines(texts.join("")) };
  };

  test("the lines are the same", () => {
    const { core, lines } = make();
    const child = core.root.child({ a: 1, level: "x" });
    core.write(child, 30, undefined, "ours", undefined, undefined, { b: 2 });
    child.info({ c: 3, time: 1 }, "pino's %s", "own");
    child.info("plain %d", 5);
    child.error(new Error("boom"));
    child.debug("unseen");
    const time = "1970-01-01T00:00:00.000Z";
    expect(lines()).toMatchObject([
      { level: "info", time, message: "ours", a: 1, "field.level": "x", b: 2 },
      { level: "info", time, message: "pino's own", a: 1, "field.level": "x", c: 3, "field.time": 1 },
      { level: "info", time, message: "plain 5", a: 1 },
      {
        level: "error",
        message: "boom",
        error: { type: "Error", message: "boom" },
        caller: expect.stringMatching(/^test\/pino\.test\.ts:\d+$/) as unknown,
      },
    ]);
    expect(lines()).toHaveLength(4);
  });
});

describe("redact of a child", () => {
  const fields = () => ({
    foo: "SECRET",
    a: { b: "SECRET", c: 1 },
    list: [{ x: "SECRET" }],
    "o-d": "SECRET",
    level: "L",
  });

  test("hides names and paths, in fields and in what is carried", () => {
    const { logger, lines } = captureLogs();
    const redact = ["foo", "a.b", "list[*].x", '["o-d"]'];
    const child = logger.pino.child({ carried: 1, foo: "SECRET" }, { redact });
    child.info(fields(), "m %j", { foo: "SECRET" });
    child.child({ a: { b: "SECRET" } }).info("m");
    child.child({}, { redact: ["carried"] }).info(fields(), "m");
    expect(JSON.stringify([lines, child.bindings()])).not.toContain("SECRET");
    expect(lines[0]).toMatchObject({ level: "info", "field.level": "L", carried: 1, a: { b: "[redacted]", c: 1 } });
    expect(lines[2]).toMatchObject({ carried: "[redacted]" });
    logger.info("m", { foo: "seen by the parent" });
    expect(lines[3]).toMatchObject({ foo: "seen by the parent" });
  });

  test("takes wildcards, a censor and remove", () => {
    const { logger, lines } = captureLogs();
    const censor = (value: unknown, path: string[]): string => `${path.join("/")}=${String(value).length}`;
    logger.pino.child({}, { redact: { paths: ["*.b", "list[0].*"], censor } }).info(fields(), "m");
    logger.pino.child({}, { redact: { paths: ["foo", "a.*", "level"], remove: true } }).info(fields(), "m");
    expect(lines[0]).toMatchObject({ foo: "SECRET", a: { b: "a/b=6" }, list: [{ x: "list/0/x=6" }] });
    expect(lines[1]).toMatchObject({ level: "info", a: {} });
    expect(Object.keys(lines[1] as object)).not.toContain("foo");
    expect(Object.keys(lines[1] as object)).not.toContain("field.level");
  });

  test("hides in the error under either of its names, and survives a censor that throws", () => {
    const { logger, lines } = captureLogs();
    const error = Object.assign(new Error("boom"), { detail: "SECRET" });
    const censor = (): never => {
      throw new Error("SECRET");
    };
    logger.pino.child({}, { redact: { paths: ["err.detail"], censor } }).error({ err: error }, "m");
    expect(lines[0]).toMatchObject({ error: { message: "boom", detail: "[redacted]" } });
  });

  test("leaves the order of the names as it is, also of those that are numbers", () => {
    const texts: string[] = [];
    const logger = createLogger({ destination: { write: (line) => texts.push(line) }, base: { 3: "x", z: 1 } });
    const child = logger.pino.child({}, { redact: ["foo", "a.b", "gone"] });
    child.info({ 5: "a", foo: "SECRET", '"\\{': "}", a: { b: "SECRET", 7: 1 }, gone: 1 }, "m");
    expect(texts[0]).toMatch(
      /^\{"level":"info","time":"[^"]+","message":"m","3":"x","z":1,"5":"a","foo":"\[redacted\]","\\"\\\\\{":"\}","a":\{.*\},"gone":"\[redacted\]"\}\n$/,
    );
    logger.pino.child({}, { redact: { paths: ["foo"], remove: true } }).info({ 5: "a", foo: "SECRET", b: 1 }, "m");
    expect(texts[1]).toMatch(/^\{"level":"info","time":"[^"]+","message":"m","3":"x","z":1,"5":"a","b":1\}\n$/);
  });

  test("hides the secrets in what a censor gives", () => {
    const { logger, lines } = captureLogs();
    const censor = (): unknown => ({ now: "password=SECRET", token: "SECRET" });
    logger.pino.child({}, { redact: { paths: ["list"], censor } }).info({ list: "x".repeat(80) }, "m");
    expect(lines[0]).toMatchObject({ list: { now: "password=[redacted]", token: "[redacted]" } });
  });

  test("that is no path is refused with what it should be", () => {
    const { logger } = captureLogs();
    expect(() => logger.pino.child({}, { redact: ["a..b"] })).toThrow(/redact has "a\.\.b".*Paths look like/);
    expect(() => logger.pino.child({}, { redact: {} as never })).toThrow(/paths/);
  });
});
