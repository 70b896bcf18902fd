import { once, type EventEmitter } from "node:events";
import { Dispatcher, errors } from "undici";
import { expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";
import { closedPort, deferred, httpServer, rejection, turns } from "./support/fault-server.ts";

/** Answers when it is told to. */
async function waitingServer(): Promise<{ server: Awaited<ReturnType<typeof httpServer>>; go: () => void }> {
  const { promise, resolve } = deferred();
  const server = await httpServer((_request, response) => void promise.then(() => response.end("done")));
  return { server, go: resolve };
}

test("each access is a door of its own: closing one leaves the others and the pool as they are", async () => {
  const { server, go } = await waitingServer();
  await using _server = server;
  await using pool = new HttpPool({ baseUrl: server.url });
  const { dispatcher } = pool;
  expect(dispatcher).toBeInstanceOf(Dispatcher);
  const mine = dispatcher.request({ path: "/", method: "GET" });
  const others = pool.dispatcher.request({ path: "/", method: "GET" });
  const closed = dispatcher.close();
  expect(await rejection(dispatcher.request({ path: "/", method: "GET" }))).toBeInstanceOf(errors.ClientClosedError);
  go();
  await (await mine).body.dump();
  await closed;
  expect(await rejection(dispatcher.request({ path: "/", method: "GET" }))).toBeInstanceOf(errors.ClientDestroyedError);
  expect(await (await others).body.text()).toBe("done");
  expect((await pool.get("/")).status).toBe(200);
});

test("destroying one ends its requests and nobody else's", async () => {
  const { server, go } = await waitingServer();
  await using _server = server;
  await using pool = new HttpPool({ baseUrl: server.url });
  const { dispatcher } = pool;
  const reason = new Error("shut down");
  const mine = rejection(dispatcher.request({ path: "/", method: "GET" }));
  const others = pool.get("/");
  await dispatcher.destroy(reason);
  expect(await mine).toBe(reason);
  go();
  expect(await (await others).text()).toBe("done");
  await dispatcher.destroy();
  expect(await rejection(dispatcher.close())).toBeInstanceOf(errors.ClientDestroyedError);
});

test("close and destroy take callbacks, as undici's do", async () => {
  await using pool = new HttpPool();
  const { dispatcher } = pool;
  await new Promise<void>((resolve) => dispatcher.close(resolve));
  await new Promise<void>((resolve) => dispatcher.destroy(resolve));
  await new Promise<void>((resolve) => dispatcher.destroy(null, resolve));
  const told = await new Promise((resolve) => dispatcher.close(resolve as () => void));
  expect(told).toBeInstanceOf(errors.ClientDestroyedError);
});

test("closing the pool waits for what came through its dispatcher", async () => {
  const { server, go } = await waitingServer();
  await using _server = server;
  const pool = new HttpPool({ baseUrl: server.url });
  const sent = pool.dispatcher.request({ path: "/", method: "GET" });
  const closing = pool.close();
  go();
  expect(await (await sent).body.text()).toBe("done");
  expect(await closing).toMatchObject({ drained: 1, killed: 0 });
});

test("dispatch says when no connection is left, and drain when there is one again", async () => {
  const { server, go } = await waitingServer();
  await using _server = server;
  await using pool = new HttpPool({ maxConnsPerHost: 1 });
  const { dispatcher } = pool;
  const { promise, resolve } = deferred();
  const handler: Dispatcher.DispatchHandler = {
    onRequestStart() {},
    onResponseStart() {},
    onResponseData() {},
    onResponseEnd: () => resolve(),
    onResponseError: () => resolve(),
  };
  expect(dispatcher.dispatch({ origin: server.url, path: "/", method: "GET" }, handler)).toBe(false);
  const drained = once(dispatcher, "drain");
  go();
  await promise;
  const [origin] = (await drained) as [URL];
  expect(origin.origin).toBe(server.url);
});

test("its events tell of the pool's connections, from the first listener on", async () => {
  await using server = await httpServer((_request, response) => response.end("ok"));
  await using pool = new HttpPool({ maxRetries: 0 });
  const { dispatcher } = pool;
  const told: string[] = [];
  await (await dispatcher.request({ origin: server.url, path: "/", method: "GET" })).body.dump();
  dispatcher.on("connect", (origin, [target]) => told.push(`connect ${origin.origin} ${target === dispatcher}`));
  dispatcher.on("disconnect", (origin) => told.push(`disconnect ${origin.origin}`));
  dispatcher.on("connectionError", (_origin, _targets, error) => told.push(`error ${error.code}`));
  pool.closeIdleConnections();
  await once(dispatcher as EventEmitter, "disconnect");
  await (await pool.get(server.url)).text();
  const port = await closedPort();
  await rejection(dispatcher.request({ origin: `http://127.0.0.1:${port}`, path: "/", method: "GET" }));
  await turns(1);
  expect(told).toEqual([`disconnect ${server.url}`, `connect ${server.url} true`, "error ECONNREFUSED"]);
  await dispatcher.close();
  told.length = 0;
  pool.closeIdleConnections();
  await server.socketsDownTo(0);
  await turns(1);
  expect(told).toEqual([]);
});

test("what compose makes of it can be composed again, closed and destroyed", async () => {
  await using server = await httpServer((_request, response) => response.end("ok"));
  await using pool = new HttpPool();
  const pass: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) => dispatch(options, handler);
  const composed = pool.dispatcher.compose(pass).compose([pass, pass]);
  expect(await (await composed.request({ origin: server.url, path: "/", method: "GET" })).body.text()).toBe("ok");
  await composed.close();
  expect(await rejection(composed.request({ origin: server.url, path: "/", method: "GET" }))).toMatchObject({
    code: "UND_ERR_DESTROYED",
  });
  await composed.destroy();
});
