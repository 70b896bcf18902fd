import fc from "fast-check";
import { LoggerConfigError, type LevelChange, type LevelOptions, type Logger, type LogLevel } from "@vg/logging";
import { captureLogs } from "@vg/logging/testing";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { runProgram } from "./support/run.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

describe("setLevel", () => {
  test("is for this logger and what follows it, until it is undone", () => {
    const { logger } = captureLogs({ level: "info" });
    const child = logger.child({});
    const grandchild = child.child({});
    const change = child.setLevel("debug");
    expect([logger.level, child.level, grandchild.level, grandchild.pino.level]).toEqual([
      "info",
      "debug",
      "debug",
      "debug",
    ]);
    change.undo();
    change.undo();
    expect([child.level, grandchild.level]).toEqual(["info", "info"]);
    // It follows again.
    logger.level = "error";
    expect([child.level, grandchild.level]).toEqual(["error", "error"]);
  });

  test("ends with the block that uses it", () => {
    const { logger } = captureLogs({ level: "info" });
    {
      using change = logger.setLevel("trace");
      expect(change).toBeDefined();
      expect(logger.level).toBe("trace");
    }
    expect(logger.level).toBe("info");
  });

  test("for a component reaches the loggers that exist, and those made later", () => {
    const { logger, lines } = captureLogs({ level: "info" });
    const pool = logger.component("db.pool");
    const change = logger.withFields({}).setLevel("debug", { component: "db" });
    pool.debug("a");
    logger.component("db").debug("b");
    logger.debug("unseen");
    change.undo();
    pool.debug("unseen");
    expect(lines.map((line) => line.message)).toEqual(["a", "b"]);
  });

  test("for a time ends by a timer", () => {
    const { logger } = captureLogs({ level: "info" });
    const db = logger.component("db");
    logger.setLevel("debug", { component: "db", forMs: 1000 });
    logger.setLevel("trace", { forMs: 500 });
    // The component's level comes before the one of the logger that it was made from.
    expect([logger.level, db.level]).toEqual(["trace", "debug"]);
    vi.advanceTimersByTime(500);
    expect([logger.level, db.level]).toEqual(["info", "debug"]);
    vi.advanceTimersByTime(500);
    expect([logger.level, db.level]).toEqual(["info", "info"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  test("for a time ends when the clock says so, if that is earlier, and leaves no timer", () => {
    const clock = { now: () => 0 };
    const { logger } = captureLogs({ level: "info", clock });
    logger.setLevel("debug", { forMs: 1000 });
    clock.now = () => 999;
    expect(logger.level).toBe("debug");
    clock.now = () => 1000;
    expect(logger.level).toBe("info");
    expect(vi.getTimerCount()).toBe(0);
  });

  test("lets the latest hold of several for a time, and none when all have ended", () => {
    const { logger } = captureLogs({ level: "info" });
    logger.setLevel("debug", { forMs: 1000 });
    const short = logger.setLevel("trace", { forMs: 100 });
    expect(logger.level).toBe("trace");
    vi.advanceTimersByTime(100);
    expect(logger.level).toBe("debug");
    short.undo();
    logger.setLevel("warn", { forMs: 5000 });
    vi.advanceTimersByTime(1000);
    expect(logger.level).toBe("warn");
    vi.advanceTimersByTime(4000);
    expect(logger.level).toBe("info");
  });

  test("gives way to a level that is set for good", () => {
    const { logger } = captureLogs({ level: "info" });
    const change = logger.setLevel("debug", { forMs: 1000 });
    logger.level = "warn";
    expect(logger.level).toBe("warn");
    vi.advanceTimersByTime(1000);
    change.undo();
    expect(logger.level).toBe("warn");
    logger.pino.level = "error";
    expect(logger.level).toBe("error");
  });

  test.each<[unknown, RegExp]>([
    [{ forMs: 0 }, /setLevel: forMs must be a number of milliseconds from 1 to 2147483647, got 0/],
    [{ forMs: Infinity }, /forMs must be .*got Infinity/],
    [{ forMs: "1s" }, /forMs must be .*got "1s"/],
    [{ component: "" }, /setLevel: component must be the dotted name/],
    [{ formMs: 5 }, /setLevel: unknown option "formMs"\. Did you mean forMs\?/],
    [5, /options must be an object/],
  ])("refuses %j and changes nothing", (options, message) => {
    const { logger } = captureLogs({ level: "info" });
    const set = (): LevelChange => logger.setLevel("debug", options as LevelOptions);
    expect(set).toThrow(LoggerConfigError);
    expect(set).toThrow(message);
    expect(logger.level).toBe("info");
  });

  test("keeps no process alive", async () => {
    const { code } = await runProgram(`
      import { createLogger } from "@vg/logging";
      createLogger().setLevel("debug", { forMs: 3_600_000 });
    `);
    expect(code).toBe(0);
  });
});

test("any sequence of changes gives the levels that a naive recomputation gives", () => {
  const level = fc.constantFrom<LogLevel[]>("trace", "debug", "info", "warn", "error", "silent");
  const component = fc.constantFrom("db", "db.pool", "db.pool.wait", "http");
  const forMs = fc.option(fc.integer({ min: 1, max: 50 }), { nil: undefined });
  const step = fc.oneof(
    fc.record({ do: fc.constant("child" as const), of: fc.nat() }),
    fc.record({ do: fc.constant("childAt" as const), of: fc.nat(), level }),
    fc.record({ do: fc.constant("component" as const), of: fc.nat(), name: fc.constantFrom("db", "pool", "http") }),
    fc.record({ do: fc.constant("level" as const), of: fc.nat(), level, byPino: fc.boolean() }),
    fc.record({ do: fc.constant("setLevel" as const), of: fc.nat(), level, forMs }),
    fc.record({ do: fc.constant("setComponent" as const), component, level, forMs }),
    fc.record({ do: fc.constant("undo" as const), which: fc.nat() }),
    fc.record({ do: fc.constant("advance" as const), ms: fc.integer({ min: 1, max: 30 }), fires: fc.boolean() }),
  );

  interface Entry {
    level: LogLevel;
    /** By the clock. */
    endsAt: number;
    /** By the timer, which may be ahead of a clock that is set by hand, or behind it: the earlier one counts. */
    ringsAt: number;
    undone: boolean;
  }
  interface Modelled {
    parent?: Modelled;
    component?: string;
    own: Entry[];
  }

  fc.assert(
    fc.property(fc.array(step, { maxLength: 50 }), (steps) => {
      vi.clearAllTimers();
      let now = 0;
      const startedAt = Date.now();
      const rules = new Map<string, Entry[]>([
        ["db", [{ level: "warn", endsAt: Infinity, ringsAt: Infinity, undone: false }]],
      ]);
      const { logger, lines, clear } = captureLogs({
        level: "info",
        levels: { db: "warn" },
        caller: "off",
        clock: { now: () => now },
      });
      const real: Logger[] = [logger];
      const model: Modelled[] = [{ own: [{ level: "info", endsAt: Infinity, ringsAt: Infinity, undone: false }] }];
      const changes: { change: LevelChange; entry: Entry }[] = [];

      const holds = (entries: Entry[] | undefined): LogLevel | undefined =>
        entries?.findLast(({ undone, endsAt, ringsAt }) => !undone && endsAt > now && ringsAt > Date.now())?.level;
      const levelOf = (one: Modelled): LogLevel => {
        const own = holds(one.own);
        if (own !== undefined) return own;
        if (one.component === undefined || one.component === one.parent?.component)
          return levelOf(one.parent as Modelled);
        for (let name = one.component; name !== ""; name = name.split(".").slice(0, -1).join(".")) {
          const rule = holds(rules.get(name));
          if (rule !== undefined) return rule;
        }
        return levelOf(model[0] as Modelled);
      };
      const entryOf = (word: LogLevel, ms: number | undefined): Entry => ({
        level: word,
        endsAt: ms === undefined ? Infinity : now + ms,
        ringsAt: ms === undefined ? Infinity : Date.now() + ms,
        undone: false,
      });

      for (const each of steps) {
        const at = "of" in each ? each.of % real.length : 0;
        const one = real[at] as Logger;
        const modelled = model[at] as Modelled;
        const inherited = modelled.component === undefined ? {} : { component: modelled.component };
        if (each.do === "child") {
          real.push(one.child({ a: 1 }));
          model.push({ parent: modelled, own: [], ...inherited });
        } else if (each.do === "childAt") {
          real.push(one.child({ a: 1 }, { level: each.level }));
          model.push({ parent: modelled, own: [entryOf(each.level, undefined)], ...inherited });
        } else if (each.do === "component") {
          const full = modelled.component === undefined ? each.name : `${modelled.component}.${each.name}`;
          real.push(one.component(each.name));
          model.push({ parent: modelled, component: full, own: [] });
        } else if (each.do === "level") {
          if (each.byPino) one.pino.level = each.level;
          else one.level = each.level;
          modelled.own.push(entryOf(each.level, undefined));
        } else if (each.do === "setLevel") {
          const entry = entryOf(each.level, each.forMs);
          changes.push({ entry, change: one.setLevel(each.level, { forMs: each.forMs }) });
          modelled.own.push(entry);
        } else if (each.do === "setComponent") {
          const entry = entryOf(each.level, each.forMs);
          const options = { component: each.component, forMs: each.forMs };
          changes.push({ entry, change: logger.setLevel(each.level, options) });
          rules.set(each.component, [...(rules.get(each.component) ?? []), entry]);
        } else if (each.do === "undo") {
          const change = changes[each.which % (changes.length || 1)];
          change?.change.undo();
          if (change !== undefined) change.entry.undone = true;
        } else {
          now += each.ms;
          if (each.fires) vi.advanceTimersByTime(now - (Date.now() - startedAt));
          else expect(logger.level).toBe(levelOf(model[0] as Modelled));
        }

        real.forEach((checked, index) => {
          const expected = levelOf(model[index] as Modelled);
          clear();
          checked.debug("m");
          expect(lines.length).toBe(expected === "trace" || expected === "debug" ? 1 : 0);
          expect([checked.level, checked.pino.level]).toEqual([expected, expected]);
          expect(checked.isLevelEnabled("debug")).toBe(lines.length === 1);
          clear();
          checked.pino.warn("m");
          expect(lines.length).toBe(expected === "error" || expected === "silent" ? 0 : 1);
        });
      }
    }),
  );
});
