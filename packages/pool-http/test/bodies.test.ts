import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import { HttpPool, type HttpBodyTooLargeError } from "../src/index.ts";
import { decode, parseEncoding } from "../src/exchange/decode.ts";
import { faultServer, httpServer, rejection, reply } from "./support/fault-server.ts";

const text = "compressible ".repeat(5000);

const encoded = (body: Buffer, encoding: string) =>
  httpServer((request, response) => {
    response.writeHead(200, {
      "content-encoding": encoding,
      "x-asked": request.headers["accept-encoding"] ?? "nothing",
    });
    response.end(request.method === "HEAD" ? undefined : body);
  });

test.each([
  ["gzip", gzipSync(text)],
  ["x-gzip", gzipSync(text)],
  ["deflate", deflateSync(text)],
  ["deflate", deflateRawSync(text)],
  ["br", brotliCompressSync(text)],
  ["zstd", zstdCompressSync(text)],
  ["gzip, br", brotliCompressSync(gzipSync(text))],
])("a body in %s is inflated, and its headers tell of the inflated one", async (encoding, body) => {
  await using server = await encoded(body, encoding);
  await using pool = new HttpPool();
  const response = await pool.get(server.url);
  expect(await response.text()).toBe(text);
  expect(response.header("content-encoding")).toBeUndefined();
  expect(response.header("content-length")).toBeUndefined();
  expect(response.header("x-asked")).toBe("gzip, deflate, br, zstd");
  expect(pool.getStats()).toMatchObject({ bytes_received: body.length, total_bytes: body.length });
});

test("a streamed body is inflated as it comes", async () => {
  await using server = await encoded(gzipSync(text), "gzip");
  await using pool = new HttpPool();
  const response = await pool.get(server.url, { stream: true });
  expect(await response.text()).toBe(text);
  expect(pool.getStats()).toMatchObject({ success_count: 1, in_flight: 0 });
});

test.each([
  ["the caller asked for an encoding", { headers: { "accept-encoding": "gzip" } }, "gzip"],
  ["the caller asked for a range", { headers: { range: "bytes=0-9" } }, "nothing"],
])("a body is left as it is where %s", async (_name, options, asked) => {
  const body = gzipSync(text);
  await using server = await encoded(body, "gzip");
  await using pool = new HttpPool();
  const response = await pool.get(server.url, options);
  expect(Buffer.from(await response.bytes()).equals(body)).toBe(true);
  expect(response.header("content-encoding")).toBe("gzip");
  expect(response.header("x-asked")).toBe(asked);
});

test("HEAD and disableCompression do not ask for compression", async () => {
  await using server = await encoded(gzipSync(text), "gzip");
  await using pool = new HttpPool();
  expect((await pool.head(server.url)).header("x-asked")).toBe("nothing");
  await using plain = new HttpPool({ disableCompression: true });
  expect((await plain.get(server.url)).header("x-asked")).toBe("nothing");
});

test("an unknown encoding is handed out as it is", async () => {
  await using server = await encoded(Buffer.from("as is"), "rot13");
  await using pool = new HttpPool();
  const response = await pool.get(server.url);
  expect([await response.text(), response.header("content-encoding")]).toEqual(["as is", "rot13"]);
});

test.each([false, true])("a body that is not what it claims to be is a protocol error (stream: %s)", async (stream) => {
  await using server = await encoded(Buffer.from("not gzip at all"), "gzip");
  await using pool = new HttpPool();
  const error = await rejection(pool.get(server.url, { stream }).then((response) => response.text()));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_PROTOCOL", phase: "body" });
  expect(pool.getStats()).toMatchObject({ error_count: 1, canceled_count: 0, in_flight: 0 });
});

test("a bomb is cut at maxResponseBytes, buffered and streamed", async () => {
  const bomb = gzipSync(Buffer.alloc(20 * 1024 * 1024));
  await using server = await encoded(bomb, "gzip");
  await using pool = new HttpPool({ maxResponseBytes: 1024 * 1024 });
  const error = await rejection<HttpBodyTooLargeError>(pool.get(server.url));
  expect(error.code).toBe("ERR_VG_HTTP_BODY_TOO_LARGE");
  expect(error.message).toContain("maxResponseBytes is 1048576");
  expect(error.attempts.length).toBe(1);
  const streamed = await pool.get(server.url, { stream: true });
  expect(await rejection(streamed.bytes())).toMatchObject({ code: "ERR_VG_HTTP_BODY_TOO_LARGE" });
});

test("a small bomb within small input is cut as well", async () => {
  await using server = await encoded(brotliCompressSync(Buffer.alloc(5 * 1024 * 1024)), "br");
  await using pool = new HttpPool();
  expect(await rejection(pool.get(server.url, { maxResponseBytes: 1000 }))).toMatchObject({
    code: "ERR_VG_HTTP_BODY_TOO_LARGE",
  });
  expect((await (await pool.get(server.url)).bytes()).length).toBe(5 * 1024 * 1024);
});

test.each([
  ["declared", reply(200, "x".repeat(2000))],
  ["chunked", `HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n${"x".repeat(2000)}\r\n0\r\n\r\n`],
])("a body that is too large is cut where its size is %s", async (_name, raw) => {
  await using server = await faultServer((socket) => socket.write(raw));
  await using pool = new HttpPool();
  const error = await rejection(pool.get(server.url, { maxResponseBytes: 1000 }));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_BODY_TOO_LARGE" });
  await server.socketsDownTo(0);
  expect((await (await pool.get(server.url, { maxResponseBytes: 2000 })).bytes()).length).toBe(2000);
});

test("HEAD is not refused for the size that it declares", async () => {
  await using server = await faultServer((socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n"));
  await using pool = new HttpPool({ maxResponseBytes: 10 });
  expect((await pool.head(server.url)).header("content-length")).toBe("99999");
});

test("whatever is compressed comes back the same, or is refused by its size", async () => {
  const codings = { gzip: gzipSync, deflate: deflateSync, br: brotliCompressSync, zstd: zstdCompressSync };
  await fc.assert(
    fc.asyncProperty(
      fc.uint8Array({ maxLength: 3000 }),
      fc.array(fc.constantFrom(...(Object.keys(codings) as (keyof typeof codings)[])), { minLength: 1, maxLength: 3 }),
      fc.integer({ min: 1, max: 3000 }),
      async (bytes, layers, limit) => {
        const wire = layers.reduce((data, layer) => codings[layer](data), Buffer.from(bytes));
        const parsed = parseEncoding(layers.join(", ")) as readonly string[];
        expect(Buffer.from(await decode(wire, parsed, 100_000)).equals(bytes)).toBe(true);
        const [limited] = await Promise.allSettled([(async () => decode(wire, parsed, limit))()]);
        // A layer in between may be larger than what is in it, so a small body may be refused, too.
        if (limited.status === "fulfilled") expect(limited.value.length).toBeLessThanOrEqual(limit);
        else expect(limited.reason).toMatchObject({ code: "ERR_BUFFER_TOO_LARGE" });
        if (bytes.length > limit) expect(limited.status).toBe("rejected");
      },
    ),
    { numRuns: 50 },
  );
});
