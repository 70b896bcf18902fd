import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { HttpPool, HttpRequestError } from "../src/index.ts";
import { echoServer, expectSettled, type Echo } from "./support/echo-server.ts";
import { faultServer, rejection, reply } from "./support/fault-server.ts";

const sent = async (response: Promise<Response>): Promise<Echo> => (await (await response).json()) as Echo;

test("fetch takes a string, a URL and a Request, and what init says of them", async () => {
  await using server = await echoServer();
  await using pool = new HttpPool();
  const { fetch } = pool;
  expect(await sent(fetch(`${server.url}/a?b=1`))).toMatchObject({ method: "GET", url: "/a?b=1", body: "" });
  expect(await sent(fetch(new URL(`${server.url}/u`), { method: "delete" }))).toMatchObject({ method: "DELETE" });
  const request = new Request(`${server.url}/r`, { method: "PUT", body: "text", headers: { "x-a": "1" } });
  expect(await sent(fetch(request.clone()))).toMatchObject({ method: "PUT", url: "/r", body: "text" });
  const changed = await sent(fetch(request, { method: "PATCH", headers: { "x-b": "2" }, pool: { maxRetries: 0 } }));
  expect(changed).toMatchObject({ method: "PATCH", body: "text", headers: { "x-b": "2" } });
  expect(changed.headers["x-a"]).toBeUndefined();
  expect(pool.getStats()).toMatchObject({ request_count: 4, success_count: 4 });
  await expectSettled(pool, server);
});

test.each<[string, (bytes: Uint8Array<ArrayBuffer>) => NonNullable<RequestInit["body"]>]>([
  ["bytes", (bytes) => bytes],
  ["a Buffer", (bytes) => Buffer.from(bytes.buffer)],
  ["a DataView", (bytes) => new DataView(bytes.buffer)],
  ["an ArrayBuffer", (bytes) => bytes.buffer],
])("what a caller does with %s after the call changes nothing of the body", async (_name, bodyOf) => {
  await using server = await echoServer();
  await using pool = new HttpPool();
  await pool.fetch(server.url);
  const bytes = new TextEncoder().encode("raw");
  const echoed = sent(pool.fetch(server.url, { method: "PUT", body: bodyOf(bytes) }));
  bytes.fill(0);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  expect(await echoed).toMatchObject({ body: "raw" });
  const error = await rejection(pool.fetch(server.url, { method: "PUT", body: bytes }));
  expect(error).toBeInstanceOf(TypeError);
  expect(error).toMatchObject({ message: expect.stringContaining("the bytes of the body are gone") as string });
});

test.each<[string, () => RequestInit, string, string | undefined]>([
  ["a string", () => ({ body: "hé" }), "hé", "text/plain;charset=UTF-8"],
  ["bytes", () => ({ body: Buffer.from("raw") }), "raw", undefined],
  ["a view of bytes", () => ({ body: new DataView(new TextEncoder().encode("raw").buffer) }), "raw", undefined],
  ["an ArrayBuffer", () => ({ body: new TextEncoder().encode("raw").buffer }), "raw", undefined],
  [
    "URLSearchParams",
    () => ({ body: new URLSearchParams({ x: "1 2" }) }),
    "x=1+2",
    "application/x-www-form-urlencoded;charset=UTF-8",
  ],
  ["a Blob", () => ({ body: new Blob(["blob"], { type: "text/x-blob" }) }), "blob", "text/x-blob"],
  ["a web stream", () => ({ body: new Blob(["web"]).stream() as never, duplex: "half" }), "web", undefined],
  ["a Node stream", () => ({ body: Readable.from(["no", "de"]) as never, duplex: "half" }), "node", undefined],
  ["an object, by its text", () => ({ body: { a: 1 } as never }), "[object Object]", "text/plain;charset=UTF-8"],
])("fetch sends %s as a body", async (_name, init, body, type) => {
  await using server = await echoServer();
  await using pool = new HttpPool();
  const echo = await sent(pool.fetch(server.url, { method: "POST", ...init() }));
  expect([echo.body, echo.headers["content-type"]]).toEqual([body, type]);
  await expectSettled(pool, server);
});

test("a body that is in memory is sent with its length, within a Request too, and can be sent again", async () => {
  let asked = 0;
  await using server = await echoServer((_request, response) => {
    if (asked++ % 2 === 1) return false;
    response.writeHead(503).end();
    return true;
  });
  await using pool = new HttpPool({ retryBaseMs: 1 });
  const form = new FormData();
  form.set("a", "b");
  for (const body of ["text", form]) {
    const echo = await sent(pool.fetch(new Request(server.url, { method: "PUT", body })));
    expect(Number(echo.headers["content-length"])).toBe(echo.body.length);
  }
  expect(pool.getStats()).toMatchObject({ retry_count: 2, success_count: 2 });
});

test("the body of a Request that comes by and by is streamed", async () => {
  await using server = await echoServer();
  await using pool = new HttpPool();
  async function* slow(): AsyncGenerator<Uint8Array> {
    for (const text of ["one ", "two ", "three"]) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      yield Buffer.from(text);
    }
  }
  const body = Readable.toWeb(Readable.from(slow())) as never;
  const echo = await sent(pool.fetch(new Request(server.url, { method: "POST", body, duplex: "half" })));
  expect([echo.body, echo.headers["transfer-encoding"]]).toEqual(["one two three", "chunked"]);
});

test("a stream goes out with the length that the caller names", async () => {
  await using server = await echoServer();
  await using pool = new HttpPool();
  const init = { method: "POST", headers: { "Content-Length": "4" }, duplex: "half" } as const;
  const echo = await sent(pool.fetch(server.url, { ...init, body: Readable.from([Buffer.from("abcd")]) as never }));
  expect([echo.body, echo.headers["content-length"]]).toEqual(["abcd", "4"]);
  const short = pool.fetch(server.url, { ...init, body: Readable.from([Buffer.from("ab")]) as never });
  expect((await rejection(short)).cause).toBeInstanceOf(HttpRequestError);
  expect(pool.getStats()).toMatchObject({ request_count: 2, error_count: 1 });
});

test("fetch sends Accept and the pool's headers, and leaves out those that are the connection's", async () => {
  await using server = await echoServer();
  await using pool = new HttpPool({ headers: { "x-pool": "1", "x-both": "pool" } });
  const headers = new Headers({
    "x-both": "own",
    connection: "close",
    "content-length": "99",
    expect: "100-continue",
    host: "other",
  });
  const echo = await sent(pool.fetch(server.url, { method: "POST", body: "text", headers }));
  expect(echo.headers).toMatchObject({
    accept: "*/*",
    "x-pool": "1",
    "x-both": "own",
    connection: "keep-alive",
    "content-length": "4",
    "accept-encoding": "gzip, deflate, br, zstd",
  });
  expect(echo.headers["expect"]).toBeUndefined();
  expect(echo.headers["host"]).toBe(`127.0.0.1:${server.port}`);
});

test.each<[string, unknown, unknown]>([
  ["a URL that is none", "no url", undefined],
  ["a scheme of another protocol", "ftp://127.0.0.1/", undefined],
  ["a body with GET", "http://127.0.0.1:1/", { body: "x" }],
  ["a body with HEAD", "http://127.0.0.1:1/", { method: "HEAD", body: "x" }],
  ["a stream without duplex", "http://127.0.0.1:1/", { method: "POST", body: Readable.from(["x"]) }],
  ["CONNECT", "http://127.0.0.1:1/", { method: "CONNECT" }],
  ["TRACE", "http://127.0.0.1:1/", { method: "TRACE" }],
  ["a redirect mode of nobody's", "http://127.0.0.1:1/", { redirect: "maybe" }],
  ["a header with a line break", "http://127.0.0.1:1/", { headers: { "x-a": "1\r\nx-b: 2" } }],
  ["headers that are none", "http://127.0.0.1:1/", { headers: "x" }],
  ["half a header", "http://127.0.0.1:1/", { headers: [["x"]] }],
  ["an init that is none", "http://127.0.0.1:1/", "init"],
  ["an unknown option of the pool", "http://127.0.0.1:1/", { pool: { timeout: 1 } }],
  ["a dispatcher of somebody else's", "http://127.0.0.1:1/", { dispatcher: {} }],
  ["a signal that is none", "http://127.0.0.1:1/", { signal: {} }],
])("fetch refuses %s with a TypeError, before anything is sent", async (_name, input, init) => {
  await using pool = new HttpPool();
  const error = await rejection(pool.fetch(input as string, init as RequestInit));
  expect(error).toBeInstanceOf(TypeError);
  expect(pool.getStats()).toMatchObject({ request_count: 0, open_connections: 0 });
});

test("fetch takes URLs below the base URL and no others", async () => {
  await using server = await echoServer();
  await using pool = new HttpPool({ baseUrl: `${server.url}/v1` });
  expect((await sent(pool.fetch("/models"))).url).toBe("/v1/models");
  expect((await sent(pool.fetch(`${server.url}/v1/models`))).url).toBe("/v1/models");
  for (const url of [`${server.url}/v2`, "../v2", "http://127.0.0.2/", "data:,x"]) {
    expect((await rejection(pool.fetch(url))).cause).toBeInstanceOf(HttpRequestError);
  }
});

test("data: and blob: URLs are read by Node's own fetch and are no requests of the pool", async () => {
  await using pool = new HttpPool();
  expect(await (await pool.fetch("data:text/plain,hello")).text()).toBe("hello");
  const url = URL.createObjectURL(new Blob(["in memory"]));
  expect(await (await pool.fetch(new URL(url))).text()).toBe("in memory");
  URL.revokeObjectURL(url);
  expect(pool.getStats().request_count).toBe(0);
});

test("init.pool sets the pool's options for one request", async () => {
  await using server = await faultServer((socket, { number }) => socket.write(number === 0 ? reply(503) : reply(200)));
  await using pool = new HttpPool({ retryBaseMs: 1 });
  const busy = await pool.fetch(server.url, { pool: { maxRetries: 0 } });
  expect(busy.status).toBe(503);
  const limited = await rejection(
    pool.fetch(server.url, { pool: { maxResponseBytes: 1 } }).then((response) => response.text()),
  );
  expect(limited.cause).toMatchObject({ code: "ERR_VG_HTTP_BODY_TOO_LARGE" });
});
