import { expect, test } from "vitest";
import { HttpPool, type HttpTimeoutError } from "../src/index.ts";
import { hold, reply, startFaultServer } from "../src/testing.ts";
import { rejection } from "./support/fault-server.ts";

test("without TLS no time is said to be spent on it: the wait for HTTP/2's SETTINGS is of the connect", async () => {
  await using server = await startFaultServer({ protocol: "h2c", connections: hold("settings"), requests: reply(200) });
  await using pool = new HttpPool({ http2: "on" });
  const error = await rejection<HttpTimeoutError>(pool.get(server.url, { timeoutMs: 50 }));
  expect(error.timings).toMatchObject({ tls_ms: 0 });
  expect(error.timings?.connect_ms).toBeGreaterThan(10);
  const response = pool.get(server.url);
  server.release("settings");
  expect((await response).timings.tls_ms).toBe(0);
  expect(pool.getStats().avg_tls_ms).toBe(0);
});
