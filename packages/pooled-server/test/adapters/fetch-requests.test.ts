import { currentRequest, type FetchEnvironment } from "@vg/pooled-server";
import { Hono } from "hono";
import { expect, test } from "vitest";
import { wire } from "../support/wire.ts";
import { gate, listen } from "../support/server.ts";

/** Shows what came. */
const mirror = {
  async fetch(request: Request): Promise<Response> {
    const body = await request.text();
    return Response.json({ url: request.url, method: request.method, body });
  },
};

async function send(text: string, base: Parameters<typeof listen>[0] = mirror): Promise<string> {
  const { url } = await listen(base);
  const { socket, closed } = await wire(url);
  socket.write(text);
  return closed;
}

test.each([
  ["GET /a?b=%20c HTTP/1.1\r\nhost: example.com:81", "http://example.com:81/a?b=%20c"],
  ["GET //elsewhere/a HTTP/1.1\r\nhost: example.com", "http://example.com//elsewhere/a"],
  ["GET /a/../b HTTP/1.1\r\nhost: my_host.internal", "http://my_host.internal/b"],
  ["GET / HTTP/1.1\r\nhost: [::1]:8080", "http://[::1]:8080/"],
  ["GET http://other.example/x HTTP/1.1\r\nhost: example.com", "http://other.example/x"],
  ["OPTIONS * HTTP/1.1\r\nhost: example.com", "http://example.com/*"],
])("%j has the URL %s", async (head, url) => {
  expect(await send(`${head}\r\nconnection: close\r\n\r\n`)).toContain(JSON.stringify(url));
});

test("headers that browsers forbid are there: Host, Cookie, Content-Length", async () => {
  const base = {
    fetch: ({ headers }: Request) =>
      Response.json(["host", "cookie", "content-length"].map((each) => headers.get(each))),
  };
  const head =
    "POST / HTTP/1.1\r\nhost: h\r\ncookie: a=1\r\ncookie: b=2\r\ncontent-length: 2\r\nconnection: close\r\n\r\n";
  expect(await send(`${head}ab`, base)).toContain('["h","a=1; b=2","2"]');
});

test("without a Host, which HTTP/1.0 allows, the URL has the server's address", async () => {
  expect(await send("GET /a HTTP/1.0\r\n\r\n")).toMatch(/"http:\/\/127\.0\.0\.1:\d+\/a"/);
});

test.each(["user@evil", "a b", "a/b", "a?b", "a#b", "a\\b", "<script>", "999.999.999.999", "[::1", "a:99999", ""])(
  "the Host %j is a 400 with the server's document, which has nothing of it",
  async (host) => {
    const answer = await send(`GET / HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`);
    expect(answer).toMatch(/^HTTP\/1\.1 400 /);
    expect(answer).toContain('"code":"invalid_request"');
    if (host.length > 5) expect(answer).not.toContain(host);
  },
);

test("a method that no Request can have is a 501", async () => {
  const answer = await send("TRACE / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
  expect(answer).toMatch(/^HTTP\/1\.1 501 /);
});

test("a body that comes with a GET is dropped, and the connection serves on", async () => {
  const get = "GET / HTTP/1.1\r\nhost: h\r\ncontent-length: 5\r\n";
  const answer = await send(`${get}\r\nhello${get}connection: close\r\n\r\nhello`);
  expect(answer.match(/"body":""/g)).toHaveLength(2);
});

test("a body in chunks with trailers arrives, and one of no length is none", async () => {
  const head = "POST / HTTP/1.1\r\nhost: h\r\n";
  const answer = await send(
    `${head}transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nx-sum: 1\r\n\r\n${head}content-length: 0\r\nconnection: close\r\n\r\n`,
  );
  expect(answer).toContain('"body":"abcde"');
  expect(answer).toContain('"body":""');
});

test("a Request can be copied, and the copy is aborted too when the client leaves", async () => {
  const signals: AbortSignal[] = [];
  const aborted = new Promise<void>((resolve) => {
    void listen({
      fetch(request: Request): Promise<Response> {
        const copy = new Request(request, { headers: { "x-more": "1" } });
        signals.push(copy.signal, request.signal, currentRequest()?.signal as AbortSignal);
        copy.signal.addEventListener("abort", () => resolve());
        socketGo();
        return new Promise(() => undefined);
      },
    }).then(async ({ url }) => {
      const { socket } = await wire(url);
      socketGo = () => void socket.destroy();
      socket.write("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 3\r\n\r\nabc");
    });
  });
  let socketGo = (): void => undefined;
  await aborted;
  expect(signals.map((each) => each.aborted)).toEqual([true, true, true]);
});

test("a body that is left in its middle does not stand before the connection's next request", async () => {
  const base = {
    async fetch(request: Request): Promise<Response> {
      const { value } = await (request.body as ReadableStream<Uint8Array>).getReader().read();
      return new Response(String(value?.byteLength !== 0));
    },
  };
  const post = `POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 500000\r\n`;
  const body = "x".repeat(500_000);
  const answer = await send(`${post}\r\n${body}${post}connection: close\r\n\r\n${body}`, base);
  expect(answer.match(/true/g)).toHaveLength(2);
});

test.each(["cancelled", "read by a BYOB reader", "read after the answer"])("a body may be %s", async (how) => {
  let late: Promise<unknown> | undefined;
  const base = {
    async fetch(request: Request): Promise<Response> {
      const body = request.body as ReadableStream<Uint8Array>;
      if (how === "cancelled") await body.cancel("enough");
      if (how === "read by a BYOB reader") {
        const reader = body.getReader({ mode: "byob" });
        const parts: number[] = [];
        for (;;) {
          const { done, value } = await reader.read(new Uint8Array(1000));
          if (done) break;
          parts.push(value.byteLength);
        }
        return new Response(`${parts.reduce((a, b) => a + b, 0)} in at most ${Math.max(...parts)}`);
      }
      const reader = how === "read after the answer" ? body.getReader() : undefined;
      await reader?.read();
      late = reader?.closed.catch((error: unknown) => error);
      return new Response("answered");
    },
  };
  const { url } = await listen(base);
  for (let round = 0; round < 3; round++) {
    const response = await fetch(url, { method: "POST", body: Buffer.alloc(300_000) });
    expect(await response.text()).toBe(how === "read by a BYOB reader" ? "300000 in at most 1000" : "answered");
  }
  if (late !== undefined) expect(String(await late)).toContain("its request has been answered");
});

test("the second argument has node's own objects, and the answer may be given with them", async () => {
  const app = new Hono<{ Bindings: FetchEnvironment }>();
  app.get("/", (c) => {
    c.env.outgoing.end(`by hand, to ${c.env.incoming.socket.remoteAddress}`);
    return new Response("not sent");
  });
  const { get } = await listen(app);
  expect(await (await get("/")).text()).toBe("by hand, to 127.0.0.1");
});

test.each([
  ["the default getPath", new Hono()],
  ["strict: false", new Hono({ strict: false })],
  ["a base path", new Hono().basePath("/v1")],
])("Hono's routes are known with %s, those of HEAD too, and middleware is none", async (_name, app) => {
  app.use("*", (_c, next) => next());
  app.get("/items/:id", (c) => c.text("ok"));
  app.all("/any/*", (c) => c.text("ok"));
  const { url, get } = await listen(app);
  const prefix = _name === "a base path" ? "/v1" : "";
  await fetch(`${url}${prefix}/items/1`, { method: "HEAD" });
  await get(`${prefix}/any/thing`);
  await get("/other");
  await expect.poll(async () => (await get("/metrics")).text()).toContain('http_route="other"');
  const text = await (await get("/metrics")).text();
  expect(text).toContain(`http_request_method="HEAD",http_route="${prefix}/items/:id"`);
  expect(text).toContain(`http_route="${prefix}/any/*"`);
  expect(text).not.toContain('http_route="*"');
});

/** Answers with what reading the body in this way gives, or fails with. */
function reading(read: (request: Request) => Promise<unknown>): { fetch(request: Request): Promise<Response> } {
  return {
    async fetch(request) {
      try {
        return Response.json({ read: await read(request), used: request.bodyUsed });
      } catch (error) {
        return Response.json({ error: (error as Error).name, used: request.bodyUsed });
      }
    },
  };
}

test.each<[string, (request: Request) => Promise<unknown>, string | Uint8Array<ArrayBuffer>, unknown]>([
  ["text()", (request) => request.text(), "text", { read: "text", used: true }],
  ["text(), without a byte order mark", (request) => request.text(), "\ufefftext", { read: "text", used: true }],
  ["text() that is not UTF-8", (request) => request.text(), Uint8Array.of(0xff, 65), { read: "\ufffdA", used: true }],
  ["json()", (request) => request.json(), "[1]", { read: [1], used: true }],
  ["json(), without a byte order mark", (request) => request.json(), "\ufeff[1]", { read: [1], used: true }],
  ["json() of what is none", (request) => request.json(), "[1", { error: "SyntaxError", used: true }],
  ["arrayBuffer()", async (request) => (await request.arrayBuffer()).byteLength, "text", { read: 4, used: true }],
  ["blob()", async (request) => (await request.blob()).text(), "text", { read: "text", used: true }],
  ["formData()", async (request) => (await request.formData()).get("a"), "a=b", { read: "b", used: true }],
  [
    "text() twice",
    async (request) => [await request.text(), await request.text()],
    "text",
    { error: "TypeError", used: true },
  ],
  [
    "text() of a clone, and of what it is a clone of",
    async (request) => {
      const clone = request.clone();
      return [await clone.text(), await request.text()];
    },
    "text",
    { read: ["text", "text"], used: true },
  ],
  ["text() of a copy", (request) => new Request(request).text(), "text", { read: "text", used: true }],
  [
    "text() after a cancel",
    async (request) => {
      await request.body?.cancel();
      return request.text();
    },
    "text",
    { error: "TypeError", used: true },
  ],
  ["nothing", async () => "untouched", "text", { read: "untouched", used: false }],
])("a body is read by %s as the standard has it", async (_name, read, body, expected) => {
  const { url } = await listen(reading(read));
  for (let round = 0; round < 2; round++) {
    const headers = { "content-type": "application/x-www-form-urlencoded" };
    expect(await (await fetch(url, { method: "POST", headers, body })).json()).toEqual(expected);
  }
});

test.each<[string, (request: Request) => Promise<unknown>]>([
  ["text()", (request) => request.text()],
  ["arrayBuffer()", (request) => request.arrayBuffer()],
])("a client that leaves within its body fails the reader of %s", async (_name, read) => {
  const failed = gate<unknown>();
  const arrived = gate();
  const { url } = await listen({
    async fetch(request: Request) {
      arrived.open();
      await read(request).catch(failed.open);
      return new Response();
    },
  });
  const { socket } = await wire(url);
  socket.write("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nhalf");
  await arrived.opened;
  socket.destroy();
  expect(String(await failed.opened)).toMatch(/client closed the connection/);
});
