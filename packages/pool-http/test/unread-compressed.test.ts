import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { HttpPool, HttpProtocolError } from "../src/index.ts";
import { httpServer, rejection } from "./support/fault-server.ts";

const ZIPPED = gzipSync("x".repeat(50_000));

function zippedServer(body: Buffer = ZIPPED): ReturnType<typeof httpServer> {
  return httpServer((_request, response) => {
    response.writeHead(200, { "content-encoding": "gzip", "content-length": body.length });
    response.end(body);
  });
}

test("a compressed response whose body nobody reads ends with its last byte on the wire", async () => {
  await using server = await zippedServer();
  const pool = new HttpPool({ maxConnsPerHost: 1 });
  const { signal } = new AbortController();
  for (let n = 0; n < 20; n++) {
    const response =
      n % 2 === 0 ? await pool.fetch(server.url, { signal }) : await pool.get(server.url, { stream: true });
    expect(response.status).toBe(200);
  }
  // The last one may still be on its way.
  await pool.get(server.url);
  expect(pool.getStats()).toMatchObject({ in_flight: 0, success_count: 21, open_connections: 1 });
  expect(await pool.close()).toMatchObject({ killed: 0 });
});

test("one that cannot be inflated is an error for its reader and in the statistics, though it had come whole", async () => {
  await using server = await zippedServer(Buffer.from("no gzip at all"));
  await using pool = new HttpPool();
  const response = await pool.get(server.url, { stream: true });
  await pool.health(server.url);
  expect(await rejection(response.text())).toBeInstanceOf(HttpProtocolError);
  expect(pool.getStats()).toMatchObject({ success_count: 0, error_count: 1, in_flight: 0 });
});
