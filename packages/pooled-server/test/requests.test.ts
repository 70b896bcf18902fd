import { request as httpRequest, type ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { currentRequest } from "@vg/pooled-server";
import { expect, test } from "vitest";
import { gate, listen } from "./support/server.ts";

test("the base server answers inside a request context whose log lines share its ids", async () => {
  const { get, logs } = await listen(async (_request, response) => {
    await delay(1);
    currentRequest()?.logger.info("working");
    response.end(currentRequest()?.traceId);
  });
  const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
  const response = await get("/work?token=s3cret", {
    traceparent: `00-${traceId}-00f067aa0ba902b7-01`,
    "x-request-id": "req-7",
  });
  expect(await response.text()).toBe(traceId);
  expect(response.headers.get("x-request-id")).toBe("req-7");
  expect(logs.find({ message: "working" })).toMatchObject({ trace_id: traceId, request_id: "req-7" });
  await expect
    .poll(() => logs.find({ message: "http_request" }))
    .toMatchObject({
      method: "GET",
      path: "/work",
      status_code: 200,
      trace_id: traceId,
      request_id: "req-7",
    });
  expect(JSON.stringify(logs.lines)).not.toContain("s3cret");
});

test("ids that could forge a header or a log line are replaced", async () => {
  const { get } = await listen((_request, response) => response.end(currentRequest()?.traceId));
  const response = await get("/", { "x-request-id": 'a b"c', traceparent: "00-zz-1-01" });
  expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
  expect(await response.text()).toMatch(/^[0-9a-f]{32}$/);
});

test.each<[string, string, (response: ServerResponse) => unknown]>([
  ["says nothing of its head", "r-1", (response) => response.end()],
  ["sets headers", "r-1", (response) => response.setHeader("x-a", "1").end()],
  ["writes a head", "r-1", (response) => response.writeHead(200, { "x-a": "1" }).end()],
  ["writes a head with a reason", "r-1", (response) => response.writeHead(200, "Fine", { "x-a": "1" }).end()],
  ["writes a head of names and values", "r-1", (response) => response.writeHead(200, ["x-a", "1"]).end()],
  ["writes a head of pairs", "r-1", (response) => response.writeHead(200, [["x-a", "1"]] as never).end()],
  ["writes a head without headers", "r-1", (response) => response.writeHead(200).end()],
  ["flushes its head", "r-1", (response) => (response.flushHeaders(), response.end())],
  ["sets an id of its own", "own", (response) => response.setHeader("X-Request-ID", "own").end()],
  ["writes one of its own", "own", (response) => response.writeHead(200, { "X-Request-Id": "own" }).end()],
  ["writes one among names and values", "own", (response) => response.writeHead(200, ["X-Request-Id", "own"]).end()],
  [
    "sets some headers and writes one of its own",
    "own",
    (response) => response.setHeader("x-a", "1").writeHead(200, { "X-Request-Id": "own" }).end(),
  ],
])("the answer of a handler that %s carries the id %s, once", async (_what, id, handler) => {
  const { get } = await listen((_request, response) => handler(response));
  const response = await get("/", { "x-request-id": "r-1" });
  expect(response.status).toBe(200);
  expect(response.headers.get("x-request-id")).toBe(id);
});

test("the server's own answer has its own reason phrase, whatever the handler meant to say", async () => {
  const { get } = await listen((_request, response) => {
    response.statusMessage = "All is well";
    throw new Error("it is not");
  });
  expect(await get("/")).toMatchObject({ status: 500, statusText: "Internal Server Error" });
});

test.each([
  [
    "throws",
    () => {
      throw new Error("boom: password=hunter2");
    },
  ],
  ["rejects", () => Promise.reject(new Error("boom: password=hunter2"))],
])(
  "a handler that %s gives a 500 with the trace id and without the reason, which is in the log",
  async (_name, handler) => {
    const { get, logs, server } = await listen(handler);
    const response = await get("/work");
    expect(response.status).toBe(500);
    const { error } = (await response.json()) as { error: Record<string, string> };
    expect(error).toMatchObject({ code: "internal_error", type: "api_error" });
    expect(error["trace_id"]).toMatch(/^[0-9a-f]{32}$/);
    expect(JSON.stringify(error)).not.toContain("boom");
    expect(logs.find({ message: "The request's handler failed" })).toMatchObject({ trace_id: error["trace_id"] });
    await expect.poll(() => server.getHealth().profiler.error_count).toBe(1);
  },
);

test("a handler that fails in the middle of its answer breaks the connection, so that nobody takes the half for the whole", async () => {
  const { get, logs } = await listen((_request, response) => {
    response.writeHead(200, { "content-length": 100 });
    response.write("half");
    throw new Error("boom");
  });
  await expect(get("/").then((response) => response.text())).rejects.toThrow();
  await expect.poll(() => logs.find({ message: "http_request" })).toMatchObject({ status_code: 500 });
});

test("a client that leaves aborts the request's signal and is logged as 499", async () => {
  const arrived = gate();
  const aborted = gate<unknown>();
  const { url, logs, server } = await listen(() => {
    const { signal } = currentRequest() as { signal: AbortSignal };
    signal.addEventListener("abort", () => aborted.open(signal.reason));
    arrived.open();
  });
  const client = httpRequest(`${url}/slow`)
    .on("error", () => undefined)
    .end();
  await arrived.opened;
  client.destroy();
  expect(String(await aborted.opened)).toContain("client closed the connection");
  await expect.poll(() => logs.find({ message: "http_request" })).toMatchObject({ status_code: 499 });
  expect(server.getHealth().profiler.error_count).toBe(0);
});

test("a client over its rate gets 429 with Retry-After; another client and the probes do not", async () => {
  let now = 0;
  const { get } = await listen((_request, response) => response.end("ok"), {
    rateLimitPerSecond: 2,
    clock: { now: () => now },
  });
  const statuses = async (n: number, headers: Record<string, string> = {}) => {
    const all = [];
    for (let i = 0; i < n; i++) all.push((await get("/", headers)).status);
    return all;
  };
  expect(await statuses(3)).toEqual([200, 200, 429]);
  const refused = await get("/");
  expect(refused.headers.get("retry-after")).toBe("1");
  expect(await refused.json()).toMatchObject({
    error: { code: "rate_limit_exceeded", type: "api_error", retry_after: 1 },
  });
  expect(await statuses(1, { authorization: "Bearer other" })).toEqual([200]);
  expect(await statuses(1, { authorization: "", "x-api-key": "another" })).toEqual([200]);
  expect(await statuses(1, { "x-forwarded-for": "10.0.0.9" })).toEqual([429]);
  expect((await get("/readyz")).status).toBe(200);
  now += 1000;
  expect(await statuses(3)).toEqual([200, 200, 429]);
});

test("made-up credentials are one client where identify says whose credential is good, and an IPv6 network is one", async () => {
  const { get } = await listen((_request, response) => response.end("ok"), {
    rateLimitPerSecond: 1,
    trustedProxies: ["127.0.0.1"],
    clock: { now: () => 0 },
    identify: ({ headers }) => (headers["x-api-key"] === "good" ? "customer" : undefined),
  });
  const from = async (headers: Record<string, string>) => (await get("/", headers)).status;
  expect(await from({ "x-api-key": "a" })).toBe(200);
  expect(await from({ "x-api-key": "b" })).toBe(429);
  expect(await from({ "x-api-key": "good" })).toBe(200);
  expect(await from({ "x-forwarded-for": "2001:db8::1" })).toBe(200);
  expect(await from({ "x-forwarded-for": "2001:db8:0:0:1234::9" })).toBe(429);
  expect(await from({ "x-forwarded-for": "2001:db8:0:1::1" })).toBe(200);
});

test("behind a trusted proxy the forwarded address is the client", async () => {
  const { get } = await listen((_request, response) => response.end("ok"), {
    rateLimitPerSecond: 1,
    trustedProxies: ["127.0.0.0/8"],
    clock: { now: () => 0 },
  });
  const from = async (forwarded: string) => (await get("/", { "x-forwarded-for": forwarded })).status;
  expect(await from("10.0.0.1")).toBe(200);
  expect(await from("10.0.0.1")).toBe(429);
  // The last address that no trusted proxy has counts; what is before it, anybody may have written.
  expect(await from("10.0.0.99, 10.0.0.1")).toBe(429);
  expect(await from("10.0.0.2, 127.0.0.9")).toBe(200);
});

test("where the proxies set Forwarded, that one counts, for the rate limit and in the log", async () => {
  const { get, logs } = await listen((_request, response) => response.end("ok"), {
    rateLimitPerSecond: 1,
    trustedProxies: ["127.0.0.1"],
    forwardedHeader: "forwarded",
    clock: { now: () => 0 },
  });
  const from = async (forwarded: string) => (await get("/", { forwarded, "x-forwarded-for": "6.6.6.6" })).status;
  expect(await from("for=10.0.0.1;proto=https")).toBe(200);
  expect(await from("for=10.0.0.1")).toBe(429);
  expect(await from('for="[2001:db8::1]:4711"')).toBe(200);
  await expect
    .poll(() => logs.filter("http_request").map((line) => line["client_address"]))
    .toEqual(["10.0.0.1", "10.0.0.1", "2001:db8::1"]);
});

test("a keep-alive connection serves on after a refused request with a body", async () => {
  const { url } = await listen(
    async (request, response) => {
      for await (const _ of request) void _;
      response.end("ok");
    },
    { rateLimitPerSecond: 1, clock: { now: () => 0 } },
  );
  const post = () => fetch(url, { method: "POST", body: "x".repeat(100_000) });
  expect((await post()).status).toBe(200);
  expect((await post()).status).toBe(429);
  expect((await fetch(`${url}/readyz`)).status).toBe(200);
});

test("concurrent requests keep their contexts apart", async () => {
  const { get } = await listen(async (_request, response) => {
    const before = currentRequest()?.requestId;
    await delay(Math.random() * 5);
    response.end(JSON.stringify([before, currentRequest()?.requestId]));
  });
  const ids = Array.from({ length: 20 }, (_, i) => `r${i}`);
  const answers = await Promise.all(ids.map(async (id) => (await get("/", { "x-request-id": id })).json()));
  expect(answers).toEqual(ids.map((id) => [id, id]));
});
