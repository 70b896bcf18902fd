import { once } from "node:events";
import type { ServerResponse } from "node:http";
import { createConnection } from "node:net";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { setTimeout as delay } from "node:timers/promises";
import { currentRequest, RequestTimeoutError, type PooledServer, type RequestContext } from "@vg/pooled-server";
import { expect, onTestFinished, test } from "vitest";
import { fakeTime } from "./support/fake-time.ts";
import { gate, listen, type TestServer } from "./support/server.ts";

/** Whatever went wrong: each request is counted once, logged once, and none is left. */
async function allOver({ server, logs, get }: TestServer, requests: number): Promise<void> {
  await expect.poll(() => logs.filter("http_request").length).toBe(requests);
  const text = await (await get("/metrics")).text();
  expect(text).toContain("\nhttp_server_active_requests 0\n");
  const counts = [...text.matchAll(/^http_server_request_duration_seconds_count{.*} (\d+)$/gm)];
  expect(counts.reduce((sum, [, count]) => sum + Number(count), 0)).toBe(requests);
  expect(server.getHealth().metrics.requests_total).toBe(requests);
}

test("a handler that ends its answer twice gives the first one", async () => {
  const running = await listen((_request, response) => {
    response.end("first");
    response.end("second");
  });
  expect(await (await running.get("/")).text()).toBe("first");
  await allOver(running, 1);
  expect(running.logs.filter({ level: "error" })).toHaveLength(0);
});

test("a handler that writes after the end does not end the process: the answer stands, and a line says so", async () => {
  const running = await listen((_request, response) => {
    response.end("whole");
    response.write("more");
    response.write("and more");
  });
  expect(await (await running.get("/")).text()).toBe("whole");
  await expect
    .poll(() => running.logs.find({ level: "warn", path: "/" }))
    .toMatchObject({
      message: "The request's handler wrote after the end of its answer; that was left out",
    });
  expect((await running.get("/livez")).status).toBe(200);
  await allOver(running, 1);
});

test("a second head is the handler's error; the answer that was begun is broken off", async () => {
  const running = await listen((_request, response) => {
    response.writeHead(200, { "content-length": 10 });
    response.write("half");
    response.writeHead(404);
  });
  await expect(running.get("/").then((response) => response.text())).rejects.toThrow();
  expect(running.logs.find("The request's handler failed")).toMatchObject({ error: { code: "ERR_HTTP_HEADERS_SENT" } });
  await allOver(running, 1);
  expect(running.logs.find("http_request")).toMatchObject({ status_code: 500 });
});

test("a handler that throws after its answer leaves the answer whole, and is in the log", async () => {
  const running = await listen(async (_request, response) => {
    response.end("whole".repeat(50_000));
    await Promise.resolve();
    throw new Error("too late");
  });
  expect((await (await running.get("/")).text()).length).toBe(250_000);
  expect(running.logs.find("The request's handler failed after its answer")).toMatchObject({
    error: { message: "too late" },
  });
  await allOver(running, 1);
  expect(running.logs.find("http_request")).toMatchObject({ status_code: 200 });
});

test.each<[string, (source: Readable, response: ServerResponse) => unknown]>([
  ["awaits", (source, response) => pipeline(source, response)],
  ["does not wait for", (source, response) => void pipeline(source, response).catch(() => undefined)],
  ["makes by hand", (source, response) => source.on("error", (error) => response.destroy(error)).pipe(response)],
])("why a pipeline that a handler %s broke off is in the log, once", async (_how, send) => {
  const running = await listen((_request, response) => {
    async function* pieces() {
      yield "half";
      await delay(1);
      throw new Error("The disk is gone");
    }
    return send(Readable.from(pieces()), response);
  });
  await expect(running.get("/file").then((response) => response.text())).rejects.toThrow();
  await allOver(running, 1);
  expect(running.logs.filter({ level: "error" })).toMatchObject([
    { path: "/file", error: { message: "The disk is gone" } },
    { message: "http_request", status_code: 500 },
  ]);
});

test("a client that leaves in the middle of a pipeline is no failure of its handler", async () => {
  const running = await listen((_request, response) => pipeline(Readable.from(endless()), response));
  const response = await running.get("/");
  await response.body?.cancel();
  await allOver(running, 1);
  expect(running.logs.filter({ level: "error" })).toEqual([]);
  expect(running.logs.find("http_request")).toMatchObject({ status_code: 499 });
});

async function* endless() {
  for (;;) {
    await delay(1);
    yield "piece";
  }
}

test("a handler that breaks the connection itself is the server's fault, not the client's", async () => {
  const running = await listen((_request, response) => {
    response.write("half");
    response.destroy();
  });
  await expect(running.get("/").then((response) => response.text())).rejects.toThrow();
  await allOver(running, 1);
  expect(running.logs.find("http_request")).toMatchObject({ status_code: 500 });
});

test("a handler that hangs is told to stop, and its client gets 504", async () => {
  const reasons: unknown[] = [];
  const running = await listen(
    () => {
      const { signal } = currentRequest() as RequestContext;
      signal.addEventListener("abort", () => reasons.push(signal.reason));
    },
    { requestTimeoutMs: 20 },
  );
  const response = await running.get("/hangs");
  expect(response.status).toBe(504);
  expect(await response.json()).toMatchObject({ error: { code: "timeout", type: "api_error" } });
  expect(reasons).toHaveLength(1);
  expect(reasons[0]).toBeInstanceOf(RequestTimeoutError);
  expect(reasons[0]).toMatchObject({ code: "ERR_VG_SERVER_REQUEST_TIMEOUT", timeoutMs: 20 });
  expect(String(reasons[0])).toContain("GET /hangs was not answered within 20 ms (requestTimeoutMs)");
  await allOver(running, 1);
  expect(running.logs.find("http_request")).toMatchObject({ status_code: 504 });
});

test("a handler that gives up at the signal gives 504, and one that answers then is heard", async () => {
  const running = await listen(
    async (request, response) => {
      const { signal } = currentRequest() as RequestContext;
      try {
        await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
      } catch (error) {
        if (request.url === "/gives-up") throw error;
        response.statusCode = 503;
        response.end("my own words");
      }
    },
    { requestTimeoutMs: 20 },
  );
  expect((await running.get("/gives-up")).status).toBe(504);
  const own = await running.get("/answers");
  expect([own.status, await own.text()]).toEqual([503, "my own words"]);
  expect(running.logs.filter({ level: "error", message: "The request's handler failed" })).toHaveLength(0);
  await allOver(running, 2);
});

test("what a handler still tries after its time was up changes nothing", async () => {
  const answered = gate();
  const done = gate();
  const running = await listen(
    async (_request, response) => {
      await answered.opened;
      try {
        response.write("too late");
        response.end();
        response.setHeader("x-late", "1");
      } finally {
        setTimeout(() => done.open(), 5);
      }
    },
    { requestTimeoutMs: 10 },
  );
  expect((await running.get("/")).status).toBe(504);
  answered.open();
  await done.opened;
  await allOver(running, 1);
  expect(running.logs.filter({ message: "The request's handler failed" })).toHaveLength(0);
});

test("an answer that has begun may take its time", async () => {
  const time = fakeTime();
  const begun = gate();
  const goOn = gate();
  const running = await listen(
    async (_request, response) => {
      const { signal } = currentRequest() as RequestContext;
      response.write("begun ");
      begun.open();
      await goOn.opened;
      response.end(signal.aborted ? "aborted" : "and finished");
    },
    { requestTimeoutMs: 20, clock: time.clock },
  );
  const answer = running.get("/");
  await begun.opened;
  await time.advance(60);
  goOn.open();
  expect(await (await answer).text()).toBe("begun and finished");
  await allOver(running, 1);
});

test("requests that wait behind another on a connection that is lost are over, too", async () => {
  const arrived = gate();
  const contexts: RequestContext[] = [];
  const running = await listen((_request, response) => {
    contexts.push(currentRequest() as RequestContext);
    if (contexts.length === 3) arrived.open();
    // The last one has its answer ready, which nobody will ever get.
    if (contexts.length === 3) response.end("ready");
  });
  const { hostname, port } = new URL(running.url);
  const socket = createConnection(Number(port), hostname);
  socket.write(
    "GET /1 HTTP/1.1\r\nhost: x\r\n\r\nGET /2 HTTP/1.1\r\nhost: x\r\n\r\nGET /3 HTTP/1.1\r\nhost: x\r\n\r\n",
  );
  await arrived.opened;
  socket.destroy();
  await once(socket, "close");
  await allOver(running, 3);
  expect(contexts.map(({ signal }) => signal.aborted)).toEqual([true, true, true]);
  expect(running.logs.filter("http_request").map((line) => line["status_code"])).toEqual([499, 499, 499]);
});

test("pipelined requests that are answered leave no listener behind on their connection", async () => {
  const sockets = new Set<{ listenerCount(event: string): number }>();
  const warnings: Error[] = [];
  const warned = (warning: Error): number => warnings.push(warning);
  process.on("warning", warned);
  onTestFinished(() => void process.off("warning", warned));
  const running = await listen(async (request, response) => {
    sockets.add(request.socket);
    await delay(1);
    response.end("ok");
  });
  const { hostname, port } = new URL(running.url);
  const socket = createConnection(Number(port), hostname);
  const answered = gate();
  let received = "";
  socket.on("data", (chunk) => {
    received += chunk.toString();
    if (received.split("HTTP/1.1 200").length === 21) answered.open();
  });
  socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n".repeat(20));
  await answered.opened;
  await allOver(running, 20);
  const [connection] = sockets;
  expect(sockets.size).toBe(1);
  expect(connection?.listenerCount("close")).toBeLessThan(5);
  expect(warnings).toEqual([]);
  socket.destroy();
});

test("the memory of requests that are over can be taken back", async () => {
  const seen: WeakRef<object>[] = [];
  const running: { server: PooledServer } & TestServer = await listen((_request, response) => {
    seen.push(new WeakRef(currentRequest() as object));
    response.end("ok");
  });
  for (let i = 0; i < 50; i++) await (await running.get("/")).text();
  await allOver(running, 50);
  const { setFlagsFromString } = await import("node:v8");
  const { runInNewContext } = await import("node:vm");
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  await expect
    .poll(async () => {
      collect();
      await delay(1);
      return seen.filter((ref) => ref.deref() !== undefined).length;
    })
    .toBeLessThan(5);
});
