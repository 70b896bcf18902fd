import { request as httpRequest, type IncomingMessage } from "node:http";
import { once } from "node:events";
import { describe, expect, test } from "vitest";
import { listen } from "../support/server.ts";
import { hooks, KINDS } from "./services.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";

describe.each(KINDS)("$name", ({ make, notFound, route }) => {
  test("answers JSON with JSON", async () => {
    const { url } = await listen(await make(hooks()));
    const response = await fetch(`${url}/echo`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: '{"a":[1,"ü"]}',
    });
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toMatch(/^application\/json/);
    expect(await response.json()).toEqual({ received: { a: [1, "ü"] } });
  });

  test("a HEAD is answered as the GET is, without the body, and the connection serves on", async () => {
    const { url } = await listen(await make(hooks()));
    const head = await fetch(`${url}/text`, { method: "HEAD" });
    expect([head.status, head.headers.get("x-text"), await head.text()]).toEqual([200, "yes", ""]);
    const get = await fetch(`${url}/text`);
    expect([get.headers.get("content-length"), await get.text()]).toEqual(["9", "some text"]);
  });

  test("an answer without a body has none", async () => {
    const { get } = await listen(await make(hooks()));
    const response = await get("/empty");
    expect([response.status, response.headers.get("transfer-encoding"), await response.text()]).toEqual([
      204,
      null,
      "",
    ]);
  });

  test("repeated headers come in joined, of those that may come once the first; cookies go out one by one", async () => {
    const { url } = await listen(await make(hooks()));
    const request = httpRequest(`${url}/headers`, {
      headers: ["host", "h", "x-many", "1", "x-many", "2", "user-agent", "first", "user-agent", "second"],
    }).end();
    const [response] = (await once(request, "response")) as [IncomingMessage];
    let text = "";
    for await (const chunk of response) text += String(chunk);
    expect(JSON.parse(text)).toMatchObject({ "x-many": "1, 2", "user-agent": "first" });
    const cookies = response.headers["set-cookie"] ?? [];
    expect(cookies.map((each) => each.split(";")[0])).toEqual(["a=1", "b=2"]);
  });

  test("its own 404 goes out, and is counted under no path", async () => {
    const { get, logs } = await listen(await make(hooks()));
    const response = await get("/nowhere?secret=1");
    expect(response.status).toBe(404);
    expect(await response.text()).toContain(notFound);
    await expect
      .poll(() => logs.find({ message: "http_request" }))
      .toMatchObject({ path: "/nowhere", status_code: 404 });
    const metrics = await (await get("/metrics")).text();
    expect(metrics).toContain('http_route="other",http_response_status_code="404"');
    expect(metrics).not.toContain("nowhere");
  });

  test("metrics have the route's template, mounted routers included, and never the path", async () => {
    const { get } = await listen(await make(hooks()));
    expect(await (await get("/orgs/acme/items/7")).json()).toEqual({ org: "acme", id: "7" });
    await expect
      .poll(async () => (await get("/metrics")).text())
      .toContain(`http_server_request_duration_seconds_count{http_request_method="GET",http_route="${route}",`);
    expect(await (await get("/metrics")).text()).not.toContain("acme");
  });

  test.each(["/throws", "/rejects"])("a handler that fails (%s) is a 500 without the reason", async (path) => {
    const { get, server } = await listen(await make(hooks()));
    const response = await get(path);
    expect(response.status).toBe(500);
    expect(await response.text()).not.toMatch(/boom|hunter2|at .*\.ts/);
    expect((await get("/text")).status).toBe(200);
    await expect.poll(() => server.getHealth().profiler.error_count).toBe(1);
  });

  test("the reason of a 500 is in the log, under its trace", async () => {
    const { get, logs } = await listen(await make(hooks()));
    await get("/throws", { traceparent: `00-${TRACE}-00f067aa0ba902b7-01` });
    await expect
      .poll(() => logs.find({ message: "The request's handler failed" }))
      .toMatchObject({
        trace_id: TRACE,
        path: "/throws",
        error: { message: expect.stringContaining("boom") as string },
      });
  });

  test("ids come in and go out, and every line of the request has them, after awaits too", async () => {
    const { get, logs } = await listen(await make(hooks()));
    const response = await get("/ids", { traceparent: `00-${TRACE}-00f067aa0ba902b7-01`, "x-request-id": "req-7" });
    expect(response.headers.get("x-request-id")).toBe("req-7");
    expect(await response.json()).toEqual({ before: "req-7", after: "req-7", trace: TRACE });
    const its = { trace_id: TRACE, request_id: "req-7" };
    expect(logs.find({ message: "working" })).toMatchObject(its);
    await expect.poll(() => logs.find({ message: "http_request" })).toMatchObject({ ...its, status_code: 200 });
  });

  test("a client over its rate is answered before it", async () => {
    const { get } = await listen(await make(hooks()), { rateLimitPerSecond: 1, clock: { now: () => 0 } });
    expect((await get("/text")).status).toBe(200);
    const refused = await get("/text");
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"]);
    expect(await refused.json()).toMatchObject({ error: { code: "rate_limit_exceeded", type: "api_error" } });
  });
});
