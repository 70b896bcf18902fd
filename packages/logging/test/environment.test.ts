import { getGlobalLogger, initGlobalLogger, loggerConfigFromEnv } from "@vg/logging";
import { afterEach, describe, expect, test } from "vitest";
import { parseLines, runProgram } from "./support/run.ts";

function captured(env: Record<string, string>) {
  const texts: string[] = [];
  const logger = initGlobalLogger(env, { destination: { write: (line) => texts.push(line) } });
  return { logger, texts };
}

const GLOBAL = Symbol.for("@vg/logging.global");
afterEach(() => {
  Reflect.deleteProperty(globalThis, GLOBAL);
});

describe("loggerConfigFromEnv", () => {
  test("gives the defaults where nothing, or only blanks, are set", () => {
    const defaults = { level: "info", format: "json", timeFormat: "rfc3339", caller: "warn" };
    expect(loggerConfigFromEnv({})).toEqual({ config: defaults, warnings: [] });
    expect(loggerConfigFromEnv({ LOG_LEVEL: "", LOG_FORMAT: "  " })).toEqual({ config: defaults, warnings: [] });
  });

  test("reads the variables, in any case", () => {
    expect(
      loggerConfigFromEnv({ LOG_LEVEL: "DEBUG", LOG_FORMAT: " Console ", LOG_TIME_FORMAT: "unix", LOG_CALLER: "ALL" }),
    ).toEqual({
      config: { level: "debug", format: "console", timeFormat: "unix", caller: "all" },
      warnings: [],
    });
  });

  test("warns of each value that is not known, and takes the default", () => {
    const { config, warnings } = loggerConfigFromEnv({
      LOG_LEVEL: "loud",
      LOG_FORMAT: "xml",
      LOG_TIME_FORMAT: "unix",
      LOG_CALLER: "yes",
    });
    expect(config).toEqual({ level: "info", format: "json", timeFormat: "unix", caller: "warn" });
    expect(warnings).toEqual([
      'LOG_LEVEL is "loud", which is not known: using the default, "info" (known: trace, debug, info, warn, error, fatal, silent)',
      'LOG_FORMAT is "xml", which is not known: using the default, "json" (known: json, console)',
      'LOG_CALLER is "yes", which is not known: using the default, "warn" (known: off, warn, all)',
    ]);
  });
});

describe("of LOG_LEVEL", () => {
  test("levels by component are read", () => {
    expect(loggerConfigFromEnv({ LOG_LEVEL: " Warn, db=DEBUG,http.retry=trace" })).toEqual({
      config: {
        level: "warn",
        levels: { db: "debug", "http.retry": "trace" },
        format: "json",
        timeFormat: "rfc3339",
        caller: "warn",
      },
      warnings: [],
    });
  });

  test("the good parts hold, and one warning names the bad ones", () => {
    const { config, warnings } = loggerConfigFromEnv({ LOG_LEVEL: "warn,db=wrong,http=debug,a,b,c,warn" });
    expect(config).toMatchObject({ level: "warn", levels: { http: "debug" } });
    expect(warnings).toEqual([
      'LOG_LEVEL has "db=wrong", "a", "b" and 1 more, which is not known: the rest holds, the level is "warn" ' +
        "(known: a level, or component=level, as in info,db=debug; levels: trace, debug, info, warn, error, fatal, silent)" +
        '. LOG_LEVEL says the same more than once: the last holds, not "warn"',
    ]);
  });

  test("nothing long or secret is shown", () => {
    const { config, warnings } = loggerConfigFromEnv({
      LOG_LEVEL: "postgres://bot:hunter2@db/x",
      LOG_FORMAT: "x".repeat(1000),
      LOG_CALLER: "password=hunter2",
    });
    expect(config).toMatchObject({ level: "info", format: "json", caller: "warn" });
    expect(warnings).toHaveLength(3);
    expect(warnings.join()).not.toContain("hunter2");
    expect(warnings[1]).toBe(
      'LOG_FORMAT is a string of 1000 characters, which is not known: using the default, "json" (known: json, console)',
    );
    expect(warnings[2]).toMatch(
      /^LOG_CALLER is "password=\[redacted\]", which is not known: .*"warn" \(known: off, warn, all\)$/,
    );
  });
});

test("LOG_CALLER and unix_ms are read, and the component's level is in force", () => {
  const env = { LOG_CALLER: "ALL", LOG_TIME_FORMAT: "Unix_Ms", LOG_LEVEL: "error,db=debug" };
  expect(loggerConfigFromEnv(env)).toMatchObject({ config: { caller: "all", timeFormat: "unix_ms" }, warnings: [] });
  const { logger, texts } = captured(env);
  logger.component("db").debug("m");
  expect(parseLines(texts.join(""))).toMatchObject([
    { message: "m", component: "db", caller: expect.any(String) as unknown, time: expect.any(Number) as unknown },
  ]);
});

describe("initGlobalLogger", () => {
  test("writes one warning line for a value that is not known, and does not throw", () => {
    const { texts } = captured({ LOG_LEVEL: "loud" });
    const lines = parseLines(texts.join(""));
    expect(lines).toHaveLength(1);
    expect(lines[0]).toMatchObject({ level: "warn" });
    expect(lines[0]?.["message"]).toMatch(/LOG_LEVEL is "loud".*"info"/);
    // A place inside this package would tell nobody anything.
    expect(lines[0]).not.toHaveProperty("caller");
  });

  test("writes it even where warnings are below the level, but not into silence", () => {
    expect(captured({ LOG_LEVEL: "error", LOG_FORMAT: "xml" }).texts).toHaveLength(1);
    expect(captured({ LOG_LEVEL: "silent", LOG_FORMAT: "xml" }).texts).toHaveLength(0);
  });

  test("writes nothing of its own when all is well", () => {
    const { logger, texts } = captured({ LOG_LEVEL: "warn", LOG_TIME_FORMAT: "unix" });
    expect(texts).toEqual([]);
    expect(logger.level).toBe("warn");
    logger.info("unseen");
    logger.warn("seen");
    expect(parseLines(texts.join(""))[0]).toMatchObject({ message: "seen", time: expect.any(Number) as unknown });
  });

  test("installs what getGlobalLogger gives", () => {
    const { logger } = captured({});
    expect(getGlobalLogger()).toBe(logger);
    const { logger: second } = captured({});
    expect(getGlobalLogger()).toBe(second);
  });

  test("leaves the one before, and its children, what they were", () => {
    const first = captured({ LOG_LEVEL: "warn" });
    const child = getGlobalLogger().component("db");
    const second = captured({ LOG_LEVEL: "debug" });
    child.debug("unseen");
    child.warn("to the first");
    expect(parseLines(first.texts.join(""))).toMatchObject([{ message: "to the first" }]);
    expect(second.texts).toEqual([]);
  });

  test("does not change it when the configuration is refused", () => {
    const { logger } = captured({});
    expect(() => initGlobalLogger({}, { maxDepth: 0 })).toThrow("maxDepth");
    expect(getGlobalLogger()).toBe(logger);
  });
});

test("two copies of the package share one global logger, and it is made on first use", async () => {
  const { stdout, code } = await runProgram(
    `
    import { getGlobalLogger } from "@vg/logging";
    const url = import.meta.resolve("@vg/logging").replace("index.ts", "global-logger.ts");
    const copy = await import(url + "?second-copy");
    if (copy.getGlobalLogger === getGlobalLogger) throw new Error("not a second copy");
    const first = getGlobalLogger();
    if (copy.getGlobalLogger() !== first) throw new Error("two loggers");
    copy.initGlobalLogger({ LOG_LEVEL: "debug" });
    getGlobalLogger().debug("shared");
  `,
    { env: { ...process.env, LOG_LEVEL: "error" } },
  );
  expect(code).toBe(0);
  expect(parseLines(stdout)).toMatchObject([{ level: "debug", message: "shared" }]);
});
