import fc from "fast-check";
import { createLogger, type LoggerConfig, withContext } from "@vg/logging";
import { captureLogs } from "@vg/logging/testing";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { RateLimiter, type Suppressed } from "../src/volume/rate-limiter.ts";
import { parseLines, runProgram } from "./support/run.ts";

const SUMMARY = "log lines were suppressed";
const START = 1_000_000;

beforeEach(() => void vi.useFakeTimers({ now: START }));
afterEach(() => void vi.useRealTimers());

describe("rateLimit", () => {
  test("writes so many lines of one call site in an interval, and then one that counts the others", () => {
    const { logger, lines, expectOne, clear } = captureLogs({ rateLimit: { burst: 2, intervalMs: 1000 } });
    for (let i = 0; i < 5; i++) {
      logger.info("Cache miss", { i });
      vi.advanceTimersByTime(10);
    }
    logger.info("another");
    logger.debug("Cache miss");
    expect(lines.map(({ message, i }) => [message, i])).toEqual([
      ["Cache miss", 0],
      ["Cache miss", 1],
      ["another", undefined],
      ["Cache miss", undefined],
    ]);
    clear();
    vi.advanceTimersByTime(1000);
    expect(lines).toHaveLength(1);
    const { time, ...line } = expectOne(SUMMARY);
    expect(line).toEqual({
      level: "warn",
      message: SUMMARY,
      "log.suppressed": 3,
      "log.suppressed_level": "info",
      "log.suppressed_message": "Cache miss",
      "log.suppressed_since": new Date(START + 20).toISOString(),
      "log.burst": 2,
      "log.interval_ms": 1000,
    });
    expect(time).toBe(new Date(START + 1000).toISOString());
    expect(logger.getStats().suppressed_total).toBe(3);
    clear();
    for (let i = 0; i < 3; i++) logger.info("Cache miss");
    expect(lines).toHaveLength(2);
    vi.advanceTimersByTime(5000);
    expect(expectOne(SUMMARY)).toMatchObject({ "log.suppressed": 1 });
    expect(vi.getTimerCount()).toBe(0);
  });

  test("reports before the next line where the timer is late", () => {
    const clock = { now: () => START };
    const { logger, lines } = captureLogs({ clock, rateLimit: { burst: 1, intervalMs: 1000 } });
    logger.info("a");
    logger.info("a");
    clock.now = () => START + 1000;
    logger.info("b");
    expect(lines.map((line) => line.message)).toEqual(["a", SUMMARY, "b"]);
  });

  test("tells levels and components apart, and takes messages before they are filled in", () => {
    const { logger, lines, filter } = captureLogs({ rateLimit: { burst: 1 } });
    for (const level of ["info", "warn", "info", "warn"] as const) logger[level]("m");
    for (const name of ["db", "db", "http"]) logger.component(name).info("m");
    for (const each of ["x", "y"]) {
      logger.info({}, "value %s", each);
      logger.pino.info("pino's %s", each);
      logger.pino.info({ a: 1 }, "%s in pino", each);
    }
    expect(lines.map((line) => line.message)).toEqual(["m", "m", "m", "m", "value x", "pino's x", "x in pino"]);
    void logger.flush();
    expect(filter(SUMMARY)).toHaveLength(6);
    expect(filter({ "log.suppressed_message": "value %s" })).toHaveLength(1);
    expect(filter({ "log.suppressed_component": "db", "log.suppressed": 1 })).toHaveLength(1);
    expect(filter({ "log.suppressed_message": "m", "log.suppressed_level": "warn" })).toHaveLength(1);
  });

  test("lets errors pass unless it is asked for them", () => {
    const { logger, lines } = captureLogs({ rateLimit: { burst: 1 } });
    for (let i = 0; i < 3; i++) logger.error("e");
    expect(lines).toHaveLength(3);
    const all = captureLogs({ rateLimit: { burst: 1, levels: ["error"] } });
    for (let i = 0; i < 3; i++) {
      all.logger.error("e");
      all.logger.info("i");
    }
    expect(all.filter("e")).toHaveLength(1);
    expect(all.filter("i")).toHaveLength(3);
  });

  test("reports at flush and at close, each count once, and goes on with the interval", async () => {
    const { logger, filter } = captureLogs({ rateLimit: { burst: 1 } });
    for (let i = 0; i < 3; i++) logger.info("a");
    await logger.flush();
    expect(filter(SUMMARY)).toMatchObject([{ "log.suppressed": 2 }]);
    logger.info("a");
    await logger.close();
    await logger.close();
    expect(filter(SUMMARY)).toMatchObject([{ "log.suppressed": 2 }, { "log.suppressed": 1 }]);
    expect(filter("a")).toHaveLength(1);
  });

  test("reports what has to make room in the table", () => {
    const { logger, filter } = captureLogs({ rateLimit: { burst: 1, maxSites: 2 } });
    logger.info("a");
    logger.info("a");
    logger.info("b");
    // "a" was used again, so "b" goes first.
    logger.info("c");
    expect(filter(SUMMARY)).toHaveLength(0);
    logger.info("d");
    expect(filter(SUMMARY)).toMatchObject([{ "log.suppressed": 1, "log.suppressed_message": "a" }]);
  });

  test("reports outside the context that the line was logged in", () => {
    const { logger, expectOne } = captureLogs({ rateLimit: { burst: 1, intervalMs: 10 } });
    withContext({ trace_id: "t1" }, () => {
      for (let i = 0; i < 3; i++) logger.info("a");
    });
    withContext({ trace_id: "t2" }, () => void logger.flush());
    expect(expectOne(SUMMARY)).not.toHaveProperty("trace_id");
  });

  test("hides secrets in what it reports", () => {
    const { logger, expectOne } = captureLogs({ rateLimit: { burst: 1 } });
    for (let i = 0; i < 2; i++) logger.info("to postgres://u:hunter2@db/x");
    void logger.flush();
    expect(JSON.stringify(expectOne(SUMMARY))).not.toContain("hunter2");
  });

  test("loses no count when the process ends", async () => {
    vi.useRealTimers();
    const { stdout, code } = await runProgram(`
      import { createLogger } from "@vg/logging";
      const logger = createLogger({ rateLimit: { burst: 3, intervalMs: 3_600_000 } });
      const other = createLogger({ rateLimit: { burst: 1 } });
      for (let i = 0; i < 10; i++) logger.info("m");
      for (let i = 0; i < 3; i++) other.pino.info("o");
    `);
    expect(code).toBe(0);
    const lines = parseLines(stdout);
    expect(lines.filter((line) => line["message"] === "m")).toHaveLength(3);
    expect(lines.filter((line) => line["message"] === SUMMARY)).toMatchObject([
      { "log.suppressed": 7 },
      { "log.suppressed": 2 },
    ]);
  });

  test.each(["json", "console", "buffer"])("loses no count when SIGTERM ends the process (%s)", async (kind) => {
    vi.useRealTimers();
    const { stdout, signal } = await runProgram(`
      import { createLogger } from "@vg/logging";
      const kind = "${kind}";
      const logger = createLogger({
        rateLimit: { burst: 1, intervalMs: 3_600_000 },
        format: kind === "console" ? "console" : "json",
        buffer: kind === "buffer" ? {} : undefined,
      });
      logger.info("first");
      for (let i = 0; i < 10; i++) logger.info("m");
      process.kill(process.pid, "SIGTERM");
      setInterval(() => {}, 1000);
    `);
    expect(signal).toBe("SIGTERM");
    expect(stdout).toMatch(/log lines were suppressed.*log\.suppressed"?[:=]9\b/);
  });

  test.each<[unknown, RegExp]>([
    [{ burst: 0 }, /rateLimit: burst must be a whole number from 1 to 1000000, got 0/],
    [{ intervalMs: 0.5 }, /rateLimit: intervalMs must be a number of milliseconds from 1/],
    [{ levels: ["loud"] }, /rateLimit\.levels must be an array of "trace", /],
    [{ maxSites: 0 }, /rateLimit: maxSites must be/],
    [{ lines: 5 }, /rateLimit: unknown option "lines"/],
    [true, /rateLimit: options must be an object, got true/],
  ])("refuses %j", (rateLimit, message) => {
    expect(() => createLogger({ rateLimit } as LoggerConfig)).toThrow(message);
  });
});

test("every line passes or is counted by exactly one report, and the table keeps its bound", () => {
  const step = fc.oneof(
    { weight: 8, arbitrary: fc.record({ do: fc.constant("log" as const), site: fc.nat(9) }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("report" as const) }) },
    {
      weight: 2,
      arbitrary: fc.record({
        do: fc.constant("advance" as const),
        ms: fc.integer({ min: -20, max: 60 }),
        fires: fc.boolean(),
      }),
    },
  );
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 1, max: 12 }),
      fc.array(step, { maxLength: 150 }),
      (burst, maxSites, steps) => {
        vi.clearAllTimers();
        const intervalMs = 50;
        let now = START;
        const reports: Suppressed[] = [];
        const limiter = new RateLimiter(
          { burst, intervalMs, levels: new Set([30]), maxSites },
          () => now,
          (suppressed) => reports.push(suppressed),
        );
        const logged = new Map<string, number>();
        const passed = new Map<string, number>();
        /** Lines that passed in the present interval; an interval is a naive one, begun by the first line after the last. */
        let inInterval = new Map<string, number>();
        let startedAt = -Infinity;
        const count = (map: Map<string, number>, site: string): void => void map.set(site, (map.get(site) ?? 0) + 1);

        for (const each of steps) {
          if (each.do === "log") {
            const site = `m${each.site}`;
            if (now >= startedAt + intervalMs || now < startedAt) {
              startedAt = now;
              inInterval = new Map();
            }
            count(logged, site);
            const isAdmitted = limiter.admit(30, site, undefined);
            if (isAdmitted) {
              count(passed, site);
              count(inInterval, site);
            }
            // Without evictions the limit is exact.
            if (maxSites >= 10) expect(inInterval.get(site) ?? 0).toBeLessThanOrEqual(burst);
            if (maxSites >= 10 && !isAdmitted) expect(inInterval.get(site)).toBe(burst);
          } else if (each.do === "report") {
            limiter.report();
          } else {
            now += each.ms;
            if (each.fires) {
              vi.advanceTimersByTime(Math.max(0, each.ms));
              // A timer that fires begins an interval, too.
              startedAt = -Infinity;
              limiter.end();
            }
          }
          expect(limiter.size).toBeLessThanOrEqual(maxSites);
        }

        limiter.report();
        const before = reports.length;
        limiter.report();
        expect(reports).toHaveLength(before);
        expect(limiter.hasUnreported).toBe(false);
        for (const [site, total] of logged) {
          const own = reports.filter(({ template }) => template === site);
          const suppressed = own.reduce((sum, each) => sum + each.count, 0);
          expect((passed.get(site) ?? 0) + suppressed).toBe(total);
          expect(own.every((each) => each.count > 0)).toBe(true);
        }
        expect(reports.reduce((sum, each) => sum + each.count, 0)).toBe(limiter.suppressedTotal);
        vi.clearAllTimers();
      },
    ),
  );
});
