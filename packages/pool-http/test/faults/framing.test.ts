/** Heads that contradict themselves. */
import { expect, test } from "vitest";
import { HttpPool, HttpProtocolError } from "../../src/index.ts";
import { raw, startFaultServer } from "../../src/testing.ts";
import { rejection } from "../support/fault-server.ts";

test.each([
  ["two different content-lengths", "content-length: 2\r\ncontent-length: 3\r\n\r\nok!"],
  ["content-length and chunks", "content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
  ["chunks and content-length", "transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
])("%s are a protocol error, and no body that broke off", async (_name, rest) => {
  await using server = await startFaultServer({ requests: raw(`HTTP/1.1 200 OK\r\n${rest}`) });
  await using pool = new HttpPool({ retryBaseMs: 1 });
  const error = await rejection<HttpProtocolError>(pool.get(server.url));
  expect(error).toBeInstanceOf(HttpProtocolError);
  expect(error.message).not.toContain("bytes came");
  expect(error.phase).toBe("headers");
  expect(server.requestCount).toBe(1);
});
