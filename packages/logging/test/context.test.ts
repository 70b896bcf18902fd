import { EventEmitter, once } from "node:events";
import { PassThrough, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import fc from "fast-check";
import { currentContext, fromTraceparent, runInContext, withContext } from "@vg/logging";
import { captureLogs } from "@vg/logging/testing";
import { describe, expect, test, vi } from "vitest";
import { duplicateKeys } from "./support/duplicate-keys.ts";
import { rawLines } from "./support/raw-lines.ts";

test("lines that are logged inside carry the fields, those of any logger and of its pino", () => {
  const { logger, lines } = captureLogs({ caller: "off" });
  const other = captureLogs({ caller: "off" });
  withContext({ request_id: "r1", tenant: "acme" }, () => {
    logger.info("ours");
    logger.child({ a: 1 }).info("a child's");
    logger.pino.child({ b: 1 }).info("pino's");
    logger.logCacheOp("get", "k", true, 1);
    other.logger.info("another's");
  });
  logger.info("outside");
  expect([...lines.slice(0, 4), ...other.lines]).toMatchObject(
    Array.from({ length: 5 }, () => ({ request_id: "r1", tenant: "acme" })),
  );
  expect(lines[4]).not.toHaveProperty("request_id");
});

test("they come after the message and before the logger's own", () => {
  const { logger, texts } = rawLines({ caller: "off", clock: { now: () => 0 } });
  const child = logger.child({ own: 1 });
  withContext({ trace_id: "t", span_id: "s" }, () => child.error("m", new TypeError("no"), { called: 2 }));
  expect(texts[0]).toMatch(
    /^\{"level":"error","time":"[^"]+","message":"m","trace_id":"t","span_id":"s","own":1,"error":\{.*\},"called":2\}\n$/,
  );
});

test("it gives what the function returns, and throws what it throws", async () => {
  expect(withContext({ a: 1 }, () => 5)).toBe(5);
  expect(await withContext({ a: 1 }, () => Promise.resolve(6))).toBe(6);
  expect(() =>
    withContext({ a: 1 }, () => {
      throw new RangeError("mine");
    }),
  ).toThrow(RangeError);
  expect(currentContext()).toBeUndefined();
});

test("a name that several have is the call's, else the logger's, else the innermost context's", () => {
  const { logger, texts } = rawLines({ caller: "off", base: { e: "base" } });
  const child = logger.child({ b: "logger", c: "logger" });
  withContext({ a: "outer", b: "outer", c: "outer", d: "outer", e: "outer" }, () =>
    withContext({ d: "inner" }, () => child.info("m", { c: "call" })),
  );
  expect(duplicateKeys(texts[0] as string)).toEqual([]);
  expect(JSON.parse(texts[0] as string)).toMatchObject({ a: "outer", b: "logger", c: "call", d: "inner", e: "base" });
});

test("a context inside another adds and replaces, and is gone at its end", () => {
  const { logger, lines } = captureLogs({ caller: "off" });
  withContext({ request_id: "r1", tenant: "a" }, () => {
    withContext({ tenant: "b", user: null, missing: undefined }, () => logger.info("inner"));
    withContext({ tenant: undefined }, () => logger.info("unchanged"));
    withContext(null, () => logger.info("none"));
  });
  expect(lines[0]).toMatchObject({ request_id: "r1", tenant: "b", user: null });
  expect(lines[0]).not.toHaveProperty("missing");
  expect(lines.slice(1)).toMatchObject(Array.from({ length: 2 }, () => ({ request_id: "r1", tenant: "a" })));
});

test("another trace leaves the outer one's span behind", () => {
  const { logger, lines } = captureLogs({ caller: "off" });
  const outer = fromTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "a=1");
  withContext({ ...outer, request_id: "r" }, () => {
    withContext({ trace_id: "t2" }, () => {
      logger.info("another");
      expect(currentContext()).toEqual({ request_id: "r", trace_id: "t2" });
    });
    withContext({ span_id: "s2" }, () => logger.info("the same"));
    logger.withContext({ trace_id: "t3" }).info("the logger's");
  });
  expect(lines[0]).toEqual({
    level: "info",
    time: lines[0]?.time,
    message: "another",
    request_id: "r",
    trace_id: "t2",
  });
  expect(lines[1]).toMatchObject({ trace_id: outer?.trace_id, span_id: "s2", trace_flags: "01" });
  expect(lines[2]).toEqual({
    level: "info",
    time: lines[2]?.time,
    message: "the logger's",
    request_id: "r",
    trace_id: "t3",
  });
});

test("tracestate is carried, and not shown", () => {
  const { logger, lines } = captureLogs({ caller: "off" });
  const context = fromTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "vendor=opaque");
  withContext(context, () => {
    logger.info("m");
    expect(currentContext()?.tracestate).toBe("vendor=opaque");
  });
  expect(Object.keys(lines[0] as object)).toEqual(["level", "time", "message", "trace_id", "span_id", "trace_flags"]);
});

test("currentContext is frozen, and undefined outside", () => {
  expect(currentContext()).toBeUndefined();
  withContext({ a: 1 }, () => {
    expect(currentContext()).toEqual({ a: 1 });
    expect(Object.isFrozen(currentContext())).toBe(true);
  });
});

test("a context is serialised once by each logger, with that logger's redaction and limits", () => {
  const strict = captureLogs({ caller: "off", redact: { keys: ["tenant"] }, maxStringLength: 16 });
  const open = captureLogs({ caller: "off", redact: false });
  const toJSON = vi.fn(() => "shown");
  withContext({ tenant: "acme", password: "p", long: "x".repeat(100), costly: { toJSON } }, () => {
    for (let i = 0; i < 3; i++) {
      strict.logger.info("m");
      strict.logger.child({ i }).info("m");
      open.logger.info("m");
    }
  });
  expect(toJSON).toHaveBeenCalledTimes(2);
  expect(strict.lines).toHaveLength(6);
  for (const line of strict.lines) {
    expect(line).toMatchObject({ tenant: "[redacted]", password: "[redacted]", costly: "shown" });
    expect(line["long"]).toMatch(/^x{16}…\[100 characters\]$/);
  }
  expect(open.lines[2]).toMatchObject({ tenant: "acme", password: "p", long: "x".repeat(100) });
});

test("redact of a pino child hides in the context too", () => {
  const { logger, lines } = captureLogs({ caller: "off" });
  withContext({ tenant: "acme" }, () => logger.pino.child({}, { redact: ["tenant"] }).info("m"));
  expect(lines[0]).toMatchObject({ tenant: "[redacted]" });
});

test("fields that are named as what the line says are shown beside it", () => {
  const { logger, texts } = rawLines({ caller: "off" });
  const fields = { level: "fatal", message: "forged", error: "no error", ["__proto__"]: { polluted: true } };
  withContext(JSON.parse(JSON.stringify(fields)) as object, () => logger.error("m", new Error("real")));
  expect(duplicateKeys(texts[0] as string)).toEqual([]);
  expect(JSON.parse(texts[0] as string)).toMatchObject({
    level: "error",
    message: "m",
    "field.level": "fatal",
    "field.message": "forged",
    "field.error": "no error",
    error: { message: "real" },
  });
  expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
});

test("fields that can't be read throw nothing, and what can is shown", () => {
  const { logger, lines } = captureLogs({ caller: "off" });
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const hostile = {
    good: 1,
    get bad(): never {
      throw new Error("no");
    },
  };
  withContext(hostile, () => logger.info("m"));
  withContext(revoked.proxy, () => logger.info("m"));
  withContext("text" as unknown as object, () => logger.info("m"));
  expect(lines[0]).toMatchObject({ good: 1, bad: "[unreadable]" });
  expect(lines).toHaveLength(3);
});

describe("it holds", () => {
  const marked = async (start: (log: () => void) => unknown): Promise<unknown[]> => {
    const { logger, lines } = captureLogs({ caller: "off" });
    await withContext({ mark: 1 }, () => start(() => logger.info("m")));
    return lines.map((line) => line["mark"]);
  };

  test("in timers, microtasks and after awaits", async () => {
    const found = await marked(async (log) => {
      log();
      await Promise.resolve();
      log();
      queueMicrotask(log);
      process.nextTick(log);
      await new Promise<void>((resolve) => setTimeout(() => resolve(log()), 1));
      await new Promise<void>((resolve) => setImmediate(() => resolve(log())));
    });
    expect(found).toEqual([1, 1, 1, 1, 1, 1]);
  });

  test("in listeners while the event is emitted inside", async () => {
    const emitter = new EventEmitter();
    const found = await marked((log) => {
      emitter.on("event", log);
      emitter.emit("event");
    });
    expect(found).toEqual([1]);
  });

  test("in streams that are made and read inside", async () => {
    const found = await marked(async (log) => {
      const stream = new PassThrough();
      stream.on("data", log);
      setImmediate(() => stream.end("x"));
      await once(stream, "end");
      await pipeline(
        Readable.from([Buffer.from("a")]),
        async function* (source: AsyncIterable<Buffer>) {
          for await (const chunk of source) {
            log();
            yield chunk;
          }
        },
        new PassThrough().resume(),
      );
    });
    expect(found).toEqual([1, 1]);
  });

  test("apart, in work that goes on side by side", async () => {
    const { logger, lines } = captureLogs({ caller: "off" });
    await fc.assert(
      fc.asyncProperty(fc.array(fc.array(fc.nat(3), { maxLength: 4 }), { maxLength: 6 }), async (works) => {
        await Promise.all(
          works.map((pauses, work) =>
            withContext({ work }, async () => {
              for (const pause of pauses) {
                for (let i = 0; i < pause; i++) await Promise.resolve();
                logger.info("m", { by: work });
              }
            }),
          ),
        );
        expect(lines.every((line) => line["work"] === line["by"])).toBe(true);
      }),
    );
    expect(lines.length).toBeGreaterThan(0);
  });
});

test("it is not there in a listener whose event is emitted outside, unless that is bound", async () => {
  const { AsyncResource } = await import("node:async_hooks");
  const emitter = new EventEmitter();
  const { logger, lines } = captureLogs({ caller: "off" });
  withContext({ mark: 1 }, () => {
    emitter.on("event", () => logger.info("plain"));
    emitter.on(
      "event",
      AsyncResource.bind(() => logger.info("bound")),
    );
  });
  emitter.emit("event");
  expect(lines.map(({ message, mark }) => [message, mark])).toEqual([
    ["plain", undefined],
    ["bound", 1],
  ]);
});

test("two copies of the package share it", async () => {
  const first = { withContext, captureLogs };
  vi.resetModules();
  const second = {
    ...(await import("@vg/logging")),
    ...(await import("@vg/logging/testing")),
  };
  expect(second.withContext).not.toBe(first.withContext);
  const ours = first.captureLogs({ caller: "off" });
  const theirs = second.captureLogs({ caller: "off" });
  first.withContext({ a: 1 }, () => {
    second.withContext({ b: 2 }, () => {
      ours.logger.info("m");
      theirs.logger.info("m");
    });
  });
  expect([...ours.lines, ...theirs.lines]).toMatchObject(Array.from({ length: 2 }, () => ({ a: 1, b: 2 })));
});

test("any fields, any nesting: one line of valid JSON, each name once, the nearest one's value", () => {
  const name = fc.constantFrom("a", "b", "trace_id", "span_id", "level", "error", "field.level");
  const fields = fc.dictionary(name, fc.oneof(fc.string(), fc.integer()), { noNullPrototype: true });
  fc.assert(
    fc.property(fields, fields, fields, fields, (outer, inner, own, called) => {
      const { logger, texts } = rawLines({ caller: "off" });
      withContext(outer, () => withContext(inner, () => logger.child(own).info("m", called)));
      expect(texts).toHaveLength(1);
      expect(duplicateKeys(texts[0] as string)).toEqual([]);
      const line = JSON.parse(texts[0] as string) as Record<string, unknown>;
      for (const plain of ["a", "b"]) {
        const nearest = [called, own, inner, outer].find((each) => Object.hasOwn(each, plain));
        expect(line[plain]).toEqual(nearest?.[plain]);
      }
    }),
  );
});

describe("a context that is taken as it is", () => {
  test("is the very object, may change until its first line, and hands its arguments on", () => {
    const { logger, lines } = captureLogs({ caller: "off" });
    const context: Record<string, unknown> = { request_id: "r1", trace_id: "before" };
    const sum = runInContext(
      context,
      (a: number, b: number) => {
        expect(currentContext()).toBe(context);
        context["trace_id"] = "after";
        logger.info("one");
        logger.child({ own: 1 }).info("two");
        return a + b;
      },
      2,
      3,
    );
    expect(sum).toBe(5);
    expect(lines).toMatchObject([
      { request_id: "r1", trace_id: "after" },
      { request_id: "r1", trace_id: "after", own: 1 },
    ]);
  });

  test("is carried by every logger, each by its own rules, and shows what others do", () => {
    const one = rawLines({ caller: "off" });
    const other = rawLines({ caller: "off", redact: { keys: ["tenant"] } });
    const context = { tenant: "acme", tracestate: "a=1", level: "mine", n: 5, [Symbol("s")]: 1 };
    for (let i = 0; i < 2; i++) {
      runInContext(context, () => {
        one.logger.info("m");
        other.logger.info("m");
        withContext({ inner: i }, () => one.logger.info("inner"));
      });
    }
    for (const [text, tenant] of [
      [one.texts[0], "acme"],
      [other.texts[0], "[redacted]"],
      [one.texts[2], "acme"],
    ]) {
      expect(duplicateKeys(text as string)).toEqual([]);
      expect(JSON.parse(text as string)).toMatchObject({ level: "info", tenant, "field.level": "mine", n: 5 });
      expect(text).not.toContain("tracestate");
    }
    expect(one.texts.map((text) => (JSON.parse(text) as { inner?: number }).inner)).toEqual([
      undefined,
      0,
      undefined,
      1,
    ]);
  });

  test("of which a getter throws, it still has its line", () => {
    const { logger, lines } = captureLogs({ caller: "off" });
    const context = {
      ok: "yes",
      get bad(): string {
        throw new Error("no");
      },
    };
    runInContext(context, () => logger.info("m"));
    expect(lines[0]).toMatchObject({ message: "m", ok: "yes" });
  });

  test("whatever it holds, a line carries the same as with a copy of it", () => {
    const name = fc.oneof(
      fc.constantFrom("trace_id", "span_id", "request_id", "level", "err", "token", "tracestate"),
      fc.string(),
    );
    fc.assert(
      fc.property(
        fc.dictionary(name, fc.oneof(fc.string(), fc.integer(), fc.constant(null), fc.object())),
        (fields) => {
          const { logger, texts } = rawLines({ caller: "off", clock: { now: () => 0 } });
          withContext(fields, () => logger.info("m"));
          runInContext({ ...fields }, () => logger.info("m"));
          expect(texts[1]).toBe(texts[0]);
        },
      ),
    );
  });
});
