import { createLogger, LoggerConfigError, type LogLevel, type LoggerConfig } from "@vg/logging";
import { captureLogs } from "@vg/logging/testing";
import type { Logger as PinoLogger } from "pino";
import { describe, expect, test } from "vitest";
import { resolveConfig } from "../src/config.ts";
import { openDestination } from "../src/destination.ts";
import { parseLevels } from "../src/levels/component-levels.ts";
import { LineWriter } from "../src/line/line-writer.ts";
import { createRedactor } from "../src/line/redact.ts";
import { createPinoCore } from "../src/pino-core.ts";
import { parseLines, runProgram } from "./support/run.ts";

describe("a component", () => {
  test("is on its lines, and has the level of the nearest name above it that has one", () => {
    const { logger, lines } = captureLogs({ level: "info", levels: { db: "debug", "db.pool.wait": "trace" } });
    logger.debug("unseen");
    logger.component("db").debug("a");
    logger.component("db.pool").debug("b");
    logger.component("db.pool").trace("unseen");
    logger.component("db.pool.wait").trace("c");
    logger.component("dbx").debug("unseen");
    expect(lines.map(({ message, component }) => [message, component])).toEqual([
      ["a", "db"],
      ["b", "db.pool"],
      ["c", "db.pool.wait"],
    ]);
  });

  test("of a component's logger is below it, and its children have its level", () => {
    const { logger, lines } = captureLogs({ level: "info", levels: { "http.retry": "debug" } });
    const retry = logger.withFields({ a: 1 }).component("http").withFields({ b: 2 }).component("retry");
    retry.withFields({ c: 3 }).debug("m");
    expect(lines).toMatchObject([{ message: "m", component: "http.retry", a: 1, b: 2, c: 3 }]);
    expect(logger.component("http").level).toBe("info");
  });

  test("may be less talkative than the rest, and its case doesn't matter to its level", () => {
    const { logger } = captureLogs({ level: "debug", levels: { Noisy: "error" } });
    expect(logger.component("noisy").level).toBe("error");
    expect(logger.component("NOISY").pino.level).toBe("error");
  });

  test("without a level follows the first logger, whichever it was made from", () => {
    const { logger } = captureLogs({ level: "info" });
    const db = logger.child({}, { level: "warn" }).component("db");
    expect(db.level).toBe("info");
    logger.level = "debug";
    expect(db.level).toBe("debug");
    expect(db.isLevelEnabled("debug")).toBe(true);
  });

  test("has of the logger that it was made from all but the level", () => {
    const texts: string[] = [];
    const settings = resolveConfig({ destination: { write: (line) => texts.push(line) } });
    const core = createPinoCore({
      settings,
      lines: new LineWriter(settings.limits, createRedactor(settings.redact)),
      timestamp: () => ',"time":0',
      destination: openDestination(settings),
      hooks: { gate: undefined, template: undefined, ambient: undefined },
      present: undefined,
    });
    const options = { msgPrefix: "[p] ", redact: ["c"], serializers: { d: () => "D" }, customLevels: { audit: 35 } };
    const parent = core.root.child({ a: 1, e: 5 }, { ...options, level: "error" });
    const db = core.childFor(parent as unknown as PinoLogger, "db");
    db.info({ c: 3, d: 4, e: 6 }, "m");
    (db as unknown as Record<string, (message: string) => void>)["audit"]?.("a level of its own");
    expect(parseLines(texts.join(""))).toEqual([
      { level: "info", time: 0, message: "[p] m", a: 1, component: "db", c: "[redacted]", d: "D", e: 6 },
      { level: "audit", time: 0, message: "[p] a level of its own", a: 1, e: 5, component: "db" },
    ]);
    core.levels.setLevel(core.root, "fatal", { component: "db" });
    expect([db.level, db.isLevelEnabled("error")]).toEqual(["fatal", false]);
  });

  test("has its level in what its pino instance writes, too", () => {
    const { logger, lines } = captureLogs({ level: "info", levels: { db: "debug" } });
    const { pino } = logger.component("db");
    pino.debug("a");
    pino.child({ b: 1 }).debug("b");
    logger.setLevel("error", { component: "db" });
    pino.warn("unseen");
    expect(lines.map((line) => line.message)).toEqual(["a", "b"]);
    expect(pino.level).toBe("error");
  });

  test.each([
    ["", /component must be the dotted name of a component.*got ""/],
    ["db.", /got "db\."/],
    ["a b", /got "a b"/],
    ["*", /without a \*/],
    ["x".repeat(129), /got a string of 129 characters/],
    [undefined, /got undefined/],
  ])("can't be called %j", (name, message) => {
    const { logger } = captureLogs();
    expect(() => logger.component(name as string)).toThrow(LoggerConfigError);
    expect(() => logger.component(name as string)).toThrow(message);
  });
});

test.each<[unknown, RegExp]>([
  [{ levels: "db=debug" }, /levels must be an object from components to levels/],
  [{ levels: { db: "loud" } }, /levels\["db"\] must be one of "trace", .*got "loud"/],
  [
    { levels: { "db.*": "debug" } },
    /a name in levels must be .*got "db\.\*"\. It covers what is below it without a \*/,
  ],
  [{ levelSignal: "SIGTERM" }, /levelSignal must be one of "SIGUSR2", "SIGHUP"/],
])("%j is refused", (config, message) => {
  expect(() => createLogger(config as LoggerConfig)).toThrow(message);
});

describe("LOG_LEVEL", () => {
  const parse = (text: string) => {
    const { level, levels, unknown, replaced } = parseLevels(text);
    return [level, levels, unknown, replaced] as const;
  };

  test("has a level and levels by component, in any order, case and spacing", () => {
    expect(parse("info,db=debug,http.retry=trace")).toEqual(["info", { db: "debug", "http.retry": "trace" }, [], []]);
    expect(parse(" db = DEBUG ,, Warn,")).toEqual(["warn", { db: "debug" }, [], []]);
    expect(parse("db=debug")).toEqual([undefined, { db: "debug" }, [], []]);
    expect(parse("")).toEqual([undefined, {}, [], []]);
  });

  test("keeps its good parts beside bad ones", () => {
    const bad = ["db=wrong", "loud", "=debug", "a b=info", "x=", "a=b=info", "db.*=info"];
    expect(parse(["warn", ...bad, "http=debug"].join(","))).toEqual(["warn", { http: "debug" }, bad, []]);
  });

  test("lets the later of two for the same thing hold", () => {
    expect(parse("info,debug,db=info,DB=trace")).toEqual(["debug", { DB: "trace" }, [], ["info", "db=info"]]);
  });

  test("is not fooled by names that objects have anyway", () => {
    const { logger } = captureLogs({
      level: "info",
      levels: Object.fromEntries([
        ["constructor", "debug"],
        ["__proto__", "trace"],
      ] satisfies [string, LogLevel][]),
    });
    expect(logger.component("constructor").level).toBe("debug");
    expect(logger.component("toString").level).toBe("info");
    expect(logger.component("__proto__").level).toBe("trace");
  });
});

test("loggers of components leave nothing behind", async () => {
  const { stdout, stderr, code } = await runProgram(`
    import { setTimeout as pause } from "node:timers/promises";
    import { setFlagsFromString } from "node:v8";
    import { runInNewContext } from "node:vm";
    import { createLogger } from "@vg/logging";
    setFlagsFromString("--expose-gc");
    const gc = runInNewContext("gc");
    const logger = createLogger({ levels: { db: "debug" } });
    const made = [];
    const make = () => {
      for (let i = 0; i < 500; i++) {
        const child = logger.component(i % 2 === 0 ? "db" : "other");
        if (i % 3 === 0) child.setLevel("trace").undo();
        made.push(new WeakRef(child.pino));
      }
    };
    make();
    const kept = logger.component("db.kept");
    for (let i = 0; i < 20 && made.some((ref) => ref.deref() !== undefined); i++) {
      gc();
      await pause(1);
    }
    console.log(JSON.stringify({ alive: made.filter((ref) => ref.deref() !== undefined).length }));
    logger.setLevel("trace", { component: "db" });
    kept.trace("still told");
  `);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  const [{ alive } = {}, told] = parseLines(stdout);
  // The last one may still be in a register.
  expect(alive).toBeLessThan(10);
  expect(told).toMatchObject({ message: "still told" });
});

test("a level is one of seven", () => {
  const { logger } = captureLogs();
  expect(() => logger.setLevel("loud" as LogLevel)).toThrow('level must be one of "trace"');
});
