import { createLogger, LoggerConfigError, LoggerError, type LoggerConfig } from "@vg/logging";
import { captureLogs } from "@vg/logging/testing";
import { expect, test } from "vitest";

const destination = { write: () => undefined };

test.each<[unknown, RegExp]>([
  [{ level: "verbose" }, /level must be one of "trace", "debug", .*got "verbose"/],
  [{ level: 30 }, /level must be one of .*got 30/],
  [{ format: "pretty" }, /format must be one of "json", "console"/],
  [{ timeFormat: "iso" }, /timeFormat must be one of "rfc3339", "unix", "unix_ms"/],
  [{ caller: true }, /caller must be one of "off", "warn", "all", got true/],
  [{ color: "yes" }, /color must be one of/],
  [{ destination: -1 }, /destination must be .*got -1/],
  [{ destination: "" }, /destination must be the path of a file/],
  [{ destination: {} }, /destination must be .*write\(line\).*got an object/],
  [{ redact: true }, /redact must be false or an object/],
  [{ redact: "password" }, /redact: options must be an object/],
  [{ redact: null }, /redact: options must be an object, got null/],
  [{ redact: { keys: "password" } }, /redact\.keys must be an array/],
  [{ redact: { paths: [] } }, /unknown option "paths"/],
  [{ base: [] }, /base must be an object/],
  [{ clock: Date.now }, /clock must be an object with now\(\)/],
  [{ maxDepth: 0 }, /maxDepth must be a whole number from 1 to 32, got 0/],
  [{ maxItems: 1.5 }, /maxItems must be a whole number/],
  [{ maxLineBytes: 1023 }, /maxLineBytes must be .*got 1023/],
  [{ maxStringLength: 15 }, /maxStringLength must be/],
  [{ Level: "info" }, /unknown option "Level". Did you mean level\?/],
  [{ timeformat: "unix" }, /Did you mean timeFormat\?/],
  ["info", /options must be an object, got "info"/],
  [null, /options must be an object, got null/],
])("%j is refused", (config, message) => {
  const make = (): unknown => createLogger(config as LoggerConfig);
  expect(make).toThrow(message);
  try {
    make();
  } catch (error) {
    expect(error).toBeInstanceOf(LoggerConfigError);
    expect(error).toBeInstanceOf(LoggerError);
    expect(error).toMatchObject({ code: "ERR_VG_LOGGING_CONFIG", name: "LoggerConfigError" });
  }
});

test("undefined stands for the default", () => {
  const logger = createLogger({ level: undefined, format: undefined, redact: undefined, destination });
  expect(logger.level).toBe("info");
});

test("base fields are on every line, hidden where they are secrets", () => {
  const { logger, lines } = captureLogs({ base: { service: "chat", token: "t", level: 1 } });
  logger.info("a");
  logger.pino.info("b");
  for (const line of lines)
    expect(line).toMatchObject({ level: "info", service: "chat", token: "[redacted]", "field.level": 1 });
});
