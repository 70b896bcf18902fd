import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import type { RequestContext } from "@vg/pooled-server";
import { describe, expect, test } from "vitest";
import { wire } from "../support/wire.ts";
import { gate, listen } from "../support/server.ts";
import { hooks, KINDS } from "./services.ts";

describe.each(KINDS)("$name", ({ make }) => {
  test("a client that leaves while it waits aborts the request's signal, and is logged as 499", async () => {
    const started = gate<RequestContext>();
    const { url, logs, server } = await listen(await make({ ...hooks(), onStart: started.open }));
    const request = httpRequest(`${url}/wait`).on("error", () => undefined);
    request.end();
    const { signal } = await started.opened;
    const aborted = once(signal, "abort");
    request.destroy();
    await aborted;
    expect(String(signal.reason)).toContain("client closed the connection");
    await expect.poll(() => logs.find({ message: "http_request" })).toMatchObject({ path: "/wait", status_code: 499 });
    expect(server.getHealth().profiler.error_count).toBe(0);
    expect(logs.find({ level: "error" })).toBeUndefined();
  });

  test("a client that leaves a stream stops its producer, and is logged as 499", async () => {
    const stopped = gate();
    const { url, logs } = await listen(await make({ ...hooks(), onStopped: () => stopped.open() }));
    const request = httpRequest(`${url}/forever`).on("error", () => undefined);
    request.end();
    const [response] = (await once(request, "response")) as [IncomingMessage];
    await once(
      response.on("error", () => undefined),
      "data",
    );
    request.destroy();
    await stopped.opened;
    await expect
      .poll(() => logs.find({ message: "http_request" }))
      .toMatchObject({ path: "/forever", status_code: 499 });
  });

  test("an answer that fails in its middle breaks its connection, and is not taken for whole", async () => {
    const { get } = await listen(await make(hooks()));
    await expect(get("/breaks").then((response) => response.text())).rejects.toThrow();
    expect(await (await get("/text")).text()).toBe("some text");
  });

  test("closing lets a request end, refuses connections, and is clean", async () => {
    const started = gate<RequestContext>();
    const { server, get, url } = await listen(await make({ ...hooks(), onStart: started.open }), {
      shutdownTimeoutMs: 5_000,
    });
    const answer = get("/events").then((response) => response.text());
    await started.opened;
    const closing = server.close();
    await expect(fetch(`${url}/text`)).rejects.toThrow();
    expect(await answer).toContain("data: 2");
    expect(await closing).toMatchObject({ clean: true, stuck: [] });
  });

  test("a request that outlasts the shutdown is aborted and named", async () => {
    const started = gate<RequestContext>();
    const { server, get, logs } = await listen(await make({ ...hooks(), onStart: started.open }), {
      shutdownTimeoutMs: 200,
    });
    const answer = get("/wait").catch((error: unknown) => error);
    const { signal } = await started.opened;
    const report = await server.close();
    expect(report.stuck).toEqual([expect.stringMatching(/^requests: GET \/wait \(\d+ ms\) was aborted$/)]);
    expect(signal.aborted).toBe(true);
    await answer;
    expect(logs.find({ message: "http_request" })?.["status_code"]).toBeGreaterThanOrEqual(500);
  });

  test("a request that comes while the server drains is refused before it, and its connection ends", async () => {
    const started = gate<RequestContext>();
    const { server, get, url } = await listen(await make({ ...hooks(), onStart: started.open }), {
      shutdownTimeoutMs: 500,
    });
    const held = get("/wait").catch(() => undefined);
    await started.opened;
    const { socket, until, closed } = await wire(url);
    socket.write("GET /text HTTP/1.1\r\n");
    // The server has the half of the head when it has answered a request that came after it.
    await get("/text");
    const closing = server.close();
    socket.write("host: h\r\n\r\n");
    const text = await until('"service_unavailable"');
    expect(text).toMatch(/^HTTP\/1\.1 503 /);
    expect(text.toLowerCase()).toContain("retry-after: 1");
    await closed;
    await closing;
    await held;
  });
});
