import { deflateRawSync, deflateSync } from "node:zlib";
import { expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";
import { httpServer, rejection } from "./support/fault-server.ts";

const text = "x".repeat(5_000_000);

/** Sends its body in two parts, so that a transform sees more than one chunk. */
const server = (body: Buffer) =>
  httpServer((_request, response) => {
    response.setHeader("content-encoding", "deflate");
    response.write(body.subarray(0, 1000));
    setImmediate(() => response.end(body.subarray(1000)));
  });

test.each([
  ["bare", deflateRawSync(text)],
  ["in zlib's format", deflateSync(text)],
])("a stream of deflate is inflated, %s", async (_name, body) => {
  await using upstream = await server(body);
  await using pool = new HttpPool();
  const response = await pool.get(upstream.url, { stream: true });
  let size = 0;
  for await (const chunk of response.body as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size < 1_000_000) await new Promise((resolve) => setImmediate(resolve));
  }
  expect(size).toBe(text.length);
  expect((await (await pool.fetch(upstream.url)).text()).length).toBe(text.length);
  expect(pool.getStats()).toMatchObject({ success_count: 2, in_flight: 0 });
});

test.each([
  ["cut off", deflateRawSync(text).subarray(0, 2000)],
  ["garbage", Buffer.alloc(2000, "\xff", "latin1")],
])("a stream of deflate that is %s fails its reader", async (_name, body) => {
  await using upstream = await server(body);
  await using pool = new HttpPool();
  const response = await pool.get(upstream.url, { stream: true });
  expect(await rejection(response.text())).toMatchObject({ code: "ERR_VG_HTTP_PROTOCOL" });
  expect(pool.getStats()).toMatchObject({ error_count: 1, in_flight: 0 });
});

test("a reader that stops early leaves nothing behind", async () => {
  await using upstream = await server(deflateRawSync(text));
  await using pool = new HttpPool();
  const response = await pool.get(upstream.url, { stream: true });
  for await (const _chunk of response.body) break;
  await upstream.socketsDownTo(1);
  expect(pool.getStats()).toMatchObject({ in_flight: 0 });
});
