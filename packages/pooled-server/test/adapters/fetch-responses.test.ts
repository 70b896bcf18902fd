import { createServer, request as httpRequest, type IncomingMessage } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { expect, onTestFinished, test } from "vitest";
import { gate, listen } from "../support/server.ts";
import { wire } from "../support/wire.ts";

type Answer = () => unknown;

const answering = (answer: Answer) => listen({ fetch: () => answer() });

test.each<[string, Answer, string]>([
  ["nothing", () => undefined, "must return a Response, got undefined"],
  ["null", () => null, "got null"],
  ["a text", () => "hello", "got a string"],
  ["another object", () => new Date(), "got an object of the class Date"],
  ["Response.error()", () => Response.error(), "returned Response.error(), which cannot be sent"],
  [
    "a Response that was read",
    async () => {
      const response = new Response("x");
      await response.text();
      return response;
    },
    "whose body has been read or is being read",
  ],
  [
    "a Response that is being read",
    () => {
      const response = new Response("x");
      response.body?.getReader();
      return response;
    },
    "whose body has been read or is being read",
  ],
  [
    "a piece that is no bytes",
    () => new Response(ReadableStream.from(["text"]) as ReadableStream),
    "must be a Uint8Array, got a string",
  ],
])("%s is a 500, and the log says what it was", async (_name, answer, message) => {
  const { get, logs } = await answering(answer);
  const response = await get("/");
  expect(response.status).toBe(500);
  expect(await response.json()).toMatchObject({ error: { code: "internal_error" } });
  const line = logs.find({ message: "The request's handler failed" });
  expect(line).toMatchObject({ error: { code: "ERR_VG_SERVER_BASE" } });
  expect(JSON.stringify(line)).toContain(message);
});

test("status, its text and headers go out as they are", async () => {
  const { get } = await answering(
    () => new Response("made", { status: 201, statusText: "Made It", headers: { "x-a": "1, 2", connection: "close" } }),
  );
  const response = await get("/");
  expect([response.status, response.statusText, response.headers.get("x-a")]).toEqual([201, "Made It", "1, 2"]);
  expect(response.headers.get("connection")).toBe("close");
});

test.each<[string, () => Response, string | null]>([
  ["a text", () => new Response("hello"), "5"],
  ["an empty text", () => new Response(""), "0"],
  ["none", () => new Response(null), "0"],
  ["bytes", () => new Response(new Uint8Array(70_000)), "70000"],
  ["a form", () => new Response(new URLSearchParams({ a: "b" })), "3"],
  ["a blob", () => new Response(new Blob(["blob"])), "4"],
  ["a stream", () => new Response(ReadableStream.from([Buffer.from("a"), Buffer.from("b")])), null],
])("a body that is there at once has its length, a stream has none: %s", async (name, make, length) => {
  const { get } = await answering(make);
  const response = await get("/");
  // Blobs are read in the background.
  if (name !== "a blob") expect(response.headers.get("content-length")).toBe(length);
  const bytes = (await response.arrayBuffer()).byteLength;
  expect(bytes).toBe(length === null ? 2 : Number(length));
});

test.each([204, 205, 304])("a %i has no body, whatever length it says", async (status) => {
  const { get } = await answering(
    () => new Response(null, { status, headers: { etag: '"1"', "content-length": "10" } }),
  );
  const response = await get("/");
  expect([response.status, response.headers.get("etag"), await response.text()]).toEqual([status, '"1"', ""]);
});

test("to a HEAD the length that was said goes out, and the body is cancelled unread", async () => {
  const cancelled = gate<unknown>();
  const { url } = await answering(
    () => new Response(new ReadableStream({ cancel: cancelled.open }), { headers: { "content-length": "123" } }),
  );
  const response = await fetch(url, { method: "HEAD" });
  expect(response.headers.get("content-length")).toBe("123");
  await cancelled.opened;
});

test("the head goes out before the first piece is there", async () => {
  const mayGo = gate();
  const { get } = await answering(
    () =>
      new Response(
        new ReadableStream({
          async start(controller) {
            await mayGo.opened;
            controller.enqueue(Buffer.from("late"));
            controller.close();
          },
        }),
        { headers: { "content-type": "text/event-stream" } },
      ),
  );
  const response = await get("/");
  expect(response.headers.get("content-type")).toBe("text/event-stream");
  mayGo.open();
  expect(await response.text()).toBe("late");
});

test.each<[string, (controller: ReadableStreamDefaultController<Uint8Array>) => void]>([
  ["before its first piece", (controller) => controller.error(new Error("boom"))],
  [
    "after it",
    (controller) => {
      controller.enqueue(Buffer.from("half"));
      setImmediate(() => setImmediate(() => controller.error(new Error("boom"))));
    },
  ],
])("a body that fails %s is no whole answer", async (when, start) => {
  const { get, logs } = await answering(() => new Response(new ReadableStream({ start })));
  const answer = get("/").then(async (response) => [response.status, await response.text()]);
  if (when === "after it") await expect(answer).rejects.toThrow();
  else expect(await answer).toEqual([500, expect.stringContaining("internal_error")]);
  await expect.poll(() => logs.find({ message: "http_request" })).toMatchObject({ status_code: 500 });
});

test.each([
  ["shorter", "100", "short"],
  ["longer", "3", "too long"],
])("a body that is %s than its head says breaks the connection", async (_name, length, text) => {
  const body = () => ReadableStream.from([Buffer.from(text)]);
  const { get } = await answering(() => new Response(body(), { headers: { "content-length": length } }));
  await expect(
    get("/").then((response) => (response.status === 500 ? Promise.reject(response) : response.text())),
  ).rejects.toBeDefined();
});

test("a client that leaves cancels a body that waits, and one that waits for room", async () => {
  const cancelled = [gate<unknown>(), gate<unknown>()];
  const started = [gate(), gate()];
  const { url } = await listen({
    fetch(request: Request) {
      const which = request.url.endsWith("/quiet") ? 0 : 1;
      return new Response(
        new ReadableStream({
          pull(controller) {
            started[which]?.open();
            if (which === 1) return controller.enqueue(new Uint8Array(1_000_000));
            return new Promise(() => undefined);
          },
          cancel: (reason) => cancelled[which]?.open(reason),
        }),
      );
    },
  });
  for (const [which, path] of ["/quiet", "/loud"].entries()) {
    const { socket } = await wire(url);
    socket.pause();
    socket.write(`GET ${path} HTTP/1.1\r\nhost: h\r\n\r\n`);
    await started[which]?.opened;
    socket.destroy();
    expect(String(await cancelled[which]?.opened)).toContain("client has left");
  }
});

test("what another server has answered can be handed on: decoded, and without what belongs to its connection", async () => {
  const upstream = createServer((_request, response) => {
    response.writeHead(200, {
      "content-encoding": "gzip",
      "content-length": gzipSync("from upstream").length,
      "keep-alive": "timeout=99",
      "set-cookie": ["a=1", "b=2"],
      "x-upstream": "yes",
    });
    response.end(gzipSync("from upstream"));
  });
  await once(upstream.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => void upstream.close());
  const { port } = upstream.address() as AddressInfo;
  const { url } = await answering(() => fetch(`http://127.0.0.1:${port}/`));
  const request = httpRequest(url).end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  let text = "";
  for await (const chunk of response) text += String(chunk);
  expect(text).toBe("from upstream");
  expect(response.headers).toMatchObject({ "x-upstream": "yes", "set-cookie": ["a=1", "b=2"] });
  expect(response.headers["content-encoding"]).toBeUndefined();
  expect(response.headers["keep-alive"]).not.toBe("timeout=99");
});

test("an answer to a client that has left already is cancelled", async () => {
  const cancelled = gate<unknown>();
  const { url } = await listen({
    async fetch(request: Request) {
      leave();
      await once(request.signal, "abort");
      return new Response(new ReadableStream({ cancel: cancelled.open }));
    },
  });
  const { socket } = await wire(url);
  const leave = (): void => void socket.destroy();
  socket.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
  await cancelled.opened;
});

test("a client that leaves cancels a body that is behind another in the pipeline", async () => {
  const cancelled = gate<unknown>();
  const both = gate();
  const { url } = await listen({
    fetch(request: Request) {
      if (request.url.endsWith("/first")) return new Promise<Response>(() => undefined);
      return new Response(
        new ReadableStream({
          pull(controller) {
            controller.enqueue(new Uint8Array(1_000_000));
            both.open();
          },
          cancel: cancelled.open,
        }),
      );
    },
  });
  const { socket } = await wire(url);
  socket.write("GET /first HTTP/1.1\r\nhost: h\r\n\r\nGET /second HTTP/1.1\r\nhost: h\r\n\r\n");
  await both.opened;
  socket.destroy();
  expect(String(await cancelled.opened)).toContain("client has left");
});

test("a body that a shutdown aborts may still have its last word", async () => {
  const started = gate();
  const { get, server } = await listen(
    {
      fetch({ signal }: Request) {
        return new Response(
          new ReadableStream({
            start(controller) {
              controller.enqueue(Buffer.from("first, "));
              signal.addEventListener("abort", () => {
                controller.enqueue(Buffer.from("last"));
                controller.close();
              });
              started.open();
            },
          }),
        );
      },
    },
    { shutdownTimeoutMs: 500 },
  );
  const answer = get("/").then((response) => response.text());
  await started.opened;
  await server.close();
  expect(await answer).toBe("first, last");
});
