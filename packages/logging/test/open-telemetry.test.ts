import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { context, INVALID_SPAN_CONTEXT, trace, type Span } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { AlwaysOffSampler, TracerProvider } from "@opentelemetry/sdk-trace";
import { activeSpanContext, withContext } from "@vg/logging";
import { captureLogs } from "@vg/logging/testing";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { duplicateKeys } from "./support/duplicate-keys.ts";
import { rawLines } from "./support/raw-lines.ts";
import { ended, parseLines } from "./support/run.ts";

const idsOf = (span: Span) => {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return { trace_id: traceId, span_id: spanId, trace_flags: traceFlags === 1 ? "01" : "00" };
};
const inSpan = <T>(fn: (span: Span) => T): T =>
  trace.getTracer("test").startActiveSpan("work", (span) => {
    try {
      return fn(span);
    } finally {
      span.end();
    }
  });

function registerSdk(provider = new TracerProvider()): void {
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(provider);
}
afterEach(() => {
  context.disable();
  trace.disable();
});

test("the ids of the active span can be asked for", () => {
  expect(inSpan(() => activeSpanContext())).toBeUndefined();
  registerSdk();
  expect(activeSpanContext()).toBeUndefined();
  inSpan((span) => expect(activeSpanContext()).toEqual(idsOf(span)));
  context.with(trace.setSpanContext(context.active(), INVALID_SPAN_CONTEXT), () => {
    expect(activeSpanContext()).toBeUndefined();
  });
});

test("without an SDK, lines carry nothing of it", () => {
  const { logger, lines } = captureLogs({ caller: "off" });
  inSpan(() => logger.info("m"));
  expect(Object.keys(lines[0] as object)).toEqual(["level", "time", "message"]);
});

test("a logger that was there first sees an SDK that is registered later, and one that is taken away", () => {
  const { logger, lines } = captureLogs({ caller: "off" });
  logger.info("before");
  registerSdk();
  const ids = inSpan((span) => {
    logger.info("in it");
    return idsOf(span);
  });
  context.disable();
  inSpan(() => logger.info("after"));
  expect(lines[0]).not.toHaveProperty("trace_id");
  expect(lines[1]).toMatchObject(ids);
  expect(lines[2]).not.toHaveProperty("trace_id");
});

describe("with an SDK", () => {
  beforeEach(() => registerSdk());

  test("every line in a span has its ids after the message, and each name once", () => {
    const { logger, texts } = rawLines({ caller: "off", clock: { now: () => 0 } });
    const child = logger.child({ a: 1 });
    const { trace_id, span_id } = inSpan((span) => {
      child.info("ours", { b: 2 });
      child.pino.info({ b: 2 }, "pino's");
      child.logHttpRequest("GET", "/", 200, 1);
      return idsOf(span);
    });
    const ids = `"trace_id":"${trace_id}","span_id":"${span_id}","trace_flags":"01"`;
    const start = (message: string): string =>
      `{"level":"info","time":"1970-01-01T00:00:00.000Z","message":"${message}",${ids},"a":1`;
    expect(texts[0]).toBe(`${start("ours")},"b":2}\n`);
    expect(texts[1]).toBe(`${start("pino's")},"b":2}\n`);
    expect(texts[2]).toMatch(start("http_request"));
  });

  test("each span's lines have that span's ids, across awaits and in spans inside spans", async () => {
    const { logger, lines } = captureLogs({ caller: "off" });
    const work = (name: string): Promise<object> =>
      inSpan(async (outer) => {
        await new Promise((resolve) => setImmediate(resolve));
        logger.info(name);
        const inner = inSpan((span) => {
          logger.info(`${name} inner`);
          return idsOf(span);
        });
        await Promise.resolve();
        logger.info(`${name} again`);
        return { outer: idsOf(outer), inner };
      });
    const all = (await Promise.all([work("a"), work("b")])) as { outer: object; inner: object }[];
    for (const [i, name] of ["a", "b"].entries()) {
      const found = lines.filter(({ message }) => message.startsWith(name));
      expect(found).toMatchObject([all[i]?.outer, all[i]?.inner, all[i]?.outer]);
    }
    logger.info("outside");
    expect(lines.at(-1)).not.toHaveProperty("trace_id");
  });

  test("an explicit context wins with all that belongs to its trace: of the call, the logger, or withContext", () => {
    const { logger, lines } = captureLogs({ caller: "off" });
    inSpan(() => {
      withContext({ trace_id: "t", request_id: "r" }, () => logger.info("context"));
      logger.withContext({ trace_id: "t", span_id: "s" }).info("logger");
      logger.info("call", { trace_id: "t" });
      withContext({ request_id: "r" }, () => logger.info("no trace of its own"));
    });
    expect(lines[0]).toEqual({
      level: "info",
      time: lines[0]?.time,
      message: "context",
      trace_id: "t",
      request_id: "r",
    });
    expect(lines[1]).toEqual({ level: "info", time: lines[1]?.time, message: "logger", trace_id: "t", span_id: "s" });
    expect(lines[2]).toMatchObject({ trace_id: "t" });
    expect(Object.keys(lines[3] as object)).toEqual([
      "level",
      "time",
      "message",
      "trace_id",
      "span_id",
      "trace_flags",
      "request_id",
    ]);
  });

  test("with openTelemetry off, lines carry nothing of it", () => {
    const { logger, lines } = captureLogs({ caller: "off", openTelemetry: "off" });
    inSpan(() => logger.info("m"));
    expect(Object.keys(lines[0] as object)).toEqual(["level", "time", "message"]);
  });

  test("an invalid span, or something that is none, adds nothing and harms nothing", () => {
    const { logger, lines } = captureLogs({ caller: "off" });
    const throwing = {
      spanContext: () => {
        throw new Error("no");
      },
    };
    const odd = { spanContext: () => ({ traceId: '","forged":"', spanId: 5, traceFlags: "x" }) };
    for (const span of [trace.wrapSpanContext(INVALID_SPAN_CONTEXT), throwing, odd, {}, 5]) {
      context.with(trace.setSpan(context.active(), span as Span), () => logger.info("m"));
    }
    expect(lines).toHaveLength(5);
    for (const line of lines) expect(Object.keys(line)).toEqual(["level", "time", "message"]);
  });

  test("the ids of a remote parent are shown as they came", () => {
    const { logger, lines } = captureLogs({ caller: "off" });
    const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
    const remote = trace.wrapSpanContext({ traceId, spanId: "00f067aa0ba902b7", traceFlags: 3, isRemote: true });
    context.with(trace.setSpan(context.active(), remote), () => logger.info("m"));
    expect(lines[0]).toMatchObject({ trace_id: traceId, span_id: "00f067aa0ba902b7", trace_flags: "03" });
  });
});

test("a span that is not sampled has its ids all the same", () => {
  registerSdk(new TracerProvider({ sampler: new AlwaysOffSampler() }));
  const { logger, lines } = captureLogs({ caller: "off" });
  const ids = inSpan((span) => {
    logger.info("m");
    return idsOf(span);
  });
  expect(lines[0]).toMatchObject({ ...ids, trace_flags: "00" });
});

test("a context manager that throws costs the ids, not the line", () => {
  context.setGlobalContextManager({
    active: () => {
      throw new Error("no");
    },
    disable: () => undefined,
  } as unknown as AsyncLocalStorageContextManager);
  const { logger, lines } = captureLogs({ caller: "off" });
  logger.info("m");
  expect(lines[0]).toMatchObject({ message: "m" });
});

describe("with pino's instrumentation loaded too", () => {
  const register = new URL("programs/open-telemetry/register.mjs", import.meta.url);
  const program = new URL("programs/open-telemetry/instrumented.ts", import.meta.url);
  const run = async (option: string) => {
    const child = spawn(process.execPath, [
      "--conditions=@vg/source",
      `--import=${register.href}`,
      fileURLToPath(program),
      option,
    ]);
    const { code, stdout, stderr } = await ended(child);
    expect(stderr).toBe("");
    expect(code).toBe(0);
    const texts = stdout.trimEnd().split("\n");
    expect(texts.flatMap(duplicateKeys)).toEqual([]);
    const lines = parseLines(stdout);
    const line = (message: string) => lines.find((each) => each["message"] === message) ?? {};
    const { traceId, spanId } = line("span");
    return { line, texts, ids: { trace_id: traceId, span_id: spanId, trace_flags: "01" } };
  };

  test("names are not twice, keep their place, and give way to an explicit context", async () => {
    const { line, texts, ids } = await run("auto");
    // The instrumentation does work: this line is pino's own.
    expect(texts.map((text) => JSON.parse(text) as object)).toContainEqual(
      expect.objectContaining({ ...ids, msg: "pino's own" }),
    );
    expect(Object.keys(line("ours"))).toEqual([
      "level",
      "time",
      "message",
      "trace_id",
      "span_id",
      "trace_flags",
      "user",
    ]);
    expect(line("ours")).toMatchObject({ ...ids, user: 7 });
    expect(line("by pino")).toMatchObject({ ...ids, user: 8 });
    expect(line("failed")).toMatchObject({ ...ids, error: { message: "boom" } });
    expect(Object.keys(line("explicit"))).toEqual(["level", "time", "message", "trace_id"]);
    expect(line("outside")).not.toHaveProperty("trace_id");
  });

  test("with ours off, the instrumentation alone adds them", async () => {
    const { line, ids } = await run("off");
    expect(line("ours")).toMatchObject({ ...ids, user: 7 });
    expect(line("outside")).not.toHaveProperty("trace_id");
  });

  test("the instrumentation sends our lines to OpenTelemetry's logs as it sends pino's", async () => {
    const { line } = await run("auto");
    expect(line("sent")["logs"]).toEqual([
      ["span", "info"],
      ["pino's own", "info"],
      ["ours", "info"],
      ["by pino", "info"],
      ["explicit", "info"],
      ["failed", "error"],
      ["outside", "info"],
    ]);
  });
});
