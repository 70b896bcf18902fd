/** What throws where nobody expects it: nothing of the request stays behind, and the error is one of ours. */
import { expect, test } from "vitest";
import { HttpPool, HttpRequestError, type HttpPoolOptions } from "../src/index.ts";
import { faultServer, httpServer, poolClosedTo, rejection, reply } from "./support/fault-server.ts";

const boom = (): never => {
  throw new Error("boom");
};

test("a redirect to a malformed user is followed, and leaks nothing", async () => {
  await using server = await faultServer((socket, { line }) => {
    const location = `http://%zz:%ff@127.0.0.1:${server.port}/end`;
    socket.write(line.includes("/end") ? reply(200) : reply(302, "", { location }));
  });
  await using pool = new HttpPool({ maxConnsPerHost: 1 });
  for (let i = 0; i < 3; i++) expect((await pool.get(server.url)).status).toBe(200);
  expect(server.requests[1]?.head).toContain(Buffer.from([0x25, 0x7a, 0x7a, 0x3a, 0xff]).toString("base64"));
  expect(pool.getStats()).toMatchObject({ in_flight: 0, success_count: 3 });
});

test("a content-encoding with the name of an object's own property is handed out as it is", async () => {
  await using server = await faultServer((socket) =>
    socket.write(reply(200, "hi", { "content-encoding": "constructor" })),
  );
  await using pool = new HttpPool();
  expect(await (await pool.get(server.url)).text()).toBe("hi");
  expect(await (await pool.get(server.url, { stream: true })).text()).toBe("hi");
  expect(pool.getStats()).toMatchObject({ in_flight: 0, success_count: 2 });
});

test("a lookup that throws fails its requests and costs no connection slot", async () => {
  await using pool = new HttpPool({ lookup: boom, maxConnsPerHost: 1, maxRetries: 0 });
  for (let i = 0; i < 3; i++) {
    expect(await rejection(pool.get("http://api.example.test/"))).toMatchObject({ code: "ERR_VG_HTTP_CONNECT" });
  }
  await poolClosedTo(pool, 0);
  expect(pool.getStats()).toMatchObject({ in_flight: 0, open_connections: 0 });
});

test("random that throws ends the request with an error of ours and frees its connection", async () => {
  await using server = await httpServer((_request, response) => {
    response.statusCode = 503;
    response.end();
  });
  await using pool = new HttpPool({ random: boom, maxConnsPerHost: 1 });
  for (let i = 0; i < 2; i++) {
    const error = await rejection(pool.get(server.url));
    expect(error).toBeInstanceOf(HttpRequestError);
    expect(error.cause).toMatchObject({ message: "boom" });
  }
  expect(pool.getStats()).toMatchObject({ in_flight: 0, error_count: 2 });
});

test("a logger that throws changes nothing", async () => {
  await using server = await faultServer((socket, { number }) => socket.write(reply(number === 0 ? 503 : 200)));
  const logger = { debug: boom, info: boom, warn: boom, error: boom };
  await using pool = new HttpPool({ logger, retryBaseMs: 1, tls: { insecureSkipVerify: true } });
  expect((await pool.get(server.url)).status).toBe(200);
});

test("a URL object that its caller changes later does not lead another host's requests astray", async () => {
  const serve = (name: string) => httpServer(({ headers }, response) => response.end(`${name} ${headers.host}`));
  await using a = await serve("a");
  await using b = await serve("b");
  await using pool = new HttpPool();
  const url = new URL(a.url);
  const text = async (target: string | URL) => (await pool.get(target)).text();
  expect(await text(url)).toBe(`a 127.0.0.1:${a.port}`);
  url.port = String(b.port);
  expect(await text(url)).toBe(`b 127.0.0.1:${b.port}`);
  expect(await Promise.all([1, 2, 3].map(() => text(a.url)))).toEqual(Array(3).fill(`a 127.0.0.1:${a.port}`));
});

test("100 Continue that nobody asked for is a protocol error that says so, and is not retried", async () => {
  await using server = await faultServer((socket) => socket.write(`HTTP/1.1 100 Continue\r\n\r\n${reply(200)}`));
  await using pool = new HttpPool({ retryBaseMs: 1 });
  const error = await rejection(pool.get(server.url));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_PROTOCOL" });
  expect(error.message).toContain("100 Continue");
  expect(server.requests.length).toBe(1);
});

test.each<[unknown, string]>([
  [{ url: "http://h/", timeoutMs: "100" }, "timeoutMs must be a number"],
  [{ url: "http://h/", timeoutMs: [100] }, "timeoutMs must be a number"],
  [{ url: "http://h/", timeoutMs: 100n }, "timeoutMs must be a number"],
  [{ url: "http://h/", method: 5 }, "method must be an HTTP method"],
])("%o is refused as an argument", async (request, message) => {
  await using pool = new HttpPool();
  const error = await rejection(pool.do(request as never));
  expect(error).toBeInstanceOf(HttpRequestError);
  expect(error.message).toContain(message);
});

test("close(null) rejects and does not throw", async () => {
  await using pool = new HttpPool();
  expect(await rejection(pool.close(null as never))).toBeInstanceOf(HttpRequestError);
});

test("options may be given as undefined", async () => {
  const options: HttpPoolOptions = { name: undefined, timeoutMs: undefined, tls: { ca: undefined }, logger: undefined };
  await using pool = new HttpPool(options);
  await using server = await faultServer((socket) => socket.write(reply(200)));
  expect((await pool.get(server.url, { signal: undefined, timeoutMs: undefined })).status).toBe(200);
  expect(await pool.health(server.url, { timeoutMs: undefined })).toMatchObject({ ok: true });
});
