import { createServer } from "node:http";
import { createConnection } from "node:net";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import {
  createPooledServer,
  currentRequest,
  LifecycleError,
  ListenError,
  PooledServerConfigError,
} from "@vg/pooled-server";
import { expect, test } from "vitest";
import { gate, listen } from "./support/server.ts";

test("closing lets an active request end, refuses new connections, and is clean", async () => {
  const arrived = gate();
  const mayAnswer = gate();
  const { server, get, url } = await listen(async (_request, response) => {
    arrived.open();
    await mayAnswer.opened;
    response.end("done");
  });
  const states: string[] = [];
  server.onStateChange((state) => states.push(state));
  const answer = get("/slow");
  await arrived.opened;
  const closing = server.close();
  expect(server.state).toBe("draining");
  await expect(fetch(`${url}/new`)).rejects.toThrow();
  mayAnswer.open();
  expect(await (await answer).text()).toBe("done");
  expect(await closing).toMatchObject({ clean: true, stuck: [] });
  expect(states).toEqual(["draining", "closed"]);
  expect(server.close()).toBe(closing);
});

test("a request that does not end is aborted within the deadline, and named", async () => {
  const arrived = gate();
  let reason: unknown;
  const { server, get, logs } = await listen(
    () => {
      const { signal } = currentRequest() as { signal: AbortSignal };
      signal.addEventListener("abort", () => (reason = signal.reason));
      arrived.open();
    },
    { shutdownTimeoutMs: 100 },
  );
  const answer = get("/stuck").catch((error: unknown) => error);
  await arrived.opened;
  const report = await server.close();
  expect(report).toMatchObject({
    clean: false,
    stuck: [expect.stringMatching(/^requests: GET \/stuck \(\d+ ms\) ignored the abort and was cut$/)],
  });
  expect(reason).toBeInstanceOf(LifecycleError);
  expect(await answer).toBeInstanceOf(Error);
  expect(logs.find({ message: "Closed, but not everything ended by itself" })).toMatchObject({ stuck: report.stuck });
});

test("a handler that gives up because the shutdown aborts its signal answers 503, not nothing", async () => {
  const arrived = gate();
  const { server, get, logs } = await listen(
    async () => {
      const { signal } = currentRequest() as { signal: AbortSignal };
      arrived.open();
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
    },
    { shutdownTimeoutMs: 200 },
  );
  const answer = get("/slow");
  await arrived.opened;
  expect(await server.close()).toMatchObject({
    stuck: [expect.stringMatching(/^requests: GET \/slow \(\d+ ms\) was aborted$/)],
  });
  const response = await answer;
  expect([response.status, response.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await response.json()).toMatchObject({ error: { code: "service_unavailable" } });
  expect(logs.find({ message: "http_request" })).toMatchObject({ status_code: 503 });
});

test("an answer that the shutdown cut is logged as the server's 503, not as a client that left", async () => {
  const arrived = gate();
  const { server, get, logs } = await listen(() => arrived.open(), { shutdownTimeoutMs: 100 });
  const answer = get("/stuck").catch(() => undefined);
  await arrived.opened;
  await server.close();
  await answer;
  expect(logs.find({ message: "http_request" })).toMatchObject({ status_code: 503 });
});

test("during the shutdown delay the server still serves, with readiness already off", async () => {
  const { server, get } = await listen((_request, response) => response.end("ok"), { shutdownDelayMs: 300 });
  const closing = server.close();
  expect((await get("/readyz")).status).toBe(503);
  expect((await get("/livez")).status).toBe(200);
  expect((await get("/work")).status).toBe(200);
  await closing;
});

test("what onClose registered runs in reverse order, before the pools close, and a failure stops nothing", async () => {
  const { server } = await listen((_request, response) => response.end());
  const order: string[] = [];
  server.onClose("first", () => void order.push("first"));
  server.onClose("failing", () => {
    order.push("failing");
    throw new Error("disk full");
  });
  const upstream = createServer((_request, response) => response.end("still there"));
  await once(upstream.listen(0, "127.0.0.1"), "listening");
  server.onClose("uses the pool", async () => {
    const answer = await server.httpPool.get(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}/`);
    order.push(await answer.text());
  });
  const report = await server.close();
  upstream.close();
  expect(order).toEqual(["still there", "failing", "first"]);
  expect(report.stuck).toEqual(["failing: disk full"]);
  await expect(server.httpPool.get("http://127.0.0.1:1/")).rejects.toThrow(/closed/i);
});

test("a busy port is an error that names it, and the server can listen elsewhere afterwards", async () => {
  const busy = createServer();
  await once(busy.listen(0, "127.0.0.1"), "listening");
  const { port } = busy.address() as AddressInfo;
  await using server = await createPooledServer((_request, response) => response.end("ok"), { logLevel: "silent" });
  await expect(server.listen(port)).rejects.toThrow(
    new RegExp(`Cannot listen on 127\\.0\\.0\\.1:${port} \\(EADDRINUSE\\)\\. Another process listens there`),
  );
  await expect(server.listen(port)).rejects.toBeInstanceOf(ListenError);
  const { url } = await server.listen(0);
  expect((await fetch(url)).status).toBe(200);
  await expect(server.listen(0)).rejects.toThrow("listens already");
  busy.close();
});

test("listening after the end, or on a port that is none, is refused", async () => {
  const server = await createPooledServer(() => undefined, { logLevel: "silent" });
  await expect(server.listen(70_000)).rejects.toThrow("port must be a whole number from 0 to 65535, got 70000");
  await server.close();
  await expect(server.listen(0)).rejects.toBeInstanceOf(LifecycleError);
});

test("an idle keep-alive connection does not hold up the end", async () => {
  const { server, url } = await listen((_request, response) => response.end("ok"));
  const { hostname, port } = new URL(url);
  const socket = createConnection(Number(port), hostname);
  socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  await once(socket, "data");
  const ended = once(socket.resume(), "close");
  expect((await server.close()).clean).toBe(true);
  await ended;
});

test("a base server that is no function, and every bad option, is refused before anything is opened", async () => {
  await expect(createPooledServer(null as never)).rejects.toThrow(
    "the base server must be a function (request, response), an Express app, a Fastify instance or an object with fetch(request), got null",
  );
  const refused: [object, string][] = [
    [{ dbMaxOpenConns: 0 }, "dbMaxOpenConns must be a whole number from 1 to 100000, got 0"],
    [{ dbMaxOpenConns: 2, dbMaxIdleConns: 3 }, "dbMaxIdleConns must be at most dbMaxOpenConns (2), got 3"],
    [{ inferenceCacheCapacity: -1 }, "inferenceCacheCapacity must be a whole number from 1 to 8388608, got -1"],
    [{ rateLimitPerSecond: NaN }, "rateLimitPerSecond must be a number from 0 to 1000000, got NaN"],
    [{ httpTimeoutMS: 5 }, 'unknown option "httpTimeoutMS". Did you mean httpTimeoutMs?'],
    [{ dbPool: 5 }, "dbPool must be an object of options, got 5"],
    [{ embeddingCacheCapacity: 1e9 }, "embeddingCacheCapacity must be a whole number from 1 to 8388608"],
    [
      { trustedProxies: ["10.0.0.0/8", "proxy"] },
      'trustedProxies has "proxy", which is neither an IP address nor a CIDR range',
    ],
    [{ logLevel: "loud" }, "level must be one of"],
    [{ postgresDsn: "mysql://u:hunter2@h/d" }, "PooledServer:"],
    [{ shutdownDelayMs: 20_000 }, "shutdownDelayMs must be at most shutdownTimeoutMs (10000), got 20000"],
  ];
  for (const [config, message] of refused) {
    const error = await createPooledServer(() => undefined, config).then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error, message).toBeInstanceOf(PooledServerConfigError);
    expect((error as Error).message).toContain(message);
    expect((error as Error).message).not.toContain("hunter2");
  }
});
