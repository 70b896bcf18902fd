import type { Duplex } from "node:stream";
import { currentRequest } from "@vg/pooled-server";
import Fastify from "fastify";
import { expect, test } from "vitest";
import { wire } from "../support/wire.ts";
import { gate, listen } from "../support/server.ts";

const UPGRADE = "GET /socket HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: echo\r\nx-request-id: up-1\r\n\r\n";
const ACCEPTED = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";

/** A protocol that says everything back. */
function echo(socket: Duplex): void {
  socket.write(ACCEPTED);
  socket.on("data", (chunk: Buffer) => socket.write(`echo ${String(chunk)}`));
}

test("a listener gets the upgrade inside the request's context, and the connection is its own", async () => {
  const seen: unknown[] = [];
  const { server, url, get } = await listen((_request, response) => response.end("ordinary"));
  server.onUpgrade((request, socket) => {
    seen.push(request.url, currentRequest()?.requestId);
    echo(socket);
  });
  const { socket, until } = await wire(url);
  socket.write(UPGRADE);
  await until("101 Switching Protocols");
  socket.write("hello");
  await until("echo hello");
  expect(seen).toEqual(["/socket", "up-1"]);
  expect(await (await get("/")).text()).toBe("ordinary");
  socket.destroy();
});

test("listeners on the server that a Fastify instance brings get upgrades", async () => {
  const app = Fastify();
  // As its plugins for WebSocket do.
  app.register(async (scope) => void scope.server.on("upgrade", (_request, socket) => echo(socket)));
  const { url } = await listen(app);
  const { socket, until } = await wire(url);
  socket.write(UPGRADE);
  await until("101 Switching Protocols");
  socket.destroy();
});

test("an open upgraded connection does not hold up the end: its signal aborts and it is cut", async () => {
  const aborted = gate();
  const { server, url } = await listen((_request, response) => response.end());
  server.onUpgrade((_request, socket) => {
    currentRequest()?.signal.addEventListener("abort", () => aborted.open());
    echo(socket);
  });
  const { socket, until, closed } = await wire(url);
  socket.write(UPGRADE);
  await until("101 Switching Protocols");
  expect(await server.close()).toMatchObject({ clean: true, stuck: [] });
  await closed;
  await aborted.opened;
});

test("while the server drains, upgrades are refused", async () => {
  const arrived = gate();
  const mayAnswer = gate();
  const { server, url, get } = await listen(async (_request, response) => {
    arrived.open();
    await mayAnswer.opened;
    response.end("done");
  });
  server.onUpgrade((_request, socket) => echo(socket));
  const { socket, closed } = await wire(url);
  socket.write("GET /socket HTTP/1.1\r\nhost: h\r\n");
  const held = get("/");
  await arrived.opened;
  const closing = server.close();
  socket.write("connection: upgrade\r\nupgrade: echo\r\n\r\n");
  expect(await closed).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n.*retry-after: 1\r\n.*shutting down/s);
  mayAnswer.open();
  await held;
  await closing;
});

test("a listener that throws is logged, and its client gets a 500", async () => {
  const { server, url, logs } = await listen((_request, response) => response.end());
  server.onUpgrade(() => {
    throw new Error("boom");
  });
  const { socket, closed } = await wire(url);
  socket.write(UPGRADE);
  expect(await closed).toMatch(/^HTTP\/1\.1 500 /);
  expect(logs.find({ message: "The listener of an upgrade failed" })).toMatchObject({ request_id: "up-1" });
});

test("who has a socket hears that the server drains, and may say goodbye", async () => {
  const { server, url } = await listen((_request, response) => response.end());
  server.onUpgrade((_request, socket) => {
    currentRequest()?.draining.addEventListener("abort", () => socket.end("goodbye"));
    echo(socket);
  });
  const { socket, until, closed } = await wire(url);
  socket.write(UPGRADE);
  await until("101 Switching Protocols");
  expect((await server.close()).clean).toBe(true);
  expect(await closed).toContain("goodbye");
});

test("an async listener that rejects is logged, and its client gets a 500, or a broken connection after the handshake", async () => {
  const { server, url, logs } = await listen((_request, response) => response.end());
  const listener = async (request: { url?: string | undefined }, socket: Duplex): Promise<void> => {
    if (request.url === "/socket") echo(socket);
    await Promise.resolve();
    throw new Error("refused later");
  };
  server.onUpgrade((request, socket) => listener(request, socket));
  const opened = await wire(url);
  opened.send(UPGRADE);
  expect(await opened.closed).toBe(ACCEPTED);
  const refused = await wire(url);
  refused.send(UPGRADE.replace("/socket", "/other"));
  expect(await refused.closed).toMatch(/^HTTP\/1\.1 500 /);
  expect(logs.filter({ message: "The listener of an upgrade failed" })).toHaveLength(2);
});
