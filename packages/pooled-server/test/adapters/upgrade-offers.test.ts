import { createServer } from "node:http";
import type { Duplex } from "node:stream";
import { expect, test } from "vitest";
import { wire } from "../support/wire.ts";
import { listen } from "../support/server.ts";

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
