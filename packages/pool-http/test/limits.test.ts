import { expect, test } from "vitest";
import { byPath, hold as holdAt, reply as answer, startFaultServer } from "../src/testing.ts";
import { HttpPool, type HttpQueueFullError } from "../src/index.ts";
import { deferred, faultServer, okServer, rejection, reply, turns } from "./support/fault-server.ts";

const many = <T>(count: number, make: (index: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, index) => make(index)));

test("no more than maxConnsPerHost connections are open, and no more than maxIdleConnsPerHost stay", async () => {
  await using server = await okServer();
  await using pool = new HttpPool();
  for (let burst = 0; burst < 3; burst++) {
    const responses = await many(200, () => pool.get(server.url));
    expect(responses.every(({ status }) => status === 200)).toBe(true);
    await turns(3);
    expect(pool.getStats().idle_connections).toBeLessThanOrEqual(10);
    await server.socketsDownTo(10);
  }
  expect(server.peak()).toBeLessThanOrEqual(20);
  expect(pool.getStats()).toMatchObject({ success_count: 600, in_flight: 0, queued: 0 });
});

test("no more than maxIdleConns stay idle over all hosts", async () => {
  await using a = await okServer();
  await using b = await okServer();
  await using c = await okServer();
  await using pool = new HttpPool({ maxIdleConns: 15 });
  const servers = [a, b, c];
  await many(180, (index) => pool.get((servers[index % 3] as typeof a).url));
  await turns(3);
  const { idle_connections, open_connections, success_count } = pool.getStats();
  expect([idle_connections, open_connections, success_count]).toEqual([15, 15, 180]);
  await Promise.all(servers.map((server) => server.socketsDownTo(10)));
  expect(a.sockets.size + b.sockets.size + c.sockets.size).toBeGreaterThanOrEqual(15);
});

test("the connection that was idle longest goes first", async () => {
  await using a = await okServer();
  await using b = await okServer();
  await using c = await okServer();
  await using pool = new HttpPool({ maxIdleConns: 2 });
  for (const server of [a, b, c]) {
    await pool.get(server.url);
    await turns(3);
  }
  await a.socketsDownTo(0);
  expect([b.sockets.size, c.sockets.size]).toEqual([1, 1]);
});

test("maxIdleConns: 0 keeps none", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool({ maxIdleConns: 0 });
  await pool.get(server.url);
  await server.socketsDownTo(0);
  expect(pool.getStats().open_connections).toBe(0);
});

test("maxTotalConns holds over all hosts, and nobody starves", async () => {
  await using a = await okServer();
  await using b = await okServer();
  await using c = await okServer();
  await using pool = new HttpPool({ maxTotalConns: 2, maxConnsPerHost: 2 });
  let peak = 0;
  await many(90, async (index) => {
    await pool.get(([a, b, c][index % 3] as typeof a).url);
    peak = Math.max(peak, pool.getStats().open_connections);
  });
  expect(peak).toBeLessThanOrEqual(2);
  expect(pool.getStats()).toMatchObject({ success_count: 90, error_count: 0 });
});

test("waiting requests are served in the order in which they came", async () => {
  await using server = await faultServer((socket) => void setImmediate(() => socket.write(reply(200))));
  await using pool = new HttpPool({ maxConnsPerHost: 1 });
  await many(20, (index) => pool.get(`${server.url}/${index}`));
  expect(server.requests.map(({ line }) => Number(/\/(\d+)/.exec(line)?.[1]))).toEqual([...Array(20).keys()]);
});

test("a full queue rejects at once, with its numbers", async () => {
  const hold = deferred();
  await using server = await faultServer((socket) => void hold.promise.then(() => socket.write(reply(200))));
  await using pool = new HttpPool({ maxConnsPerHost: 1, maxQueue: 1 });
  const served = [pool.get(server.url), pool.get(server.url)];
  const error = await rejection<HttpQueueFullError>(pool.get(server.url));
  expect(error.code).toBe("ERR_VG_HTTP_QUEUE_FULL");
  expect(error.message).toContain("maxQueue 1; 1 requests wait, 1 of 1 connections are open");
  hold.resolve();
  expect((await Promise.all(served)).map(({ status }) => status)).toEqual([200, 200]);
});

test("maxQueue: 0 lets a request wait for its own dial, and for nothing else", async () => {
  const hold = deferred();
  await using server = await faultServer((socket) => void hold.promise.then(() => socket.write(reply(200))));
  await using pool = new HttpPool({ maxConnsPerHost: 1, maxQueue: 0 });
  const served = pool.get(server.url);
  expect(await rejection(pool.get(server.url))).toMatchObject({ code: "ERR_VG_HTTP_QUEUE_FULL" });
  hold.resolve();
  expect((await served).status).toBe(200);
});

test("an idle connection is closed after idleConnTimeoutMs", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool({ idleConnTimeoutMs: 20 });
  await pool.get(server.url);
  await server.socketsDownTo(0);
  await turns(2);
  expect(pool.getStats()).toMatchObject({ open_connections: 0, idle_connections: 0 });
});

test("a server's shorter Keep-Alive hint wins", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200, "ok", { "keep-alive": "timeout=1" })));
  await using pool = new HttpPool();
  await pool.get(server.url);
  await server.socketsDownTo(0);
});

test("closeIdleConnections closes what nobody uses, says how many, and costs no request", async () => {
  const hold = deferred();
  await using server = await faultServer((socket, { line }) => {
    if (line.includes("/hold")) void hold.promise.then(() => socket.write(reply(200)));
    else socket.write(reply(200));
  });
  await using pool = new HttpPool();
  await many(3, () => pool.get(server.url));
  const held = pool.get(`${server.url}/hold`);
  await turns(3);
  expect(pool.closeIdleConnections()).toBe(2);
  await server.socketsDownTo(1);
  const after = many(5, () => pool.get(server.url));
  hold.resolve();
  expect((await held).status).toBe(200);
  expect((await after).every(({ status }) => status === 200)).toBe(true);
});

test("a connection that the server closes after its response is given to nobody", async () => {
  await using server = await faultServer((socket) => socket.end(reply(200, "ok", { connection: "close" })));
  await using pool = new HttpPool({ maxConnsPerHost: 1 });
  await many(10, () => pool.post(server.url, "x"));
  expect(pool.getStats()).toMatchObject({ success_count: 10, stale_resends: 0, connect_count: 10 });
});

test("a response that came before any request is taken for no answer", async () => {
  const poisoned = deferred();
  await using server = await faultServer(
    (socket) => socket.write(reply(200, "real")),
    (socket, number) => {
      if (number === 0) socket.write(reply(200, "poison"), () => poisoned.resolve());
    },
  );
  await using pool = new HttpPool();
  const abort = new AbortController();
  const given = pool.get(server.url, { signal: abort.signal });
  abort.abort();
  await rejection(given);
  await poisoned.promise;
  await server.socketsDownTo(0);
  expect(await (await pool.get(server.url)).text()).toBe("real");
});

test("a fresh connection that nobody used notices that the server hangs up", async () => {
  const connected = deferred();
  let hangUp = () => {};
  await using server = await faultServer(
    (socket) => socket.write(reply(200)),
    (socket, number) => {
      if (number === 0) hangUp = () => void socket.end();
      connected.resolve();
    },
  );
  await using pool = new HttpPool();
  const abort = new AbortController();
  const given = pool.get(server.url, { signal: abort.signal });
  abort.abort();
  await rejection(given);
  await connected.promise;
  hangUp();
  await server.socketsDownTo(0);
  expect((await pool.get(server.url)).status).toBe(200);
});

test("the late end of a closed connection does not let its origin have more than maxConnsPerHost", async () => {
  await using server = await startFaultServer({
    requests: byPath({ "/held": [holdAt("go"), answer(200)], "*": answer(200) }),
  });
  await using pool = new HttpPool({ maxConnsPerHost: 1 });
  await pool.get(server.url);
  pool.closeIdleConnections();
  // The origin is new to the pool now, and the old socket tells of its end only later.
  const held = pool.get(`${server.url}/held`);
  await server.reached("go");
  const behind = pool.get(server.url);
  await turns(5);
  expect(pool.getStats()).toMatchObject({ open_connections: 1, queued: 1 });
  server.release("go");
  expect([(await held).status, (await behind).status]).toEqual([200, 200]);
  expect(server.connections).toMatchObject({ accepted: 2, peak: 1 });
});
