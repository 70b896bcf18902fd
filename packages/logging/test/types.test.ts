import { createLogger, type Logger } from "@vg/logging";
import { expect, test } from "vitest";

/** What the pools ask of a logger. */
interface PoolLogger {
  debug(fields: object, message: string): void;
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

interface Stats {
  readonly hits: number;
}

test("a logger, and its pino instance, are what the pools ask for", () => {
  const lines: string[] = [];
  const logger = createLogger({ destination: { write: (line) => lines.push(line) } });
  const pools: PoolLogger[] = [logger, logger.pino];
  for (const pool of pools) pool.warn({ pool: "main" }, "Connections are running out");
  expect(lines.map((line) => (JSON.parse(line) as { pool: string }).pool)).toEqual(["main", "main"]);
});

test("the calls that the documentation shows are those that compile", () => {
  const logger = createLogger({ destination: { write: () => undefined } });
  const stats: Stats = { hits: 1 };
  const calls = (log: Logger, thrown: unknown): void => {
    log.info("Pool statistics", stats);
    log.info({ a: 1 }, "m");
    log.error("m", thrown, { a: 1 });
    log.error("m", thrown);
    log.error(new Error("x"));
    log.error(thrown);
    log.error(thrown, "m");
    log.error(thrown, "m", { a: 1 });
    // @ts-expect-error -- a message is a text
    log.info(5);
    // @ts-expect-error -- and so is the second argument after a number
    log.info(5, "m");
    // @ts-expect-error -- no text is taken for something that was thrown
    log.info("m", 5, 6);
    // @ts-expect-error -- fields are an object
    log.info("m", new Error("x"), "fields");
    // @ts-expect-error -- a level is one of seven
    log.level = "loud";
  };
  expect(() => calls(createLogger({ level: "silent" }), new Error("x"))).toThrow("level must be");
  expect(logger.level).toBe("info");
});
