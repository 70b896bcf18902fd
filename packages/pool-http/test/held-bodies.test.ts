import { expect, test } from "vitest";
import { HttpBodyTooLargeError, HttpPool } from "../src/index.ts";
import { faultServer, rejection, reply } from "./support/fault-server.ts";

test("the body of the last attempt is as limited as any, though it came with headers that might have led to a retry", async () => {
  await using server = await faultServer((socket) =>
    socket.write(`HTTP/1.1 503 Busy\r\ntransfer-encoding: chunked\r\n\r\n9\r\n123456789\r\n0\r\n\r\n`),
  );
  await using pool = new HttpPool({ maxResponseBytes: 8, maxRetries: 0 });
  expect(await rejection(pool.get(server.url))).toBeInstanceOf(HttpBodyTooLargeError);
  const allowed = await pool.get(server.url, { maxResponseBytes: 9 });
  expect(await allowed.text()).toBe("123456789");
});

test("a large body behind such headers waits for the decision, and then comes whole", async () => {
  const body = "x".repeat(1_000_000);
  await using server = await faultServer((socket) => socket.write(reply(503, body)));
  await using pool = new HttpPool({ maxRetries: 0 });
  expect(await (await pool.get(server.url)).text()).toBe(body);
  const streamed = await pool.get(server.url, { stream: true });
  expect(await streamed.text()).toBe(body);
});
