import { createServer } from "node:http";
import type { Duplex } from "node:stream";
import { expect, test } from "vitest";
import { wire } from "../support/wire.ts";
import { listen } from "../support/server.ts";

const UPGRADE = "GET /socket HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: echo\r\nx-request-id: up-1\r\n\r\n";

test("an async listener of upgrades that rejects refuses its client, is logged, and does not end the process", async () => {
  const { server, url, logs } = await listen((_request, response) => response.end());
  server.onUpgrade(async () => {
    await Promise.resolve();
    throw new Error("Nobody knows this token");
  });
  const { socket, closed } = await wire(url);
  socket.write(UPGRADE);
  expect(await closed).toMatch(/^HTTP\/1\.1 500 Internal Server Error\r\n/);
  await expect
    .poll(() => logs.find("The listener of an upgrade failed"))
    .toMatchObject({ path: "/socket", request_id: "up-1", error: { message: "Nobody knows this token" } });
});

// Older versions of Node.js give a server no say in what is an upgrade.
const mayChoose = "shouldUpgradeCallback" in createServer();

test.runIf(mayChoose)(
  "a request that offers HTTP/2 beside a WebSocket server is answered as the request that it is",
  async () => {
    const upgrades: unknown[] = [];
    const { server, url } = await listen((request, response) => response.end(`plain ${request.url}`));
    server.onUpgrade((request, socket: Duplex) => {
      upgrades.push(request.url);
      socket.destroy();
    });
    const offer = "connection: close, upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQ\r\n\r\n";
    for (const [path, answer] of [
      ["/a", "plain /a"],
      ["/livez", '"status":"ok"'],
    ] as const) {
      const { socket, until } = await wire(url);
      socket.write(`GET ${path} HTTP/1.1\r\nhost: h\r\n${offer}`);
      await until(answer);
      socket.destroy();
    }
    expect(upgrades).toEqual([]);
  },
);
