import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, createConnection, createServer as createNetServer } from "node:net";
import { captureLogs } from "@vg/logging/testing";
import {
  createPooledServer,
  currentRequest,
  LifecycleError,
  ListenError,
  PooledServer,
  PooledServerConfigError,
} from "@vg/pooled-server";
import { expect, onTestFinished, test } from "vitest";
import { fakeTime } from "./support/fake-time.ts";
import { freePort, gate, listen } from "./support/server.ts";

const silent = { logLevel: "silent" } as const;
const hello = (_: unknown, response: { end(text: string): unknown }): void => void response.end("hello");

test("the deadline counts from close(), the delay included", async () => {
  const time = fakeTime();
  const server = await createPooledServer(hello, {
    ...silent,
    clock: time.clock,
    shutdownDelayMs: 400,
    shutdownTimeoutMs: 1_000,
  });
  await server.listen(0);
  server.onClose("hung", () => new Promise(() => undefined));
  let report: Awaited<ReturnType<typeof server.close>> | undefined;
  void server.close().then((done) => (report = done));
  await time.advance(400);
  expect(server.state).toBe("draining");
  await time.advance(600);
  expect(report).toMatchObject({ clean: false, stuck: [expect.stringMatching(/^hung: not finished after \d+ ms$/)] });
  expect(report?.duration_ms).toBeGreaterThanOrEqual(400);
  expect(report?.duration_ms).toBeLessThanOrEqual(1_000);
  expect(report?.phases.map(({ name }) => name)).toEqual(["requests", "closers", "http pool", "caches", "log"]);
});

test("a later call of close() may bring the deadline forward, and destroy() does not wait at all", async () => {
  const arrived = gate();
  const { server, get } = await listen(() => arrived.open(), { shutdownTimeoutMs: 600_000 });
  const answer = get("/stuck").catch(() => undefined);
  await arrived.opened;
  const closing = server.close();
  expect(server.close({ deadlineMs: 500_000 })).toBe(closing);
  const destroyed = server.destroy();
  expect(destroyed).toBe(closing);
  const report = await closing;
  await answer;
  expect(report.stuck[0]).toMatch(/^requests: GET \/stuck \(\d+ ms\) ignored the abort and was cut$/);
});

test("destroy() ends a delay, too, and works without a close() before it", async () => {
  const { server } = await listen(hello, { shutdownDelayMs: 500_000, shutdownTimeoutMs: 600_000 });
  const closing = server.close();
  await server.destroy();
  expect(await closing).toMatchObject({ clean: true });
  const other = await listen(hello);
  expect(await other.server.destroy()).toMatchObject({ clean: true });
});

test("a deadline that makes no sense is refused, and nothing has begun", async () => {
  const { server } = await listen(hello);
  expect(() => server.close({ deadlineMs: Number.NaN })).toThrow(PooledServerConfigError);
  expect(() => server.close({ deadlineMs: -1 })).toThrow("deadlineMs must be a number of milliseconds from 0");
  expect(server.state).toBe("ready");
});

test("a listener of the change to draining that closes again gets the same end", async () => {
  const { server } = await listen(hello);
  const ends: unknown[] = [];
  server.onStateChange((state) => state === "draining" && ends.push(server.close()));
  const closing = server.close();
  expect(ends).toEqual([closing]);
  await closing;
});

test("closing before listening needs no delay, and listening afterwards is refused", async () => {
  const server = await createPooledServer(hello, { ...silent, shutdownDelayMs: 500_000, shutdownTimeoutMs: 600_000 });
  expect((await server.close()).clean).toBe(true);
  expect(server.state).toBe("closed");
  await expect(server.listen(0)).rejects.toThrow("listen() after close(): make a new server instead");
});

test("closing while it is about to listen leaves nothing that listens", async () => {
  const server = await createPooledServer(hello, silent);
  const port = await freePort();
  const listening = server.listen(port, "localhost");
  listening.catch(() => undefined);
  expect((await server.close()).clean).toBe(true);
  await expect(listening).rejects.toBeInstanceOf(LifecycleError);
  await expect(listening).rejects.toThrow("The server was closed before it listened");
  await expect(once(createConnection(port, "127.0.0.1"), "connect")).rejects.toThrow("ECONNREFUSED");
});

test("closing during the first checks ends them and the wait for them", async () => {
  const server = new PooledServer(hello, silent);
  let signal: AbortSignal | undefined;
  const started = gate();
  server.addHealthCheck("hung", {
    timeoutMs: 60_000,
    run: (context) => {
      ({ signal } = context);
      started.open();
      return new Promise(() => undefined);
    },
  });
  const listening = server.listen(0);
  await started.opened;
  expect(server.state).toBe("starting");
  expect((await server.close()).clean).toBe(true);
  expect(signal?.aborted).toBe(true);
  // It did listen, and is closed by now.
  expect((await listening).port).toBeGreaterThan(0);
  expect(server.state).toBe("closed");
});

test("a listen that failed holds up neither another try nor the end", async () => {
  const busy = createNetServer();
  await once(busy.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => void busy.close());
  const { port } = busy.address() as AddressInfo;
  const server = await createPooledServer(hello, { ...silent, handleSignals: true });
  const listeners = process.listenerCount("SIGTERM");
  for (let i = 0; i < 3; i++) await expect(server.listen(port)).rejects.toBeInstanceOf(ListenError);
  expect(process.listenerCount("SIGTERM")).toBe(listeners);
  expect(server.state).toBe("starting");
  await server.listen(0);
  expect(process.listenerCount("SIGTERM")).toBe(listeners + 1);
  expect((await server.close()).clean).toBe(true);
  expect(process.listenerCount("SIGTERM")).toBe(listeners);
});

test("a closer that came off is not called, and one after the end is refused", async () => {
  const { server } = await listen(hello);
  const called: string[] = [];
  server.onClose("off", () => called.push("off"))();
  server.onClose("on", (deadlineMs, { signal }) => called.push(`on ${deadlineMs > 0} ${signal.aborted}`));
  await server.close();
  expect(called).toEqual(["on true false"]);
  expect(() => server.onClose("late", () => undefined)).toThrow(LifecycleError);
});

test("an upstream call that hangs is ended with its request, and the HTTP pool has nothing left to kill", async () => {
  const upstream = createServer(() => undefined);
  await once(upstream.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => upstream.close().closeAllConnections());
  const called = once(upstream, "request");
  const { server, get } = await listen(
    async (_request, response) => {
      const { signal } = currentRequest() as { signal: AbortSignal };
      const answer = await server.httpPool.get(`http://127.0.0.1:${(upstream.address() as AddressInfo).port}/`, {
        signal,
      });
      response.end(await answer.text());
    },
    { shutdownTimeoutMs: 300 },
  );
  const answer = get("/slow");
  await called;
  const { stuck } = await server.close();
  expect(stuck).toEqual([expect.stringMatching(/^requests: GET \/slow \(\d+ ms\) was aborted$/)]);
  expect((await answer).status).toBe(503);
});

test("calls of nobody's request are killed and named with the HTTP pool", async () => {
  const upstream = createServer(() => undefined);
  await once(upstream.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => upstream.close().closeAllConnections());
  const called = once(upstream, "request");
  const { server } = await listen(hello, { shutdownTimeoutMs: 300 });
  const { port } = upstream.address() as AddressInfo;
  const call = server.httpPool.get(`http://127.0.0.1:${port}/job`).catch((error: unknown) => error);
  await called;
  const { stuck } = await server.close();
  expect(stuck).toEqual([
    expect.stringMatching(new RegExp(`^http pool: GET http://127\\.0\\.0\\.1:${port}/job \\(headers, \\d+ ms\\)$`)),
  ]);
  expect(await call).toBeInstanceOf(Error);
});

test("lines that the destination does not take are counted in the report", async () => {
  const { server, logs } = await listen(hello);
  const flush = logs.logger.flush.bind(logs.logger);
  logs.logger.flush = async (options) => ({ ...(await flush(options)), lines_left: 7 });
  expect(await server.close()).toMatchObject({
    clean: false,
    stuck: ["log: 7 lines were not taken by their destination"],
  });
});

test("a logger that throws stops no shutdown", async () => {
  const { logger } = captureLogs();
  let broken = false;
  const throwing = new Proxy(logger, {
    get(target, name, receiver) {
      if (broken && name === "info") throw new Error("no log");
      return Reflect.get(target, name, receiver) as unknown;
    },
  });
  const { server } = await listen(hello, { logger: throwing });
  server.onStateChange((state) => {
    if (state === "draining") broken = true;
  });
  expect(await server.close()).toMatchObject({ clean: false, stuck: ["log: no log"] });
  expect(server.state).toBe("closed");
});

test("a closer that fails with what nobody can read stops none of the others", async () => {
  const { server } = await listen(hello);
  const called: string[] = [];
  server.onClose("first", () => called.push("first"));
  server.onClose("unreadable", () => {
    throw Object.create(null);
  });
  server.onClose("tells", () => [Object.create(null)]);
  const { clean, stuck } = await server.close();
  expect([clean, stuck, called]).toEqual([false, ["tells: an object", "unreadable: an object"], ["first"]]);
});
