import { expect, test } from "vitest";
import { HttpNetworkError, HttpPool, HttpRedirectError, HttpTimeoutError, type HttpPoolError } from "../src/index.ts";
import { echoServer, expectSettled, type Echo } from "./support/echo-server.ts";
import { closedPort, faultServer, rejection, reply } from "./support/fault-server.ts";

const HEAD = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

test("a network failure is a TypeError whose cause is the pool's error", async () => {
  await using pool = new HttpPool({ maxRetries: 0 });
  const error = await rejection(pool.fetch(`http://127.0.0.1:${await closedPort()}/path?secret=1`));
  expect(error).toBeInstanceOf(TypeError);
  expect(error.message).toBe("fetch failed");
  const cause = error.cause as HttpPoolError;
  expect(cause).toMatchObject({ code: "ERR_VG_HTTP_CONNECT", phase: "connect", attempts: [{ number: 1 }] });
  expect(cause.message).not.toContain("secret");
  expect(pool.getStats()).toMatchObject({ error_count: 1, in_flight: 0 });
});

test("the deadline holds for fetch as for every other request", async () => {
  await using server = await faultServer(() => {});
  await using pool = new HttpPool({ timeoutMs: 20 });
  expect((await rejection(pool.fetch(server.url))).cause).toBeInstanceOf(HttpTimeoutError);
  expect((await rejection(pool.fetch(server.url, { pool: { timeoutMs: 5 } }))).cause).toMatchObject({
    phase: "headers",
  });
  expect(pool.getStats()).toMatchObject({ timeout_count: 2 });
});

test("an aborted signal is the rejection: before the request, in the queue, at the server, in the body", async () => {
  await using server = await faultServer((socket, { line }) => {
    if (line.includes("/body")) socket.write(`${HEAD}3\r\none\r\n`);
  });
  await using pool = new HttpPool({ maxConnsPerHost: 1 });
  const reason = new Error("the user left");
  expect(await rejection(pool.fetch(server.url, { signal: AbortSignal.abort(reason) }))).toBe(reason);
  expect(pool.getStats().request_count).toBe(0);

  const first = new AbortController();
  const second = new AbortController();
  const sent = rejection(pool.fetch(server.url, { signal: first.signal }));
  const queued = rejection(pool.fetch(server.url, { signal: second.signal }));
  second.abort(reason);
  expect(await queued).toBe(reason);
  first.abort();
  expect(await sent).toMatchObject({ name: "AbortError" });

  const readers: ((response: Response) => Promise<unknown>)[] = [
    (response) => response.text(),
    (response) => response.clone().text(),
    async (response) => {
      for await (const _chunk of response.body as ReadableStream<Uint8Array>);
    },
  ];
  for (const read of readers) {
    const abort = new AbortController();
    const response = await pool.fetch(`${server.url}/body`, { signal: abort.signal });
    const body = rejection(read(response));
    abort.abort(reason);
    expect(await body).toBe(reason);
  }
  expect(pool.getStats()).toMatchObject({ canceled_count: 5, error_count: 0, in_flight: 0 });
  await server.socketsDownTo(0);
});

test("an abort counts until the body was handed out, wherever its bytes are", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200, "all of it")));
  await using pool = new HttpPool();
  for (const open of [(response: Response) => response, (response: Response) => response.clone()]) {
    const abort = new AbortController();
    const response = open(await pool.fetch(server.url, { signal: abort.signal }));
    const read = rejection(response.text());
    abort.abort();
    expect(await read).toMatchObject({ name: "AbortError" });
  }
  const late = new AbortController();
  const response = await pool.fetch(server.url, { signal: late.signal });
  late.abort();
  expect(await rejection(response.arrayBuffer())).toMatchObject({ name: "AbortError" });
  await expectSettled(pool, server);
});

test("the signal of a Request counts", async () => {
  await using server = await faultServer(() => {});
  await using pool = new HttpPool();
  const abort = new AbortController();
  const failed = rejection(pool.fetch(new Request(server.url, { signal: abort.signal })));
  abort.abort();
  expect(await failed).toMatchObject({ name: "AbortError" });
});

test("a body that breaks off is a TypeError, however it is read", async () => {
  await using server = await faultServer((socket) =>
    socket.write(`${HEAD}3\r\none\r\n`, () => socket.resetAndDestroy()),
  );
  await using pool = new HttpPool();
  const text = await rejection((await pool.fetch(server.url)).text());
  expect([text.message, text instanceof TypeError, text.cause instanceof HttpNetworkError]).toEqual([
    "terminated",
    true,
    true,
  ]);
  const { body } = await pool.fetch(server.url);
  const streamed = await rejection(
    (async () => {
      for await (const _chunk of body as ReadableStream<Uint8Array>);
    })(),
  );
  expect([streamed.message, streamed.cause instanceof HttpNetworkError]).toEqual(["terminated", true]);
  expect(pool.getStats()).toMatchObject({ error_count: 2, in_flight: 0 });
});

test("retries are the pool's: what is safe is repeated, a POST is not", async () => {
  await using server = await faultServer((socket, { number }) =>
    socket.write(number % 2 === 0 ? reply(503) : reply(200)),
  );
  await using pool = new HttpPool({ retryBaseMs: 1 });
  expect((await pool.fetch(server.url)).status).toBe(200);
  expect((await pool.fetch(server.url, { method: "POST", body: "x" })).status).toBe(503);
  expect(server.requests).toHaveLength(3);
});

test("redirects are followed, handed out or refused as the caller says", async () => {
  await using server = await echoServer(({ url }, response) => {
    if (url !== "/from") return false;
    response.writeHead(302, { location: "/to" }).end();
    return true;
  });
  await using pool = new HttpPool();
  const from = `${server.url}/from`;
  const followed = await pool.fetch(from, { method: "POST", body: "x" });
  expect(followed).toMatchObject({ redirected: true, url: `${server.url}/to`, status: 200 });
  expect(await followed.json()).toMatchObject({ method: "GET", url: "/to", body: "" });
  const manual = await pool.fetch(from, { redirect: "manual" });
  expect([manual.status, manual.headers.get("location"), manual.redirected]).toEqual([302, "/to", false]);
  const refused = await rejection(pool.fetch(from, { redirect: "error" }));
  expect([refused instanceof TypeError, refused.cause instanceof HttpRedirectError]).toEqual([true, true]);
  expect((await pool.fetch(from, { pool: { maxRedirects: 0 } })).status).toBe(302);
  await expectSettled(pool, server);
});

test("a redirect that needs a used-up body again is a TypeError", async () => {
  await using server = await faultServer((socket) => socket.write(reply(307, "", { location: "/to" })));
  await using pool = new HttpPool();
  async function* once(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("x");
  }
  const error = await rejection(pool.fetch(server.url, { method: "POST", body: once(), duplex: "half" }));
  expect(error.cause).toMatchObject({ code: "ERR_VG_HTTP_REDIRECT" });
  expect((error.cause as Error).message).toContain("read only once");
});

test("credentials stay behind on the way to another origin", async () => {
  await using other = await echoServer();
  await using server = await faultServer((socket) => socket.write(reply(302, "", { location: other.url })));
  await using pool = new HttpPool();
  const headers = { authorization: "Bearer x", cookie: "a=b", "x-api-key": "k", "x-trace": "t" };
  const echo = (await (await pool.fetch(server.url, { headers })).json()) as Echo;
  expect(echo.headers["x-trace"]).toBe("t");
  for (const name of ["authorization", "cookie", "x-api-key"]) expect(echo.headers[name]).toBeUndefined();
});

test("a closed pool refuses a fetch", async () => {
  const pool = new HttpPool();
  await pool.close();
  expect((await rejection(pool.fetch("http://127.0.0.1:1/"))).cause).toMatchObject({ code: "ERR_VG_HTTP_CLOSED" });
});
