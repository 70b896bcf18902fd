import fc from "fast-check";
import { LoggerConfigError, type Logger, type LogLevel } from "@vg/logging";
import { captureLogs } from "@vg/logging/testing";
import { describe, expect, test } from "vitest";

const LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"] as const;

describe("children", () => {
  test("withContext adds the ids that are there", () => {
    const { logger, lines } = captureLogs();
    logger.withContext({ trace_id: "t1", span_id: "s1" }).info("a");
    logger.withContext({ trace_id: "t2" }).info("b");
    logger.withContext({ trace_id: undefined, span_id: "" }).info("c");
    expect(lines[0]).toMatchObject({ trace_id: "t1", span_id: "s1" });
    expect(lines[1]).toMatchObject({ trace_id: "t2" });
    expect(Object.keys(lines[1] as object)).not.toContain("span_id");
    expect(Object.keys(lines[2] as object)).toEqual(["level", "time", "message"]);
  });

  test("their fields are what they were when the child was made", () => {
    const { logger, lines } = captureLogs();
    const user = { name: "before" };
    const child = logger.child({ user });
    user.name = "after";
    child.info("m");
    expect(lines[0]).toMatchObject({ user: { name: "before" } });
  });

  test("hide secrets, keep reserved names clear and survive hostile fields", () => {
    const { logger, lines } = captureLogs();
    const hostile = {
      level: 1,
      password: "p",
      get bad(): string {
        throw new Error("no");
      },
    };
    logger.child(hostile).info("m");
    expect(lines[0]).toMatchObject({
      level: "info",
      "field.level": 1,
      password: "[redacted]",
      bad: "[unreadable: no]",
    });
  });
});

describe("the level", () => {
  test("of a child follows its parent until it is set", () => {
    const { logger, lines } = captureLogs({ level: "info" });
    const child = logger.child({ child: 1 });
    const grandchild = child.child({ grand: 1 });
    logger.level = "debug";
    grandchild.debug("seen");
    child.level = "error";
    grandchild.debug("unseen");
    logger.debug("seen too");
    expect(lines.map((line) => line.message)).toEqual(["seen", "seen too"]);
    expect([logger.level, child.level, grandchild.level]).toEqual(["debug", "error", "error"]);
  });

  test("is the same for the logger and its pino instance", () => {
    const { logger, lines } = captureLogs({ level: "info" });
    logger.pino.level = "trace";
    logger.trace("a");
    logger.level = "fatal";
    logger.pino.error("b");
    expect(lines.map((line) => line.message)).toEqual(["a"]);
  });

  test("of a pino child that is given one is its own, whoever looked before", () => {
    const { logger, lines } = captureLogs({ level: "info" });
    const sibling = logger.child({ sibling: 1 });
    const child = logger.pino.child({}, { level: "debug" });
    child.debug("seen");
    sibling.debug("unseen");
    logger.level = "trace";
    sibling.trace("seen too");
    child.trace("unseen");
    expect(lines.map((line) => line.message)).toEqual(["seen", "seen too"]);
  });

  test("that is not known is refused with what was given", () => {
    const { logger } = captureLogs();
    expect(() => (logger.level = "loud" as LogLevel)).toThrow(LoggerConfigError);
    expect(() => (logger.level = "loud" as LogLevel)).toThrow('level must be one of "trace"');
    expect(() => logger.child({}, { level: "loud" as LogLevel })).toThrow('got "loud"');
    expect(logger.level).toBe("trace");
  });

  test("silent writes nothing", () => {
    const { logger, lines } = captureLogs({ level: "silent" });
    logger.fatal("x");
    expect(lines).toHaveLength(0);
    expect(logger.isLevelEnabled("fatal")).toBe(false);
    expect(logger.isLevelEnabled("silent")).toBe(false);
  });
});

test("any family of loggers writes what a model of it says", () => {
  const step = fc.oneof(
    fc.record({
      kind: fc.constant("child" as const),
      of: fc.nat(),
      value: fc.nat(9),
      name: fc.constantFrom("a", "b", "c"),
      level: fc.option(fc.constantFrom(...LEVELS), { nil: undefined }),
    }),
    fc.record({
      kind: fc.constant("level" as const),
      of: fc.nat(),
      level: fc.constantFrom(...LEVELS),
      byPino: fc.boolean(),
    }),
    fc.record({
      kind: fc.constant("log" as const),
      of: fc.nat(),
      level: fc.constantFrom(...LEVELS.slice(0, 6)),
      byPino: fc.boolean(),
    }),
  );
  interface Modelled {
    parent?: Modelled;
    own?: LogLevel;
    fields: Record<string, number>;
  }
  const levelOf = (logger: Modelled): LogLevel => logger.own ?? levelOf(logger.parent as Modelled);

  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const { logger, lines } = captureLogs({ level: "info", caller: "off" });
      const real: Logger[] = [logger];
      const model: Modelled[] = [{ own: "info", fields: {} }];
      const expected: unknown[] = [];
      for (const each of steps) {
        const at = each.of % real.length;
        const one = real[at] as Logger;
        const modelled = model[at] as Modelled;
        if (each.kind === "child") {
          const fields = { ...modelled.fields, [each.name]: each.value };
          real.push(one.child({ [each.name]: each.value }, { level: each.level }));
          model.push({ parent: modelled, fields, ...(each.level !== undefined && { own: each.level }) });
        } else if (each.kind === "level") {
          if (each.byPino) one.pino.level = each.level;
          else one.level = each.level;
          modelled.own = each.level;
        } else {
          const level = each.level as Exclude<LogLevel, "silent">;
          if (each.byPino) one.pino[level]({ b: 10 }, "m");
          else one[level]("m", { b: 10 });
          const enabled = LEVELS.indexOf(level) >= LEVELS.indexOf(levelOf(modelled));
          expect(one.isLevelEnabled(level)).toBe(enabled);
          if (enabled) expected.push({ level, message: "m", ...modelled.fields, b: 10 });
        }
      }
      expect(lines.map(({ time: _time, ...line }) => line)).toEqual(expected);
      const { lines_total } = logger.getStats();
      expect(Object.values(lines_total).reduce((sum, count) => sum + count, 0)).toBe(expected.length);
    }),
  );
});

test("no trace context is no reason to throw", () => {
  const { logger, lines } = captureLogs({ caller: "off" });
  logger.withContext(null).withContext(undefined).info("m");
  expect(lines[0]).toEqual({ level: "info", time: lines[0]?.time, message: "m" });
});
