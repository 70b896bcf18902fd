import { Writable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import {
  fetch as undiciFetch,
  getGlobalDispatcher,
  interceptors,
  pipeline as undiciPipeline,
  request,
  setGlobalDispatcher,
  stream,
  type Dispatcher,
} from "undici";
import { afterEach, expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";
import { echoServer, expectSettled, type Echo } from "./support/echo-server.ts";
import { rejection } from "./support/fault-server.ts";

const before = getGlobalDispatcher();
afterEach(() => setGlobalDispatcher(before));

/** A server that also streams, fails and compresses. */
const server = () =>
  echoServer(({ url }, response) => {
    if (url === "/gzip") response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("inflated"));
    else if (url === "/big") response.end(Buffer.alloc(1024 * 1024, "x"));
    else if (url === "/hang") response.flushHeaders();
    else return false;
    return true;
  });

test("undici.request, with its body's methods and its signal", async () => {
  await using upstream = await server();
  await using pool = new HttpPool();
  const { dispatcher } = pool;
  const { statusCode, headers, body } = await request(`${upstream.url}/a?b=1`, {
    dispatcher,
    method: "POST",
    body: "x",
  });
  expect([statusCode, headers["set-cookie"]]).toEqual([200, ["a=1", "b=2"]]);
  expect(await body.json()).toMatchObject({ method: "POST", url: "/a?b=1", body: "x" });
  const big = await request(`${upstream.url}/big`, { dispatcher });
  expect((await big.body.arrayBuffer()).byteLength).toBe(1024 * 1024);
  const raw = await request(upstream.url, { dispatcher, responseHeaders: "raw" });
  expect(JSON.stringify(raw.headers)).toContain('"Date"');
  await raw.body.dump();
  const aborted = new AbortController();
  const hanging = await request(`${upstream.url}/hang`, { dispatcher, signal: aborted.signal });
  const cut = rejection(hanging.body.text());
  aborted.abort();
  expect(await cut).toMatchObject({ name: "AbortError" });
  expect(pool.getStats()).toMatchObject({ request_count: 4, success_count: 3, canceled_count: 1 });
  await expectSettled(pool, upstream);
});

test("undici.fetch", async () => {
  await using upstream = await server();
  await using pool = new HttpPool();
  const { dispatcher } = pool;
  const echo = (await (await undiciFetch(upstream.url, { dispatcher, method: "PUT", body: "x" })).json()) as Echo;
  expect(echo).toMatchObject({ method: "PUT", body: "x" });
  expect(await (await undiciFetch(`${upstream.url}/gzip`, { dispatcher })).text()).toBe("inflated");
  const abort = new AbortController();
  const hanging = await undiciFetch(`${upstream.url}/hang`, { dispatcher, signal: abort.signal });
  const cut = rejection(hanging.text());
  abort.abort();
  expect(await cut).toMatchObject({ name: "AbortError" });
  expect(pool.getStats()).toMatchObject({ request_count: 3, canceled_count: 1 });
  await expectSettled(pool, upstream);
});

test("undici.stream and undici.pipeline", async () => {
  await using upstream = await server();
  await using pool = new HttpPool();
  const { dispatcher } = pool;
  let size = 0;
  await stream(`${upstream.url}/big`, { dispatcher, method: "GET" }, ({ statusCode }) => {
    expect(statusCode).toBe(200);
    return new Writable({
      write(chunk: Buffer, _encoding, done) {
        size += chunk.length;
        // Slower than the server, so that there is back-pressure.
        setImmediate(done);
      },
    });
  });
  expect(size).toBe(1024 * 1024);
  const through = undiciPipeline(upstream.url, { dispatcher, method: "POST" }, ({ body }) => body);
  const [echoed] = await Promise.all([
    text(through),
    pipeline(Readable.from(["str", "eam"]), through, { end: true }),
  ]).catch(async () => [await Promise.resolve("")]);
  expect(JSON.parse(echoed)).toMatchObject({ method: "POST", body: "stream" });
  expect(pool.getStats()).toMatchObject({ request_count: 2, success_count: 2 });
  await expectSettled(pool, upstream);
});

test("interceptors are composed over it", async () => {
  await using upstream = await server();
  await using pool = new HttpPool();
  const seen: string[] = [];
  const logs: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) => {
    seen.push(options.path);
    return dispatch(options, handler);
  };
  const dispatcher = pool.dispatcher.compose(interceptors.dump(), interceptors.responseError(), logs);
  expect((await request(`${upstream.url}/a`, { dispatcher })).statusCode).toBe(200);
  expect(seen).toEqual(["/a"]);
  await expectSettled(pool, upstream);
});

test("as the global dispatcher it serves undici and Node's own fetch", async () => {
  await using upstream = await server();
  await using pool = new HttpPool();
  setGlobalDispatcher(pool.dispatcher);
  await (await request(upstream.url)).body.dump();
  await (await undiciFetch(upstream.url)).text();
  expect(await (await fetch(upstream.url, { method: "POST", body: "x" })).json()).toMatchObject({ body: "x" });
  expect(pool.getStats()).toMatchObject({ request_count: 3, success_count: 3 });
  setGlobalDispatcher(before);
  await expectSettled(pool, upstream);
});

test("Node's own fetch takes the legacy dispatcher", async () => {
  await using upstream = await server();
  await using pool = new HttpPool({ maxConnsPerHost: 2 });
  const dispatcher = pool.legacyDispatcher as never;
  const response = await fetch(upstream.url, { dispatcher, method: "POST", body: new URLSearchParams({ a: "1" }) });
  expect(await response.json()).toMatchObject({ method: "POST", body: "a=1" });
  expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
  expect(await (await fetch(`${upstream.url}/gzip`, { dispatcher })).text()).toBe("inflated");
  const all = Array.from({ length: 10 }, async () =>
    (await fetch(`${upstream.url}/big`, { dispatcher })).arrayBuffer(),
  );
  expect((await Promise.all(all)).map(({ byteLength }) => byteLength)).toEqual(Array(10).fill(1024 * 1024));
  expect(upstream.peak()).toBeLessThanOrEqual(2);
  const abort = new AbortController();
  const hanging = await fetch(`${upstream.url}/hang`, { dispatcher, signal: abort.signal });
  const cut = rejection(hanging.text());
  abort.abort();
  expect(await cut).toMatchObject({ name: "AbortError" });
  expect(pool.getStats()).toMatchObject({ request_count: 13, success_count: 12, canceled_count: 1 });
  await expectSettled(pool, upstream);
});
