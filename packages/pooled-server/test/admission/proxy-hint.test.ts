import type { PooledServerConfig } from "@vg/pooled-server";
import { expect, test } from "vitest";
import { listen } from "../support/server.ts";
import { wire } from "../support/wire.ts";

const HINT = "Clients behind a proxy may share one rate; name the proxy in trustedProxies if it is yours";

async function refusedBehindProxy(config: PooledServerConfig = {}, more: Record<string, string> = {}) {
  const running = await listen((_request, response) => response.end(), {
    rateLimitPerSecond: 1,
    clock: { now: () => 0 },
    ...config,
  });
  const statuses: number[] = [];
  for (let i = 0; i < 4; i++) {
    statuses.push((await running.get("/", { "x-forwarded-for": `203.0.113.${i % 2}`, ...more })).status);
  }
  return { statuses, hints: running.logs.filter(HINT) };
}

test("where all clients of an unknown proxy share one rate, the log says so, once", async () => {
  const { statuses, hints } = await refusedBehindProxy();
  expect(statuses).toEqual([200, 429, 429, 429]);
  expect(hints).toMatchObject([{ level: "warn", client_address: "127.0.0.1", setting: "trustedProxies" }]);
});

test("of a proxy that is known, of clients with credentials and of a service that names them there is nothing to say", async () => {
  const known = await refusedBehindProxy({ trustedProxies: ["127.0.0.1"] });
  expect(known).toEqual({ statuses: [200, 200, 429, 429], hints: [] });
  expect((await refusedBehindProxy({}, { authorization: "Bearer one" })).hints).toEqual([]);
  expect((await refusedBehindProxy({ identify: () => "somebody" })).hints).toEqual([]);
});

test("it is said of upgrades, too", async () => {
  const { server, url, logs } = await listen((_request, response) => response.end(), {
    rateLimitPerSecond: 1,
    clock: { now: () => 0 },
  });
  server.onUpgrade((_request, socket) => socket.end("HTTP/1.1 403 Forbidden\r\n\r\n"));
  for (const status of [403, 429]) {
    const client = await wire(url);
    client.send(
      "GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: echo\r\nx-forwarded-for: 203.0.113.1\r\n\r\n",
    );
    expect(await client.closed).toContain(`HTTP/1.1 ${status} `);
  }
  expect(logs.filter(HINT)).toHaveLength(1);
});
