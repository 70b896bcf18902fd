import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { HttpPool, HttpPoolClosedError } from "../src/index.ts";
import { closedPort, deferred, faultServer, rejection, reply } from "./support/fault-server.ts";

test("close drains what is in flight, refuses what is new, and reports", async () => {
  const hold = deferred();
  await using server = await faultServer((socket) => void hold.promise.then(() => socket.write(reply(200))));
  const pool = new HttpPool({ maxConnsPerHost: 1 });
  const running = pool.get(server.url);
  const queued = pool.get(server.url);
  const closing = pool.close();
  const refused = await rejection<HttpPoolClosedError>(pool.get(server.url));
  expect(refused).toMatchObject({ code: "ERR_VG_HTTP_CLOSED" });
  expect(refused.message).toContain("is closing and takes no more requests");
  hold.resolve();
  expect([(await running).status, (await queued).status]).toEqual([200, 200]);
  expect(await closing).toEqual({ drained: 2, killed: 0, killed_requests: [], duration_ms: expect.any(Number) });
  expect(await pool.close({ deadlineMs: 0 })).toBe(await closing);
  await server.socketsDownTo(0);
  expect(pool.getStats()).toMatchObject({ open_connections: 0, in_flight: 0 });
});

test("close ends the rest at its deadline and names them", async () => {
  await using server = await faultServer((socket, { line }) => {
    if (line.includes("/stream")) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n1");
  });
  const pool = new HttpPool();
  const stream = await pool.get(`${server.url}/stream`, { stream: true });
  const [waiting, reading] = [rejection(pool.get(`${server.url}/a?key=secret`)), rejection(stream.text())];
  const report = await pool.close({ deadlineMs: 20 });
  expect(report).toMatchObject({ drained: 0, killed: 2 });
  expect(report.killed_requests).toEqual([
    expect.stringMatching(/^GET .*\/stream \(body, \d+ ms\)$/),
    expect.stringMatching(/^GET .*\/a\?… \((connect|headers), \d+ ms\)$/),
  ]);
  expect(await waiting).toBeInstanceOf(HttpPoolClosedError);
  expect(await reading).toBeInstanceOf(HttpPoolClosedError);
  await server.socketsDownTo(0);
});

test("destroy ends everything at once, whatever it waits for", async () => {
  await using server = await faultServer((socket, { line }) => {
    if (line.includes("/retry")) socket.write(reply(500));
  });
  const pool = new HttpPool({ maxConnsPerHost: 1, retryBaseMs: 20_000, random: () => 0.9 });
  const backoff = rejection(pool.get(`${server.url}/retry`));
  const held = rejection(pool.get(`${server.url}/held`));
  const queued = rejection(pool.get(`${server.url}/queued`));
  while (server.requests.length < 2) await new Promise((resolve) => setImmediate(resolve));
  pool.destroy();
  pool.destroy();
  for (const error of await Promise.all([backoff, held, queued])) {
    expect(error).toBeInstanceOf(HttpPoolClosedError);
    expect((error as HttpPoolClosedError).attempts.length).toBe(1);
  }
  await server.socketsDownTo(0);
  expect(await pool.close()).toMatchObject({ drained: 0, killed: 0 });
  expect(pool.getStats()).toMatchObject({ in_flight: 0, queued: 0, open_connections: 0, error_count: 3 });
});

test("close that is overtaken by destroy reports what was killed", async () => {
  await using server = await faultServer(() => {});
  const pool = new HttpPool();
  const request = rejection(pool.get(`${server.url}/a`));
  const closing = pool.close();
  pool.destroy();
  expect(await closing).toMatchObject({ drained: 0, killed: 1, killed_requests: [expect.stringContaining("/a (")] });
  expect(await request).toBeInstanceOf(HttpPoolClosedError);
});

test("health keeps its connection, though the body comes a little later than the headers", async () => {
  await using server = await faultServer((socket) => {
    socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{");
    setImmediate(() => socket.write("}"));
  });
  await using pool = new HttpPool();
  for (let i = 0; i < 5; i++) expect(await pool.health(server.url)).toMatchObject({ ok: true });
  expect(server.accepted()).toBe(1);
});

test("health tells whether a server answers, and leaves the statistics alone", async () => {
  await using server = await faultServer((socket, { line }) => {
    if (line.includes("/ok")) socket.write(reply(200));
    if (line.includes("/bad")) socket.write(reply(404));
  });
  await using pool = new HttpPool();
  expect(await pool.health(`${server.url}/ok`)).toEqual({ ok: true, status: 200, latency_ms: expect.any(Number) });
  expect(await pool.health(`${server.url}/bad`)).toMatchObject({
    ok: false,
    status: 404,
    error: "the server answered 404",
  });
  expect(await pool.health(`${server.url}/silent`, { timeoutMs: 20 })).toMatchObject({
    ok: false,
    error: expect.stringContaining("timed out"),
  });
  expect(await pool.health(`http://127.0.0.1:${await closedPort()}/`)).toMatchObject({
    ok: false,
    error: expect.stringContaining("ECONNREFUSED"),
  });
  expect(await pool.health("nonsense")).toMatchObject({ ok: false });
  expect(pool.getStats()).toMatchObject({ request_count: 0, error_count: 0, in_flight: 0, bytes_received: 0 });
});

test("a stream that nobody reads does not keep the process alive, one that is read does", async () => {
  await using server = await faultServer((socket, { line }) => {
    socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n1");
    if (line.includes("/read")) setTimeout(() => socket.write("2"), 50);
  });
  const source = new URL("../src/index.ts", import.meta.url).href;
  const script = `
    const { HttpPool } = await import(${JSON.stringify(source)});
    const pool = new HttpPool();
    const read = await pool.get(${JSON.stringify(`${server.url}/read`)}, { stream: true });
    console.log(await read.text());
    await pool.get(${JSON.stringify(server.url)}, { stream: true });`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=@vg/source", "--input-type=module", "-e", script],
    { timeout: 20_000 },
  );
  expect(stdout).toBe("12\n");
});

test("idle connections do not keep the process alive", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  const source = new URL("../src/index.ts", import.meta.url).href;
  const script = `
    const { HttpPool } = await import(${JSON.stringify(source)});
    const pool = new HttpPool();
    console.log((await pool.get(${JSON.stringify(server.url)})).status, pool.getStats().open_connections);`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=@vg/source", "--input-type=module", "-e", script],
    { timeout: 20_000 },
  );
  expect(stdout).toBe("200 1\n");
});
