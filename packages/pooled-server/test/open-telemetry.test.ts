import { context, propagation, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import { W3CTraceContextPropagator } from "@opentelemetry/core";
import { UndiciInstrumentation } from "@opentelemetry/instrumentation-undici";
import { InMemorySpanExporter, SimpleSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { currentRequest, outgoingHeaders } from "@vg/pooled-server";
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from "vitest";
import { ask } from "./support/inference.ts";
import { listen } from "./support/server.ts";
import { startUpstream } from "./support/upstream.ts";

const exporter = new InMemorySpanExporter();
const provider = new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] });

beforeAll(() => {
  trace.setGlobalTracerProvider(provider);
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
});
beforeEach(() => exporter.reset());
afterAll(() => {
  trace.disable();
  context.disable();
  propagation.disable();
});

/** As a service has it that traces its clients, too. */
function instrumentClients(): void {
  const instrumentation = new UndiciInstrumentation();
  instrumentation.setTracerProvider(provider);
  instrumentation.enable();
  onTestFinished(() => instrumentation.disable());
}

const answer = JSON.stringify({
  object: "chat.completion",
  choices: [{ index: 0, message: { role: "assistant", content: "hi" }, finish_reason: "stop" }],
});

/** A server that calls an upstream inside a span, by each way that there is, and the traces that came there. */
async function calling() {
  const arrived: string[][] = [];
  const url = await startUpstream((request, response) => {
    arrived.push(request.headersDistinct["traceparent"] ?? []);
    response.setHeader("content-type", "application/json");
    response.end(answer);
  });
  const running = await listen(async (_request, response) => {
    const { httpPool, inference } = running.server;
    await trace.getTracer("test").startActiveSpan("work", async (span) => {
      await httpPool.get(url);
      await (await fetch(url, { headers: { ...outgoingHeaders() } })).text();
      await inference.complete({ body: ask({ temperature: 0 }), route: "/" }, ({ body, signal, traceparent }) =>
        httpPool.do({
          method: "POST",
          url,
          body: JSON.stringify(body),
          headers: traceparent === undefined ? {} : { traceparent },
          signal,
        }),
      );
      span.end();
    });
    response.end(JSON.stringify(currentRequest()?.traceId));
  });
  return { ...running, arrived };
}

/** From within Node.js' own client, which the instrumentation of the test does not know. */
async function plainGet(url: string): Promise<void> {
  const { get } = await import("node:http");
  await new Promise<void>((resolve, reject) => {
    get(url, (response) => response.resume().on("end", resolve)).on("error", reject);
  });
}

test("where OpenTelemetry's instrumentation sends its traceparent, no call carries a second one", async () => {
  instrumentClients();
  const { url, arrived } = await calling();
  await plainGet(url);
  const spans = exporter.getFinishedSpans();
  const work = spans.find(({ name }) => name === "work")?.spanContext();
  const calls = spans.filter(({ name }) => name !== "work");
  expect(calls.map(({ parentSpanContext }) => parentSpanContext?.spanId)).toEqual([1, 2, 3].map(() => work?.spanId));
  expect(arrived).toEqual(calls.map((call) => [`00-${call.spanContext().traceId}-${call.spanContext().spanId}-01`]));
});

test("without an instrumented client, a call inside a span carries that span, and not nothing", async () => {
  const { url, arrived } = await calling();
  await plainGet(url);
  const [work] = exporter.getFinishedSpans();
  const traceparent = `00-${work?.spanContext().traceId}-${work?.spanContext().spanId}-01`;
  expect(arrived).toEqual([[traceparent], [traceparent], [traceparent]]);
});
