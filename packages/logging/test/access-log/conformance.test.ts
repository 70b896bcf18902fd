import { EventEmitter, once } from "node:events";
import { describe, expect, test } from "vitest";
import { captureLogs } from "@vg/logging/testing";
import { ask, KINDS, rawClient, start } from "./servers.ts";

/** Settles when a second request has its line: a first one that were to have two would have had them by then. */
const only = async (running: Awaited<ReturnType<typeof start>>) => {
  await running.log.requests(1);
  await ask(running, "/users/last");
  const lines = await running.log.requests(2);
  expect(lines).toHaveLength(2);
  expect(running.access.getStats().in_flight).toBe(0);
  return lines[0] as Record<string, unknown>;
};

describe.each(KINDS)("$name", (kind) => {
  test("a request has one line that says what it was", async () => {
    await using running = await start(kind, { requestHeaders: ["accept"], responseHeaders: ["content-type", "etag"] });
    const headers = {
      accept: "text/plain",
      "user-agent": "suite/1",
      "x-request-id": "req-7",
      traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    };
    const answer = await ask(running, "/users/17?page=2&api_key=s3cr3t&next=postgres%3A%2F%2Fu%3As3cr3t%40h", {
      headers,
    });
    expect(answer).toMatchObject({ status: 200, body: "user 17" });
    const line = await only(running);
    expect(line).toMatchObject({
      level: "info",
      message: "http_request",
      method: "GET",
      path: "/users/17",
      status_code: 200,
      request_id: "req-7",
      trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
      span_id: "00f067aa0ba902b7",
      query: "page=2&api_key=[redacted]&next=[redacted]",
      request_bytes: 0,
      response_bytes: 7,
      client_address: "127.0.0.1",
      user_agent: "suite/1",
      http_version: "1.1",
      request_headers: { accept: "text/plain" },
    });
    expect(line["latency_ms"]).toBeGreaterThanOrEqual(line["ttfb_ms"] as number);
    expect(line["route"]).toBe(kind.isFramework ? "/users/:id" : undefined);
    expect(line).not.toHaveProperty("aborted");
    expect(line).not.toHaveProperty("caller");
    expect(JSON.stringify(line)).not.toContain("s3cr3t");
  });

  test("a path that nobody has is a warning without a route", async () => {
    await using running = await start(kind);
    await ask(running, "/nobody/has/this");
    const line = await only(running);
    expect(line).toMatchObject({ level: "warn", status_code: 404, path: "/nobody/has/this" });
    expect(line).not.toHaveProperty("route");
  });

  test("an answer in pieces is counted without its framing", async () => {
    await using running = await start(kind);
    expect((await ask(running, "/stream")).body).toBe("onezweidrei!");
    expect(await only(running)).toMatchObject({ status_code: 200, response_bytes: 12 });
  });

  test("the body of a request is counted, with a length and in chunks", async () => {
    await using running = await start(kind);
    const type = { "content-type": "application/octet-stream" };
    expect((await ask(running, "/echo", { method: "POST", body: "12345", headers: type })).body).toBe("5");
    const chunked = { ...type, "transfer-encoding": "chunked" };
    expect((await ask(running, "/echo", { method: "POST", body: "1234567", headers: chunked })).body).toBe("7");
    expect((await running.log.requests(2)).map((line) => line["request_bytes"])).toEqual([5, 7]);
  });

  test("HEAD, 204 and 304 have no body, whatever the handler wrote", async () => {
    await using running = await start(kind);
    await ask(running, "/stream", { method: "HEAD" });
    await ask(running, "/empty");
    await ask(running, "/unchanged");
    const lines = await running.log.requests(3);
    expect(lines.map((line) => [line["method"], line["status_code"], line["response_bytes"]])).toEqual([
      ["HEAD", 200, 0],
      ["GET", 204, 0],
      ["GET", 304, 0],
    ]);
  });

  test("answers on the way, 1xx, are not the answer", async () => {
    await using running = await start(kind);
    expect((await ask(running, "/hints")).body).toBe("hinted");
    expect(await only(running)).toMatchObject({ status_code: 200, response_bytes: 6 });
  });

  test("a failure of the server is an error", async () => {
    await using running = await start(kind);
    await ask(running, "/broken");
    expect(await only(running)).toMatchObject({ level: "error", status_code: 503, response_bytes: 5 });
  });

  test.runIf(kind.isFramework)("what a handler throws is in the line", async () => {
    await using running = await start(kind);
    expect((await ask(running, "/throws")).status).toBe(500);
    expect(await only(running)).toMatchObject({
      level: "error",
      status_code: 500,
      route: "/throws",
      error: { type: "Error", message: "thrown by the handler" },
    });
  });

  test.runIf(kind.isFramework)(
    "the route of a router in another has both templates, and no value of a parameter",
    async () => {
      await using running = await start(kind);
      expect((await ask(running, "/orgs/acme/users/5")).body).toBe("user 5");
      expect((await only(running))["route"]).toBe("/orgs/:org/users/:id");
    },
  );

  test("a client that leaves in the middle is 499 and aborted", async () => {
    await using running = await start(kind);
    const client = await rawClient(running, "GET /hang HTTP/1.1\r\nhost: x\r\n\r\n");
    await once(client, "data");
    client.destroy();
    const line = await only(running);
    expect(line).toMatchObject({ level: "warn", status_code: 499, aborted: true, response_bytes: 5 });
    expect(running.access.getStats().aborted_total).toBe(1);
  });

  test("a client that leaves before anything was sent is 499, without a first byte", async () => {
    const hanging = new EventEmitter();
    await using running = await start(kind, {}, { onHang: () => hanging.emit("hang") });
    const hung = once(hanging, "hang");
    const client = await rawClient(running, "GET /silent HTTP/1.1\r\nhost: x\r\n\r\n");
    await hung;
    client.resetAndDestroy();
    const line = await only(running);
    expect(line).toMatchObject({ status_code: 499, aborted: true, response_bytes: 0 });
    expect(line).not.toHaveProperty("ttfb_ms");
  });

  test("an answer that the server itself destroys is 500 and aborted", async () => {
    await using running = await start(kind);
    await expect(ask(running, "/destroy")).rejects.toThrow();
    expect(await only(running)).toMatchObject({ level: "error", status_code: 500, aborted: true, response_bytes: 4 });
  });

  test("what is written after the end is not counted", async () => {
    await using running = await start(kind);
    expect((await ask(running, "/after-end")).body).toBe("done");
    expect(await only(running)).toMatchObject({ status_code: 200, response_bytes: 4 });
  });

  test("requests in a pipeline have a line each, also those that wait when the client leaves", async () => {
    const hanging = new EventEmitter();
    await using running = await start(kind, {}, { onHang: () => hanging.emit("hang") });
    const hung = once(hanging, "hang");
    const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`;
    const client = await rawClient(running, get("/users/1") + get("/users/2") + get("/stream"));
    await running.log.requests(3);
    client.write(get("/hang") + get("/users/3") + get("/users/4"));
    await hung;
    // The answers that wait have been written by their handlers when another connection has been served.
    await ask(running, "/users/other");
    client.destroy();
    const lines = await running.log.requests(7);
    const told = lines.map((line) => `${String(line["path"])} ${String(line["status_code"])}`);
    expect(told.toSorted()).toEqual([
      "/hang 499",
      "/stream 200",
      "/users/1 200",
      "/users/2 200",
      "/users/3 499",
      "/users/4 499",
      "/users/other 200",
    ]);
    expect(running.access.getStats().in_flight).toBe(0);
  });

  test("a connection that is kept alive gathers no listeners", async () => {
    const sockets = new Set<NodeJS.EventEmitter>();
    await using running = await start(kind);
    running.server.on("connection", (socket) => sockets.add(socket));
    const client = await rawClient(running, "");
    client.resume();
    for (let i = 1; i <= 30; i++) {
      client.write("GET /users/1 HTTP/1.1\r\nhost: x\r\n\r\n");
      await running.log.requests(i);
    }
    expect(sockets.size).toBe(1);
    const [socket] = sockets;
    expect(socket?.listenerCount("close")).toBeLessThan(8);
    client.destroy();
  });

  test("lines of a request carry its ids by its own logger", async () => {
    await using running = await start(kind, {}, { onLog: (logger) => logger.info("inside") });
    await ask(running, "/log", { headers: { "x-request-id": "abc" } });
    await only(running);
    expect(running.log.lines.find((line) => line["message"] === "inside")).toMatchObject({ request_id: "abc" });
  });

  test("lines of any logger carry its ids and its trace, but where the access log is only attached", async () => {
    const { logger: other, lines } = captureLogs();
    const onLog = (): void => void Promise.resolve().then(() => other.info("elsewhere"));
    await using running = await start(kind, {}, { onLog });
    const traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    await ask(running, "/log", { headers: { "x-request-id": "abc", traceparent } });
    const ids = {
      request_id: "abc",
      trace_id: "4bf92f3577b34da6a3ce929d0e0e4736",
      span_id: "00f067aa0ba902b7",
      trace_flags: "01",
    };
    const line = await only(running);
    expect(line).toMatchObject(ids);
    expect(Object.keys(line).filter((name) => name.startsWith("field."))).toEqual([]);
    const { level: _level, time: _time, message, ...carried } = lines[0]!;
    expect(message).toBe("elsewhere");
    expect(carried).toEqual(kind.name.includes("attached") ? {} : ids);
  });

  test("an id that is no harmless one is replaced, and the answer tells it if that is wanted", async () => {
    await using running = await start(kind, { echoRequestId: true });
    const answer = await ask(running, "/users/1", { headers: { "x-request-id": "a b<script>" } });
    const line = await only(running);
    expect(line["request_id"]).toMatch(/^[0-9a-f-]{36}$/);
    expect(answer.headers["x-request-id"]).toBe(line["request_id"]);
  });

  test("a skipped request has no line", async () => {
    await using running = await start(kind, { skip: ({ path }) => path === "/users/probe" });
    await ask(running, "/users/probe");
    await ask(running, "/users/1");
    expect((await running.log.requests(1)).map((line) => line["path"])).toEqual(["/users/1"]);
    expect(running.access.getStats()).toMatchObject({ requests_total: 2, skipped_total: 1 });
  });
});
