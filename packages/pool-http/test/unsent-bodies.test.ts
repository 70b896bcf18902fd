/** An answer that comes before the request has left. */
import { expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";
import { reply, startFaultServer, stopReading } from "../src/testing.ts";

test.each(["http", "https", "h2c"] as const)(
  "the next request does not queue behind the rest of a body that nobody reads: %s",
  async (protocol) => {
    await using server = await startFaultServer({ protocol, heads: () => [stopReading(), reply(200)] });
    const http2 = protocol === "h2c" ? "on" : "off";
    await using pool = new HttpPool({ http2, timeoutMs: 5000, tls: server.ca === "" ? {} : { ca: server.ca } });
    expect((await pool.post(server.url, Buffer.alloc(20_000_000))).status).toBe(200);
    expect((await pool.post(server.url, "second")).status).toBe(200);
    if (protocol !== "h2c") {
      expect(server.connections.accepted).toBe(2);
      expect(pool.getStats().closed_by_reason).toMatchObject({ not_kept: 1 });
    }
  },
);

test.each(["http", "https"] as const)("a body that has left keeps its connection: %s", async (protocol) => {
  await using server = await startFaultServer({ protocol, requests: reply(200) });
  await using pool = new HttpPool({ tls: server.ca === "" ? {} : { ca: server.ca } });
  for (let n = 0; n < 30; n++) await pool.post(server.url, Buffer.alloc(n * 10_000));
  expect(server.connections.accepted).toBe(1);
});
