/** What is wrong with a request is said before anything is sent, with a stable code and what to do. */
import { once } from "node:events";
import { PassThrough, Readable } from "node:stream";
import { expect, test } from "vitest";
import { HttpPool, type HttpPoolError, type HttpRequest } from "../src/index.ts";
import { startFaultServer } from "../src/testing.ts";
import { deferred, faultServer, rejection, reply, turns } from "./support/fault-server.ts";

const URL_ = "http://127.0.0.1:1/";
/** Bytes whose ArrayBuffer somebody else has got. */
const transferred = (bytes = new Uint8Array([1, 2, 3])): Uint8Array<ArrayBuffer> => {
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
};
interface ResizableArrayBuffer extends ArrayBuffer {
  resize(bytes: number): void;
}
/** TypeScript's library of ES2023 does not know them. */
const resizable = (bytes: number): ResizableArrayBuffer =>
  Reflect.construct(ArrayBuffer, [bytes, { maxByteLength: bytes }]) as ResizableArrayBuffer;
const circular: { self?: unknown } = {};
circular.self = circular;

test.each<[string, object | null, string]>([
  ["no request at all", null, "a request must be an object with a url"],
  ["no URL", { url: undefined }, "the URL must be a string or a URL"],
  [
    "a relative URL",
    { url: "/data" },
    "the URL must be absolute, such as https://api.example.com/data; or set baseUrl",
  ],
  ["an unparsable URL", { url: "http://[::1" }, "the URL must be absolute"],
  ["a port out of range", { url: "http://a.test:70000/" }, "the URL must be absolute"],
  ["an empty host", { url: "http:///" }, "the URL must be absolute"],
  ["another scheme", { url: "ftp://a.test/" }, 'the URL\'s scheme must be http or https, got "ftp:"'],
  ["a file", { url: "file:///etc/passwd" }, "scheme must be http or https"],
  ["a URL object of another scheme", { url: new URL("ws://a.test/") }, "scheme must be http or https"],
  ["a line feed in a header's value", { headers: { "x-a": "1\nx-b: 2" } }, "x-a"],
  ["a carriage return in a header's value", { headers: { "x-a": "1\rx-b: 2" } }, "x-a"],
  ["both in one of several values", { headers: { "x-a": ["1", "2\r\nx-b: 3"] } }, "x-a"],
  ["a zero byte in a header's value", { headers: { "x-a": "1\0" } }, "x-a"],
  ["characters beyond Latin-1 in a header's value", { headers: { "x-a": "✓" } }, "x-a"],
  ["a line break in a header's name", { headers: { "x-a\r\nx-b": "1" } }, "valid HTTP token"],
  ["an empty header name", { headers: { "": "1" } }, "valid HTTP token"],
  ["a header that is an object", { headers: { "x-a": {} } }, "header x-a must be a string"],
  ["headers that are a text", { headers: "x-a: 1" }, "headers must be an object or pairs"],
  ["a header of the connection", { headers: { Connection: "close" } }, "set by the pool itself"],
  ["a length that may be wrong", { headers: { "Content-Length": "5" } }, "set by the pool itself"],
  ["a method with a line break", { method: "GET\r\nX" }, "method must be an HTTP method other than CONNECT"],
  ["an empty method", { method: "" }, "method must be an HTTP method"],
  ["CONNECT", { method: "connect" }, "method must be an HTTP method other than CONNECT"],
  ["a body for GET", { body: "x" }, "a GET request must have no body"],
  ["an empty body for GET", { body: "" }, "a GET request must have no body"],
  ["a function that makes a body for GET", { body: () => "x" }, "a GET request must have no body"],
  ["a body for HEAD", { method: "head", body: {} }, "a HEAD request must have no body"],
  ["a number for a body", { method: "POST", body: 5 }, "the body must be a string, bytes"],
  ["JSON that refers to itself", { method: "POST", body: circular }, "circular"],
  ["a toJSON() that gives nothing", { method: "POST", body: { toJSON: () => undefined } }, "toJSON() gives nothing"],
  ["a toJSON() that gives a function", { method: "POST", body: { toJSON: () => () => 1 } }, "toJSON() gives nothing"],
  ["bytes that were transferred", { method: "PUT", body: transferred() }, "the bytes of the body are gone"],
  ["an ArrayBuffer that was transferred", { method: "PUT", body: transferred().buffer }, "transferred or made smaller"],
  ["a deadline of 0", { timeoutMs: 0 }, "timeoutMs must be a number of milliseconds from 1 to 2147483647, got 0"],
  ["a negative deadline", { timeoutMs: -1 }, "timeoutMs must be a number of milliseconds from 1"],
  ["an endless deadline", { timeoutMs: Infinity }, "timeoutMs must be a number of milliseconds from 1"],
  ["a deadline that is no number", { timeoutMs: NaN }, "got NaN"],
  ["a text for a limit", { attemptTimeoutMs: "5s" }, "attemptTimeoutMs must be a number of milliseconds from 1"],
  ["a negative gap", { bodyGapTimeoutMs: -5 }, "bodyGapTimeoutMs must be"],
  ["a negative body limit", { bodyTimeoutMs: -5 }, "bodyTimeoutMs must be"],
  ["negative retries", { maxRetries: -1 }, "maxRetries must be a whole number from 0 to 100, got -1"],
  ["half a redirect", { maxRedirects: 0.5 }, "maxRedirects must be a whole number"],
  ["no room for a body", { maxResponseBytes: 0 }, "maxResponseBytes must be a whole number from 1"],
  ["a retryOn that there is not", { retryOn: "always" }, 'retryOn must be "safe" or "rejected"'],
  ["a stream that is not true or false", { stream: 1 }, "stream must be true or false"],
  ["a signal that is none", { signal: {} }, "signal must be an AbortSignal"],
  ["an option that there is not", { timeout: 5 }, 'unknown request option "timeout"'],
])("%s is refused before anything is sent", async (_name, request, message) => {
  await using pool = new HttpPool({ name: "upstream" });
  const given = (request === null ? null : { url: URL_, ...request }) as HttpRequest;
  const error = await rejection<HttpPoolError>(pool.do(given));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_REQUEST", pool: "upstream", sent: false, retryable: false });
  expect(error.message).toMatch(/^upstream: /);
  expect(error.message).toContain(message);
  expect(error.message).toMatch(/\.$/);
  expect(pool.getStats()).toMatchObject({ request_count: 0, attempt_count: 0, connect_count: 0, open_connections: 0 });
});

/** A server that answers whatever it is sent, and a pool. */
async function answering() {
  const server = await faultServer((socket) => socket.write(reply(200)));
  return { server, pool: new HttpPool() };
}

const used: [string, () => object | Promise<object>, string][] = [
  [
    "a Node stream that was read to its end",
    async () => {
      const stream = Readable.from([Buffer.from("x")]);
      for await (const _chunk of stream);
      return stream;
    },
    "read or closed already",
  ],
  [
    "a Node stream that was begun",
    async () => {
      const stream = new PassThrough();
      stream.write("ab");
      await once(stream, "readable");
      stream.read(1);
      return stream;
    },
    "read or closed already",
  ],
  ["a Node stream that was destroyed", () => Readable.from(["x"]).destroy(), "read or closed already"],
  [
    "a web stream that was cancelled",
    async () => {
      const stream = new Blob(["x"]).stream();
      await stream.cancel();
      return stream;
    },
    "read or closed already",
  ],
  [
    "a web stream that has a reader",
    () => {
      const stream = new Blob(["x"]).stream();
      stream.getReader();
      return stream;
    },
    "another reader has locked",
  ],
];

test.each(used)("%s is refused, and is not touched", async (_name, make, message) => {
  const { server, pool } = await answering();
  const error = await rejection<HttpPoolError>(pool.post(server.url, await make()));
  expect(error.code).toBe("ERR_VG_HTTP_REQUEST");
  expect(error.message).toContain(message);
  expect(error.message).toContain("or a function that makes one for each attempt");
  expect([server.requests, pool.getStats().request_count]).toEqual([[], 0]);
  await pool.close();
  await server[Symbol.asyncDispose]();
});

test("a stream serves one request, whether the other has begun to read it or not", async () => {
  const hold = deferred();
  await using server = await faultServer((socket) => void hold.promise.then(() => socket.write(reply(200))));
  await using pool = new HttpPool({ maxConnsPerHost: 1 });
  const first = pool.get(server.url);
  const stream = Readable.from([Buffer.from("x")]);
  const second = pool.post(server.url, stream);
  const error = await rejection<HttpPoolError>(pool.post(server.url, stream));
  expect(error.message).toContain("a stream that was given to another request already");
  hold.resolve();
  expect([(await first).status, (await second).status]).toEqual([200, 200]);
});

test.each(["at once", "between two attempts"])("bytes that go %s are not sent as an empty body", async (when) => {
  const bytes = new Uint8Array([1, 2, 3]);
  await using server = await faultServer((socket) => {
    transferred(bytes);
    socket.write(reply(503));
  });
  await using pool = new HttpPool({ maxConnsPerHost: 1, retryBaseMs: 0 });
  const other = when === "at once" ? pool.get(server.url, { maxRetries: 0 }) : undefined;
  const error = await rejection<HttpPoolError>(pool.put(server.url, bytes));
  await other;
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_REQUEST", sent: when !== "at once" });
  expect(error.message).toContain("the bytes of the body are gone");
  expect(server.requests.map(({ body }) => body)).toEqual([when === "at once" ? "" : "\u0001\u0002\u0003"]);
  expect(pool.getStats()).toMatchObject({ in_flight: 0, open_connections: 1, idle_connections: 1 });
});

test("bytes that go right after the call, over a connection that was used before, are not sent as an empty body", async () => {
  await using server = await startFaultServer();
  await using pool = new HttpPool();
  await pool.get(server.url);
  for (const method of ["PUT", "POST"]) {
    const bytes = new Uint8Array([1, 2, 3]);
    const sent = rejection<HttpPoolError>(pool.do({ method, url: server.url, body: bytes }));
    transferred(bytes);
    const error = await sent;
    expect(error).toMatchObject({ code: "ERR_VG_HTTP_REQUEST", sent: false, retryable: false });
    expect(error.message).toContain("the bytes of the body are gone");
  }
  expect((await pool.get(server.url)).status).toBe(200);
  expect(server.requests.map(({ method }) => method)).toEqual(["GET", "GET"]);
  expect(pool.getStats()).toMatchObject({ in_flight: 0, connect_count: 1, idle_connections: 1, bytes_sent: 0 });
});

test("bytes that go right after the call, over HTTP/2, have been sent", async () => {
  await using server = await startFaultServer({ protocol: "h2c" });
  await using pool = new HttpPool({ http2: "on" });
  await pool.get(server.url);
  const bytes = new Uint8Array([1, 2, 3]);
  const sent = pool.put(server.url, bytes);
  transferred(bytes);
  expect((await sent).status).toBe(200);
  expect(server.requests.at(-1)?.body).toEqual(Buffer.from([1, 2, 3]));
});

test.each<[string, (buffer: ArrayBuffer) => ArrayBuffer | Uint8Array]>([
  ["an ArrayBuffer", (buffer) => buffer],
  ["a view of it", (buffer) => new Uint8Array(buffer)],
])("a body of %s that is made smaller while it waits is not sent cut short", async (_name, bodyOf) => {
  await using server = await startFaultServer();
  await using pool = new HttpPool({ maxConnsPerHost: 1 });
  for (const left of [0, 4]) {
    const buffer = resizable(8);
    const other = pool.get(server.url);
    const sent = rejection<HttpPoolError>(pool.put(server.url, bodyOf(buffer)));
    buffer.resize(left);
    await other;
    expect(await sent).toMatchObject({ code: "ERR_VG_HTTP_REQUEST", sent: false });
  }
  expect(server.requests.filter(({ method }) => method === "PUT")).toEqual([]);
});

test("what was empty from the beginning is an empty body", async () => {
  const { server, pool } = await answering();
  for (const body of [new Uint8Array(), Buffer.alloc(0), new ArrayBuffer(0), ""]) await pool.put(server.url, body);
  expect(server.requests.map(({ head }) => /content-length: (\d+)/i.exec(head)?.[1])).toEqual(["0", "0", "0", "0"]);
  await pool.close();
  await server[Symbol.asyncDispose]();
});

test("a stream that came with a refused call stays its caller's", async () => {
  await using pool = new HttpPool();
  const stream = Readable.from([Buffer.from("x")]);
  await rejection(pool.post("ftp://a.test/", stream));
  await rejection(pool.post(URL_, stream, { timeoutMs: -1 }));
  await rejection(pool.do({ url: URL_, method: "GET", body: stream }));
  await turns(2);
  expect([stream.destroyed, Readable.isDisturbed(stream)]).toEqual([false, false]);
});

test("a URL is never a way to another header: line breaks in it are dropped or escaped", async () => {
  const { server, pool } = await answering();
  await pool.get(`${server.url}/a\r\nx-evil: 1?b=\r\nc#d`);
  expect(server.requests[0]?.line).toBe("GET /ax-evil:%201?b=c HTTP/1.1");
  expect(server.requests[0]?.head).not.toMatch(/^x-evil/m);
  await pool.close();
  await server[Symbol.asyncDispose]();
});
