import type { IncomingHttpHeaders } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { currentRequest, outgoingHeaders, type PooledServer, type RequestContext } from "@vg/pooled-server";
import fc from "fast-check";
import { expect, test } from "vitest";
import { RandomDigits } from "../src/request/ids.ts";
import { listen } from "./support/server.ts";
import { startUpstream } from "./support/upstream.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT = `00-${TRACE}-00f067aa0ba902b7-00`;

/** A server whose handler calls an upstream through the pool, and what headers came there. */
async function calling(
  call: (server: PooledServer, url: string) => Promise<unknown>,
  config: Parameters<typeof listen>[1] = {},
) {
  const arrived: IncomingHttpHeaders[] = [];
  const upstream = await startUpstream((request, response) => {
    arrived.push(request.headers);
    response.end("{}");
  });
  const running = await listen(async (_request, response) => {
    await delay(1);
    await call(running.server, upstream);
    response.end(JSON.stringify([currentRequest()?.spanId, currentRequest()?.traceparent]));
  }, config);
  return { ...running, arrived, upstream };
}

const ways: [string, (server: PooledServer, url: string) => Promise<unknown>][] = [
  ["get", (server, url) => server.httpPool.get(url)],
  ["do", (server, url) => server.httpPool.do({ url, method: "POST", body: "x", stream: false })],
  ["fetch", async (server, url) => await (await server.httpPool.fetch(url)).text()],
];

test.each(ways)(
  "a call through the pool (%s) carries the request's trace, and the request's span as its parent",
  async (_way, call) => {
    const { get, arrived } = await calling(call);
    const response = await get("/", { traceparent: PARENT, tracestate: "a=1,b=2" });
    const [span, traceparent] = (await response.json()) as [string, string];
    expect(traceparent).toBe(`00-${TRACE}-${span}-00`);
    expect(arrived).toHaveLength(1);
    expect(arrived[0]).toMatchObject({ traceparent, tracestate: "a=1,b=2" });
  },
);

test("without a trace of the client's the server begins one, and passes no tracestate on", async () => {
  const { get, arrived } = await calling((server, url) => server.httpPool.get(url));
  await get("/", { tracestate: "a=1" });
  expect(arrived[0]?.["traceparent"]).toMatch(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/);
  expect(arrived[0]).not.toHaveProperty("tracestate");
});

test("a call that names its own traceparent keeps it, and one outside of a request has none", async () => {
  const own = `00-${"1".repeat(32)}-${"2".repeat(16)}-01`;
  const { get, arrived, server, upstream } = await calling((it, url) =>
    it.httpPool.get(url, { headers: { TraceParent: own } }),
  );
  await get("/", { traceparent: PARENT });
  await server.httpPool.get(upstream);
  expect(outgoingHeaders()).toEqual({});
  expect(arrived[0]?.["traceparent"]).toBe(own);
  expect(arrived[1]).not.toHaveProperty("traceparent");
});

test.each([
  ["a record", { "X-Own": "1", "user-agent": "me" }],
  [
    "pairs",
    [
      ["x-own", "1"],
      ["user-agent", "me"],
    ] as const,
  ],
  ["a function", () => ({ "x-own": "1", "user-agent": "me" })],
])("headers that the pool is configured with as %s are sent beside the trace", async (_kind, headers) => {
  const { get, arrived } = await calling((server, url) => server.httpPool.get(url), { httpPool: { headers } });
  await get("/", { traceparent: PARENT });
  expect(arrived[0]).toMatchObject({ "x-own": "1", "user-agent": "me" });
  expect(arrived[0]?.["traceparent"]).toContain(TRACE);
});

test("every line that is written on behalf of a request carries its ids, whichever logger wrote it", async () => {
  const { get, logs } = await listen(async (_request, response) => {
    logs.logger.info("at once");
    await delay(1);
    logs.logger.withFields({ part: "x" }).warn("after a while");
    setImmediate(() => {
      logs.logger.info("later");
      response.end();
    });
  });
  await get("/", { traceparent: PARENT, tracestate: "a=1", "x-request-id": "r-1" });
  await expect.poll(() => logs.find("http_request")).toBeDefined();
  for (const message of ["at once", "after a while", "later", "http_request"]) {
    expect(logs.find(message)).toMatchObject({ trace_id: TRACE, request_id: "r-1" });
    expect(logs.find(message)).not.toHaveProperty("tracestate");
  }
  expect(new Set(logs.filter({ trace_id: TRACE }).map((line) => line["span_id"])).size).toBe(1);
  logs.logger.info("outside");
  expect(logs.find("outside")).not.toHaveProperty("trace_id");
});

test("a request that joins another trace has that trace in all its lines and calls", async () => {
  const { get, logs, arrived } = await calling(async (server, url) => {
    const context = currentRequest() as RequestContext;
    expect(context.joinTrace("nonsense")).toBe(false);
    expect(context.joinTrace(` ${PARENT} `, "c=3")).toBe(true);
    server.logger.info("by the server's logger");
    context.logger.info("by its own");
    await server.httpPool.get(url);
  });
  await get("/");
  await expect.poll(() => logs.find("http_request")).toMatchObject({ trace_id: TRACE });
  expect(logs.find("by the server's logger")).toMatchObject({ trace_id: TRACE });
  expect(logs.find("by its own")).toMatchObject({ trace_id: TRACE });
  expect(arrived[0]).toMatchObject({ tracestate: "c=3" });
  expect(arrived[0]?.["traceparent"]).toContain(TRACE);
});

test("a trace is sent on with the flags and as much of the state as the specification allows", async () => {
  const { get, arrived } = await calling(async (server, url) => void (await server.httpPool.get(url)));
  const send = async (flags: string, tracestate: string): Promise<Record<string, unknown>> => {
    await get("/", { traceparent: `00-${TRACE}-00f067aa0ba902b7-${flags}`, tracestate });
    return arrived.at(-1) as Record<string, unknown>;
  };
  expect((await send("ff", "a=1"))["traceparent"]).toMatch(/-03$/);
  expect((await send("08", "a=1"))["traceparent"]).toMatch(/-00$/);
  expect(await send("01", `long=${"x".repeat(500)},a=1,b=2`)).toMatchObject({ tracestate: "a=1,b=2" });
  const many = Array.from({ length: 40 }, (_, i) => `k${i}=1`);
  expect(await send("01", many.join(","))).toMatchObject({ tracestate: many.slice(0, 32).join(",") });
  const wide = Array.from({ length: 10 }, (_, i) => `k${i}=${"x".repeat(100)}`);
  expect(await send("01", wide.join(", "))).toMatchObject({ tracestate: wide.slice(0, 4).join(",") });
  expect(await send("01", `long=${"x".repeat(600)}`)).not.toHaveProperty("tracestate");
});

test("a state that can be no header is not sent on, and the one before it neither", async () => {
  const { get, arrived } = await calling(async (server, url) => {
    (currentRequest() as RequestContext).joinTrace(PARENT, "c=3\r\nx-injected: yes");
    await server.httpPool.get(url);
    await fetch(url, { headers: outgoingHeaders() });
  });
  expect((await get("/", { traceparent: PARENT, tracestate: "a=1" })).status).toBe(200);
  expect(arrived).toHaveLength(2);
  for (const headers of arrived) expect(headers).not.toHaveProperty("tracestate");
});

test("ids are of the right form, and no two are the same, over many refills of the pool of random bytes", () => {
  const seen = new Set<string>();
  for (let i = 0; i < 20_000; i++) {
    const { traceId, spanId, uuid } = new RandomDigits();
    expect(traceId).toMatch(/^[0-9a-f]{32}$/);
    expect(spanId).toMatch(/^[0-9a-f]{16}$/);
    expect(uuid).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    seen.add(traceId).add(spanId).add(uuid);
  }
  expect(seen.size).toBe(60_000);
});

test("whatever a client sends as its ids, the request has valid ones", async () => {
  const { url } = await listen((_request, response) => {
    const { requestId, traceparent } = currentRequest() as RequestContext;
    response.end(JSON.stringify({ requestId, traceparent }));
  });
  const header = fc.oneof(
    fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)), maxLength: 200 }),
    fc.constantFrom(PARENT, `${PARENT}-x`, PARENT.toUpperCase(), `ff${PARENT.slice(2)}`),
  );
  await fc.assert(
    fc.asyncProperty(header, header, header, async (id, traceparent, tracestate) => {
      const headers = { "x-request-id": id.trim(), traceparent: traceparent.trim(), tracestate: tracestate.trim() };
      const response = await fetch(url, { headers });
      const said = (await response.json()) as { requestId: string; traceparent: string };
      expect(said.requestId).toMatch(/^[\w.:-]{1,128}$/);
      expect(response.headers.get("x-request-id")).toBe(said.requestId);
      expect(said.traceparent).toMatch(/^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/);
    }),
    { numRuns: 50 },
  );
});

test.each([
  ["01", true],
  ["00", false],
])("a request of a trace with the flags %s is an exemplar beside its duration: %s", async (flags, shown) => {
  const { get } = await listen((_request, response) => response.end());
  await get("/", { traceparent: `00-${TRACE}-00f067aa0ba902b7-${flags}` });
  await get("/");
  const text = await (await get("/metrics", { accept: "application/openmetrics-text; version=1.0.0" })).text();
  expect(text.includes(`trace_id="${TRACE}"`)).toBe(shown);
  expect([...text.matchAll(/^http_server_request_duration_seconds_bucket.* # \{/gm)]).toHaveLength(shown ? 1 : 0);
});
