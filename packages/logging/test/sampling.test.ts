import fc from "fast-check";
import { createLogger, type LoggerConfig, withContext } from "@vg/logging";
import { captureLogs } from "@vg/logging/testing";
import { describe, expect, test } from "vitest";
import { positionOf, Sampler } from "../src/volume/sampler.ts";

/** Gives these numbers, again and again. */
function cycle(...numbers: number[]): () => number {
  let at = 0;
  return () => numbers[at++ % numbers.length] as number;
}

describe("sampling", () => {
  test("keeps a part of the lines of a level, says which, and counts the others", () => {
    const random = cycle(0, 0.25, 0.5, 0.75);
    const { logger, lines } = captureLogs({ sampling: { debug: 0.5, trace: 0, random } });
    for (let i = 0; i < 8; i++) logger.debug("d", { i });
    logger.trace("t");
    logger.info("i");
    expect(lines.filter((line) => line.level === "debug").map((line) => line["i"])).toEqual([0, 1, 4, 5]);
    expect(lines[0]).toMatchObject({ "log.sample_rate": 0.5 });
    expect(lines.at(-1)).not.toHaveProperty("log.sample_rate");
    expect(lines).toHaveLength(5);
    expect(logger.getStats()).toMatchObject({ sampled_out_total: 5, lines_total: { debug: 4, trace: 0, info: 1 } });
  });

  test("acts on pino's lines and on messages by their template, and never on warnings and errors", () => {
    const random = () => 0.99;
    const messages = { "GET %s": 0.1, bad: 0, http_request: 0.5 };
    const { logger, lines } = captureLogs({ sampling: { info: 1, messages, random } });
    logger.pino.info("GET %s", "/a");
    logger.info({ a: 1 }, "GET %s", "/a");
    logger.logHttpRequest("GET", "/", 200, 1);
    logger.warn("bad");
    logger.error("bad");
    logger.info("bad");
    logger.info("other");
    expect(lines.map((line) => [line.level, line.message])).toEqual([
      ["warn", "bad"],
      ["error", "bad"],
      ["info", "other"],
    ]);
  });

  test("keeps or leaves out all lines of a trace alike, in every logger", () => {
    const ids = Array.from({ length: 200 }, (_, i) => i.toString(16).padStart(32, "0"));
    const keptAt = (rate: number): string[] => {
      const { logger, lines } = captureLogs({ sampling: { info: rate } });
      for (const trace_id of ids) {
        const request = logger.withContext({ trace_id });
        for (let i = 0; i < 3; i++) request.info("m");
        request.withFields({ a: 1 }).pino.info("m");
      }
      const kept = new Set(lines.map((line) => line["trace_id"] as string));
      expect(lines).toHaveLength(4 * kept.size);
      return [...kept];
    };
    const half = keptAt(0.5);
    expect(keptAt(0.5)).toEqual(half);
    expect(half.length).toBeGreaterThan(70);
    expect(half.length).toBeLessThan(130);
    const tenth = keptAt(0.1);
    expect(half).toEqual(expect.arrayContaining(tenth));
    expect(tenth.length).toBeLessThan(half.length);
  });

  test("keeps the later lines of a trace that has an error", () => {
    const { logger, lines } = captureLogs({ sampling: { info: 0 } });
    const request = logger.withContext({ trace_id: "t1" });
    request.info("before");
    request.error("failed");
    request.info("after");
    logger.withContext({ trace_id: "t2" }).info("of another trace");
    expect(lines.map((line) => [line.message, line["log.sample_rate"]])).toEqual([
      ["failed", undefined],
      ["after", undefined],
    ]);
  });

  test("goes by the trace of the context that a line is logged in, too", () => {
    const { logger, lines } = captureLogs({ sampling: { info: 0.5 } });
    const seen = new Map<string, number>();
    for (let i = 0; i < 50; i++) {
      const trace_id = `t${i}`;
      withContext({ trace_id }, () => {
        for (let j = 0; j < 3; j++) logger.info("m");
        logger.component("db").pino.info("m");
      });
      seen.set(trace_id, lines.filter((line) => line["trace_id"] === trace_id).length);
    }
    expect(new Set(seen.values())).toEqual(new Set([0, 4]));
    withContext({ trace_id: "failing" }, () => logger.error("failed"));
    withContext({ trace_id: "failing" }, () => logger.info("kept"));
    expect(lines.at(-1)).toMatchObject({ message: "kept", trace_id: "failing" });
  });

  test("goes before rateLimit, so that what is left out is not counted twice", () => {
    const random = cycle(0.9, 0.1);
    const { logger } = captureLogs({ sampling: { info: 0.5, random }, rateLimit: { burst: 1 } });
    for (let i = 0; i < 8; i++) logger.info("m");
    expect(logger.getStats()).toMatchObject({ sampled_out_total: 4, suppressed_total: 3, lines_total: { info: 1 } });
  });

  test("keeps a line where its source of randomness is broken, and can't be forged by a field", () => {
    const random = (): number => {
      throw new Error("no entropy");
    };
    const { logger, lines } = captureLogs({ sampling: { info: 0.1, random } });
    logger.info("m", { "log.sample_rate": 1 });
    expect(lines[0]).toMatchObject({ "log.sample_rate": 0.1, "field.log.sample_rate": 1 });
  });

  test.each<[unknown, RegExp]>([
    [{ info: 1.5 }, /sampling: info must be a number from 0 to 1, got 1\.5/],
    [{ debug: "10%" }, /sampling: debug must be a number from 0 to 1, got "10%"/],
    [{ error: 0.5 }, /sampling: unknown option "error"/],
    [{ messages: { a: 2 } }, /sampling\.messages: a must be a number from 0 to 1/],
    [{ messages: [] }, /messages must be an object from messages to rates/],
    [{ random: 0.5 }, /random must be a function/],
  ])("refuses %j", (sampling, message) => {
    expect(() => createLogger({ sampling } as LoggerConfig)).toThrow(message);
  });
});

test("the position of a trace is spread evenly, whatever the ids look like", () => {
  const spread = (ids: string[]): void => {
    const buckets = Array.from({ length: 10 }, () => 0);
    for (const id of ids) buckets[Math.floor(positionOf(id) * 10)]!++;
    for (const bucket of buckets) expect(Math.abs(bucket - ids.length / 10)).toBeLessThan(ids.length / 50);
  };
  spread(Array.from({ length: 10_000 }, (_, i) => String(i)));
  spread(Array.from({ length: 10_000 }, (_, i) => i.toString(16).padStart(32, "0")));
  spread(Array.from({ length: 10_000 }, (_, i) => `${i.toString(16).padStart(16, "0")}${"0".repeat(16)}`));
});

test("a rate is the same for a trace whenever it is asked, and a trace kept at one rate is kept at all higher ones", () => {
  fc.assert(
    fc.property(
      fc.string(),
      fc.double({ min: 0, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (id, a, b) => {
        const [low, high] = a < b ? [a, b] : [b, a];
        const rateAt = (rate: number): number =>
          new Sampler({ rates: new Map([[30, rate]]), messages: new Map(), random: Math.random }).rate(
            30,
            "m",
            id,
            positionOf(id),
          );
        expect(rateAt(low)).toBe(rateAt(low));
        if (rateAt(low) > 0) expect(rateAt(high)).toBe(high);
      },
    ),
  );
});

test("the traces that are remembered for their errors are bounded, the latest are kept", () => {
  const sampler = new Sampler({ rates: new Map([[30, 0]]), messages: new Map(), random: () => 0 });
  for (let i = 0; i < 5000; i++) sampler.rate(50, "m", `t${i}`, 0.5);
  expect(sampler.rate(30, "m", "t4999", 0.5)).toBe(1);
  expect(sampler.rate(30, "m", "t4000", 0.5)).toBe(1);
  expect(sampler.rate(30, "m", "t3999", 0.5)).toBe(0);
});
