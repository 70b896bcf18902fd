import { getEventListeners } from "node:events";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { gzipSync } from "node:zlib";
import { inspect } from "node:util";
import { expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";
import { echoServer, expectSettled } from "./support/echo-server.ts";
import { deferred, faultServer, httpServer, rejection, reply, turns } from "./support/fault-server.ts";

test("fetch resolves with a Response of the running Node", async () => {
  await using server = await echoServer();
  await using pool = new HttpPool();
  const response = await pool.fetch(`${server.url}/a#part`);
  expect(response).toBeInstanceOf(Response);
  expect(response).toMatchObject({ status: 200, statusText: "OK", ok: true, redirected: false, type: "basic" });
  expect(response.url).toBe(`${server.url}/a`);
  expect(response.headers).toBeInstanceOf(Headers);
  expect(response.headers.get("content-type")).toBe("application/json");
  expect(response.headers.getSetCookie()).toEqual(["a=1", "b=2"]);
  expect(() => response.headers.set("x", "y")).toThrow(TypeError);
  expect(new Headers(response.headers).get("content-type")).toBe("application/json");
  expect(inspect(response)).toContain("status: 200");
  expect(response.bodyUsed).toBe(false);
  expect(await response.json()).toMatchObject({ method: "GET", url: "/a" });
  expect(response.bodyUsed).toBe(true);
  await expectSettled(pool, server);
});

test.each<[string, (response: Response) => Promise<unknown>, unknown]>([
  ["text", (response) => response.text(), "hé"],
  ["arrayBuffer", async (response) => Buffer.from(await response.arrayBuffer()).toString(), "hé"],
  [
    "blob",
    async (response) => `${await (await response.blob()).text()} ${(await response.clone().blob()).type}`,
    undefined,
  ],
  [
    "a reader",
    async (response) => {
      const reader: ReadableStreamDefaultReader<Uint8Array> = (response.body as ReadableStream<Uint8Array>).getReader();
      const { value } = await reader.read();
      return `${Buffer.from(value ?? []).toString()} ${(await reader.read()).done}`;
    },
    "hé true",
  ],
  [
    "a BYOB reader",
    async (response) => {
      const reader = (response.body as ReadableStream<Uint8Array>).getReader({ mode: "byob" });
      const { value } = await reader.read(new Uint8Array(100));
      return `${Buffer.from(value ?? []).toString()} ${(await reader.read(new Uint8Array(1))).done}`;
    },
    "hé true",
  ],
  [
    "for await",
    async (response) => {
      let text = "";
      for await (const chunk of response.body as ReadableStream<Uint8Array>) text += Buffer.from(chunk).toString();
      return text;
    },
    "hé",
  ],
  [
    "text after the stream was looked at",
    async (response) => `${response.body?.locked} ${await response.text()}`,
    "false hé",
  ],
])("a body is read by %s", async (name, read, expected) => {
  await using server = await faultServer((socket) => socket.write(Buffer.from(reply(200, "hé"))));
  await using pool = new HttpPool();
  const response = await pool.fetch(server.url);
  if (name === "blob") expect(await (await response.blob()).text()).toBe("hé");
  else expect(await read(response)).toBe(expected);
  expect(response.bodyUsed).toBe(true);
  expect(await rejection(response.text())).toBeInstanceOf(TypeError);
  expect(() => response.clone()).toThrow(TypeError);
  await expectSettled(pool, server);
});

test("bytes, a form and the content type come out as the standard says", async () => {
  await using server = await httpServer((request, response) => {
    const type = request.url === "/form" ? "application/x-www-form-urlencoded" : "image/PNG";
    response.setHeader("content-type", type).end("a=1&b=2");
  });
  await using pool = new HttpPool();
  const bytes = await ((await pool.fetch(server.url)) as Response & { bytes(): Promise<Uint8Array> }).bytes();
  expect(Object.getPrototypeOf(bytes)).toBe(Uint8Array.prototype);
  expect(bytes.buffer.byteLength).toBe(7);
  expect((await (await pool.fetch(server.url)).blob()).type).toBe("image/png");
  expect([...(await (await pool.fetch(`${server.url}/form`)).formData()).entries()]).toEqual([
    ["a", "1"],
    ["b", "2"],
  ]);
  const cloned = (await pool.fetch(`${server.url}/form`)).clone();
  expect((await cloned.formData()).get("b")).toBe("2");
});

test("json() of what is no JSON throws the language's own error", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200, "<html>")));
  await using pool = new HttpPool();
  expect(await rejection((await pool.fetch(server.url)).json())).toBeInstanceOf(SyntaxError);
});

test("a clone is read apart from its original", async () => {
  await using server = await echoServer();
  await using pool = new HttpPool();
  const response = await pool.fetch(`${server.url}/c`);
  const clone = response.clone();
  const second = clone.clone();
  expect(clone).toBeInstanceOf(Response);
  expect(clone.url).toBe(response.url);
  expect(clone.headers.get("content-type")).toBe("application/json");
  const texts = await Promise.all([response.text(), clone.text(), second.text()]);
  expect(new Set(texts).size).toBe(1);
  expect(pool.getStats()).toMatchObject({ request_count: 1, success_count: 1 });
  await expectSettled(pool, server);
});

test.each([204, 205, 304])("a response %i has no body", async (status) => {
  await using server = await faultServer((socket) =>
    socket.write(`HTTP/1.1 ${status} Nothing\r\n${status === 205 ? "content-length: 0\r\n" : ""}\r\n`),
  );
  await using pool = new HttpPool();
  const response = await pool.fetch(server.url);
  expect([response.status, response.body, await response.text(), response.bodyUsed]).toEqual([status, null, "", false]);
  expect(response.clone().body).toBeNull();
  await expectSettled(pool, server);
});

test("a response to HEAD has no body, and a status beyond 599 is a response", async () => {
  await using server = await faultServer((socket, { line }) =>
    socket.write(line.startsWith("HEAD") ? "HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n" : reply(999, "odd")),
  );
  await using pool = new HttpPool();
  const head = await pool.fetch(server.url, { method: "HEAD" });
  expect([head.status, head.body, head.headers.get("content-length")]).toEqual([200, null, "99"]);
  const odd = await pool.fetch(server.url);
  expect([odd.status, odd.ok, await odd.text()]).toEqual([999, false, "odd"]);
});

test("compression is undone, whoever asked for it", async () => {
  await using server = await httpServer((request, response) => {
    expect(request.headers["accept-encoding"]).toContain("gzip");
    response.setHeader("content-encoding", "gzip").end(gzipSync("inflated"));
  });
  await using pool = new HttpPool();
  for (const init of [{}, { headers: { "accept-encoding": "gzip" } }]) {
    const response = await pool.fetch(server.url, init);
    expect([await response.text(), response.headers.get("content-encoding")]).toEqual(["inflated", null]);
  }
  await using raw = new HttpPool({ disableCompression: true });
  const response = await raw.fetch(server.url, { headers: { "accept-encoding": "gzip" } });
  expect(Buffer.from(await response.arrayBuffer())).toEqual(gzipSync("inflated"));
});

test("a web stream hands out chunks as they come; cancelled, it closes the connection where much is left", async () => {
  const next = deferred();
  await using server = await faultServer((socket) => {
    socket.write("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\none");
    void next.promise.then(() => socket.write("two"));
  });
  await using pool = new HttpPool();
  const { body } = await pool.fetch(server.url);
  const reader: ReadableStreamDefaultReader<Uint8Array> = (body as ReadableStream<Uint8Array>).getReader();
  expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("one");
  next.resolve();
  expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe("two");
  await reader.cancel();
  await server.socketsDownTo(0);
  expect(pool.getStats()).toMatchObject({ canceled_count: 1, in_flight: 0 });
});

test("a cancelled stream whose rest is small keeps the connection", async () => {
  await using server = await faultServer((socket) => socket.write(reply(503, "busy")));
  await using pool = new HttpPool({ maxRetries: 0 });
  for (let i = 0; i < 3; i++) {
    const { body } = await pool.fetch(server.url);
    await body?.cancel();
    await turns(2);
  }
  expect(server.accepted()).toBe(1);
  await expectSettled(pool, server);
});

test("one signal serves any number of requests and keeps nothing of them", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200, "body")));
  await using pool = new HttpPool();
  const { signal } = new AbortController();
  const warnings: Error[] = [];
  const warn = (warning: Error): void => void warnings.push(warning);
  process.on("warning", warn);
  await Promise.all(Array.from({ length: 40 }, async () => (await pool.fetch(server.url, { signal })).text()));
  await (await pool.fetch(server.url, { signal })).body?.cancel();
  await turns(5);
  process.off("warning", warn);
  expect(warnings).toEqual([]);
  expect(getEventListeners(signal, "abort")).toEqual([]);
});

test("it stands in for the global fetch, by its type and as a function without this", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200, "body")));
  await using pool = new HttpPool();
  const before: typeof fetch = globalThis.fetch;
  try {
    globalThis.fetch = pool.fetch;
    expect(await (await fetch(server.url)).text()).toBe("body");
  } finally {
    globalThis.fetch = before;
  }
  expect(pool.getStats().request_count).toBe(1);
});

test("a response that nobody keeps gives its connection back when it is collected as garbage", async () => {
  setFlagsFromString("--expose_gc");
  const collect = runInNewContext("gc") as () => void;
  await using server = await faultServer((socket) =>
    socket.write("HTTP/1.1 200 OK\r\ncontent-length: 10000000\r\n\r\nbeginning"),
  );
  await using pool = new HttpPool({ maxConnsPerHost: 2 });
  for (let i = 0; i < 4; i++) {
    expect((await pool.fetch(server.url)).status).toBe(200);
    for (let turn = 0; turn < 200 && pool.getStats().in_flight > 0; turn++) {
      collect();
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
  expect(pool.getStats()).toMatchObject({ in_flight: 0, request_count: 4 });
});

test.each(["text", "json", "arrayBuffer", "blob", "bytes", "formData", "clone"] as const)(
  "Response.prototype.%s, borrowed for a response of the pool, fails and does not pass for an empty body",
  async (name) => {
    await using server = await faultServer((socket) => socket.write(reply(200, "hi")));
    await using pool = new HttpPool();
    const response = await pool.fetch(server.url);
    const methods = Response.prototype as unknown as Record<string, (this: Response) => unknown>;
    const borrowed = async (): Promise<unknown> => methods[name]?.call(response);
    expect(await rejection(borrowed())).toBeInstanceOf(TypeError);
    // It has taken nothing away.
    expect(await response.text()).toBe("hi");
  },
);

test.each(["body", "bodyUsed", "headers", "ok", "status", "url"] as const)(
  "the getter of Response.prototype.%s, borrowed for a response of the pool, does not lie",
  async (name) => {
    await using server = await faultServer((socket) => socket.write(reply(201, "hi")));
    await using pool = new HttpPool();
    const response = await pool.fetch(server.url);
    const getter = Object.getOwnPropertyDescriptor(Response.prototype, name)?.get as () => unknown;
    expect(() => getter.call(response)).toThrow(TypeError);
    await response.text();
  },
);

test("a response of the pool is a Response to whoever looks", async () => {
  await using server = await faultServer((socket) => socket.write(reply(201, "hi", { "x-a": "1" })));
  await using pool = new HttpPool();
  const response = await pool.fetch(server.url);
  expect(response instanceof Response).toBe(true);
  expect(Object.prototype.toString.call(response)).toBe("[object Response]");
  expect(inspect(response)).toMatch(/status: 201/);
  const copy = new Response(response.body, response);
  expect([copy.status, copy.headers.get("x-a"), await copy.text()]).toEqual([201, "1", "hi"]);
});
