import { AsyncLocalStorage } from "node:async_hooks";
import { Readable } from "node:stream";
import { request as undiciRequest } from "undici";
import { expect, test } from "vitest";
import { HttpPool, HttpRequestError, type HttpJsonError } from "../src/index.ts";
import { closedPort, faultServer, httpServer, rejection, reply, turns } from "./support/fault-server.ts";

/** Answers with what it received. */
const echo = () =>
  httpServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      response.setHeader("content-type", "application/json");
      response.setHeader("set-cookie", ["a=1", "b=2"]);
      response.end(
        JSON.stringify({
          method: request.method,
          url: request.url,
          headers: request.headers,
          body: Buffer.concat(chunks).toString(),
        }),
      );
    });
  });

interface Echo {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string;
}

test("each verb sends its method, and a body where it has one", async () => {
  await using server = await echo();
  await using pool = new HttpPool({ baseUrl: server.url });
  const sent = async (response: Promise<{ json<T>(): Promise<T> }>) => {
    const { method, url, body } = await (await response).json<Echo>();
    return `${method} ${url} ${body}`;
  };
  expect(await sent(pool.get("/a?b=1"))).toBe("GET /a?b=1 ");
  expect(await sent(pool.post("/a", "text"))).toBe("POST /a text");
  expect(await sent(pool.put("/a", new Uint8Array([104, 105])))).toBe("PUT /a hi");
  expect(await sent(pool.patch("/a", new URLSearchParams({ x: "1 2" })))).toBe("PATCH /a x=1+2");
  expect(await sent(pool.delete("/a"))).toBe("DELETE /a ");
  expect(await sent(pool.do({ method: "options", url: "/a" }))).toBe("OPTIONS /a ");
  const head = await pool.head("/a");
  expect([head.status, await head.text()]).toEqual([200, ""]);
});

test.each<[string, () => unknown, string, string | undefined]>([
  ["a plain object", () => ({ a: [1, null] }), '{"a":[1,null]}', "application/json"],
  ["an array", () => [1, 2], "[1,2]", "application/json"],
  ["a string", () => "hé", "hé", "text/plain;charset=UTF-8"],
  ["bytes", () => Buffer.from("raw"), "raw", undefined],
  ["an ArrayBuffer", () => new TextEncoder().encode("raw").buffer, "raw", undefined],
  ["a Blob", () => new Blob(["blob"], { type: "text/x-blob" }), "blob", "text/x-blob"],
  ["a Node stream", () => Readable.from(["str", "eam"]), "stream", undefined],
  ["a web stream", () => new Blob(["web"]).stream(), "web", undefined],
  ["a function", () => () => ({ made: true }), '{"made":true}', "application/json"],
  ["an async function", () => async () => Promise.resolve("later"), "later", "text/plain;charset=UTF-8"],
  ["nothing", () => undefined, "", undefined],
])("a body may be %s", async (_name, make, body, type) => {
  await using server = await echo();
  await using pool = new HttpPool();
  const received = await (await pool.post(server.url, make() as object)).json<Echo>();
  expect(received.body).toBe(body);
  expect(received.headers["content-type"]).toBe(type);
});

test("what cannot be a body is refused with what can", async () => {
  await using pool = new HttpPool();
  const error = await rejection<HttpRequestError>(pool.post("http://127.0.0.1:1/", new Map()));
  expect(error).toBeInstanceOf(HttpRequestError);
  expect(error.code).toBe("ERR_VG_HTTP_REQUEST");
  expect(error.message).toContain("plain object");
  expect(pool.getStats().request_count).toBe(0);
});

test("a response gives its headers, its body in every form, and its way", async () => {
  await using server = await echo();
  await using pool = new HttpPool();
  const response = await pool.get(`${server.url}/x`);
  expect([response.status, response.ok, response.url]).toEqual([200, true, `${server.url}/x`]);
  expect(response.header("Content-Type")).toBe("application/json");
  expect(response.headers["set-cookie"]).toEqual(["a=1", "b=2"]);
  expect(response.header("set-cookie")).toBe("a=1, b=2");
  const text = await response.text();
  expect(JSON.parse(text)).toEqual(await response.json());
  expect(Buffer.from(await response.bytes()).toString()).toBe(text);
  expect(Buffer.from(await response.arrayBuffer()).toString()).toBe(text);
  const chunks: Buffer[] = [];
  for await (const chunk of response.body) chunks.push(chunk as Buffer);
  expect(Buffer.concat(chunks).toString()).toBe(text);
  expect(response.attempts).toEqual([
    expect.objectContaining({ number: 1, cause: "first", started_ms: 0, status: 200 }),
  ]);
  const { queue_ms, connect_ms, tls_ms, first_byte_ms, total_ms } = response.timings;
  expect([queue_ms, connect_ms, tls_ms, first_byte_ms, total_ms].every((ms) => ms >= 0)).toBe(true);
  expect(first_byte_ms).toBeLessThanOrEqual(total_ms);
  expect(tls_ms).toBe(0);
});

test("no status throws", async () => {
  await using server = await httpServer((_request, response) => response.writeHead(404).end("nothing here"));
  await using pool = new HttpPool();
  const response = await pool.get(server.url);
  expect([response.status, response.ok, await response.text()]).toEqual([404, false, "nothing here"]);
});

test("json() of something else names status, type and size, and not the content", async () => {
  await using server = await httpServer((_request, response) =>
    response.writeHead(502, { "content-type": "text/html" }).end("<h1>secret</h1>"),
  );
  await using pool = new HttpPool({ maxRetries: 0 });
  const response = await pool.get(server.url);
  const error = await rejection<HttpJsonError>(response.json());
  expect(error.code).toBe("ERR_VG_HTTP_JSON");
  expect(error.message).toContain("answered 502 with 15 characters of text/html");
  expect(error.message).not.toContain("secret");
  expect(error.cause).toBeUndefined();
});

test("a request's headers win over the pool's, whatever their case", async () => {
  await using server = await echo();
  await using pool = new HttpPool({ headers: { "X-One": "pool", "x-two": "pool" }, userAgent: "test/1" });
  const { headers } = await (await pool.get(server.url, { headers: new Headers({ "X-Two": "request" }) })).json<Echo>();
  expect(headers).toMatchObject({ "x-one": "pool", "x-two": "request", "user-agent": "test/1" });
});

test("headers of the pool that are a function are asked for at each request, in its caller's context", async () => {
  await using server = await echo();
  const caller = new AsyncLocalStorage<string>();
  await using pool = new HttpPool({
    headers: () => {
      const name = caller.getStore();
      if (name === "nobody") throw new Error("no headers for nobody");
      return name === undefined ? undefined : { "X-Caller": name, "x-one": "pool" };
    },
  });
  const asked = async (headers?: Record<string, string>) =>
    (await (await pool.get(server.url, { headers })).json<Echo>()).headers;
  const fetched = async () => ((await (await pool.fetch(server.url)).json()) as Echo).headers;
  const dispatched = async () => {
    const answer = await undiciRequest(server.url, { dispatcher: pool.dispatcher });
    return ((await answer.body.json()) as Echo).headers;
  };
  expect(await caller.run("a", () => asked({ "X-One": "request" }))).toMatchObject({
    "x-caller": "a",
    "x-one": "request",
  });
  expect(await caller.run("b", fetched)).toMatchObject({ "x-caller": "b", "user-agent": "vg-pool-http" });
  expect(await caller.run("c", dispatched)).toMatchObject({ "x-caller": "c" });
  expect(await asked()).not.toHaveProperty("x-caller");
  const error = await rejection(caller.run("nobody", () => asked()));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_REQUEST", cause: { message: "no headers for nobody" } });
});

test("a bad header is refused by name, without its value", async () => {
  await using pool = new HttpPool();
  const error = await rejection(pool.get("http://127.0.0.1:1/", { headers: { authorization: "secret\nx: y" } }));
  expect(error.message).toContain("authorization");
  expect(error.message).not.toContain("secret");
  const framing = await rejection(pool.get("http://127.0.0.1:1/", { headers: { "Transfer-Encoding": "chunked" } }));
  expect(framing.message).toContain("set by the pool itself");
});

test("a user in the URL becomes basic authorization and is in no message", async () => {
  await using server = await echo();
  await using pool = new HttpPool();
  const url = server.url.replace("//", "//us%40er:p%3Ass@");
  const { headers } = await (await pool.get(url)).json<Echo>();
  expect(headers["authorization"]).toBe(`Basic ${Buffer.from("us@er:p:ss").toString("base64")}`);
  const error = await rejection(
    pool.get(`http://user:hunter2@127.0.0.1:${await closedPort()}/a?token=hunter3`, { maxRetries: 0 }),
  );
  expect(error.message).toContain("/a?…");
  expect(error.message).not.toMatch(/hunter/);
});

test.each([
  ["//evil.example/x", "leaves baseUrl"],
  ["https://evil.example/", "leaves baseUrl"],
  ["\\\\evil.example/", "leaves baseUrl"],
  ["../admin", "leaves baseUrl"],
  ["/..%2fadmin", "leaves baseUrl"],
  ["/a/%2E.%5cadmin", "leaves baseUrl"],
  ["/a/../../admin", "leaves baseUrl"],
  ["%2e%2e/admin", "leaves baseUrl"],
  ["javascript:alert(1)", "leaves baseUrl"],
])("baseUrl cannot be escaped by %s", async (url, message) => {
  await using pool = new HttpPool({ baseUrl: "http://127.0.0.1:1/v1" });
  expect((await rejection(pool.get(url))).message).toContain(message);
});

test("with baseUrl, relative URLs go below it and absolute ones inside it are taken", async () => {
  await using server = await echo();
  await using pool = new HttpPool({ baseUrl: `${server.url}/v1` });
  const path = async (url: string) => (await (await pool.get(url)).json<Echo>()).url;
  expect(await path("models")).toBe("/v1/models");
  expect(await path("/models/a:b?c=d")).toBe("/v1/models/a:b?c=d");
  expect(await path(`${server.url}/v1/x`)).toBe("/v1/x");
  expect(await path("")).toBe("/v1/");
});

test.each([
  [{ url: "/relative" }, "must be absolute"],
  [{ url: "ftp://127.0.0.1/" }, "scheme must be http or https"],
  [{ url: "http://127.0.0.1:1/", timeout: 5 }, 'unknown request option "timeout"'],
  [{ url: "http://127.0.0.1:1/", timeoutMs: 0 }, "timeoutMs must be"],
  [{ url: "http://127.0.0.1:1/", maxRetries: 1.5 }, "maxRetries must be a whole number"],
  [{ url: "http://127.0.0.1:1/", method: "GE T" }, "method must be"],
  [{ url: "http://127.0.0.1:1/", retryOn: "always" }, "retryOn must be"],
])("a bad request %o is refused before anything happens", async (request, message) => {
  await using pool = new HttpPool();
  expect((await rejection(pool.do(request as { url: string }))).message).toContain(message);
  expect(pool.getStats()).toMatchObject({ request_count: 0, in_flight: 0 });
});

test("a 1xx response is passed over", async () => {
  await using server = await faultServer((socket) =>
    socket.write(`HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n${reply(200, "real")}`),
  );
  await using pool = new HttpPool();
  const response = await pool.get(server.url);
  expect([response.status, await response.text(), response.header("link")]).toEqual([200, "real", undefined]);
});

test("sequential requests use one connection", async () => {
  await using server = await echo();
  await using pool = new HttpPool();
  for (let i = 0; i < 20; i++) await pool.get(server.url);
  expect(server.accepted()).toBe(1);
  await turns(2);
  expect(pool.getStats()).toMatchObject({ connect_count: 1, open_connections: 1, idle_connections: 1 });
});

test("disableKeepAlives opens a connection for each request", async () => {
  await using server = await echo();
  await using pool = new HttpPool({ disableKeepAlives: true });
  for (let i = 0; i < 3; i++) {
    expect((await (await pool.get(server.url)).json<Echo>()).headers["connection"]).toBe("close");
  }
  expect(server.accepted()).toBe(3);
  expect(pool.getStats().idle_connections).toBe(0);
});

test("the path goes out as it was written, a lonely question mark included, and without its fragment", async () => {
  await using server = await echo();
  await using pool = new HttpPool();
  for (const [given, sent] of [
    ["/a?", "/a?"],
    ["/a?#part?", "/a?"],
    ["/a#", "/a"],
    ["/a?b=1#c", "/a?b=1"],
    ["", "/"],
  ] as const) {
    expect((await (await pool.get(server.url + given)).json<Echo>()).url).toBe(sent);
  }
});
