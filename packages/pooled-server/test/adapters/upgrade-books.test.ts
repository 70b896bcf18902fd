import { createHash } from "node:crypto";
import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { currentRequest, type PooledServerConfig } from "@vg/pooled-server";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { fakeTime } from "../support/fake-time.ts";
import { scrape, sum } from "../support/figures.ts";
import { listen, type TestServer } from "../support/server.ts";
import { wire, type Wire } from "../support/wire.ts";

const UPGRADE = "GET /socket?token=secret HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
const ACCEPTED = "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n";
const COUNT = "http_server_request_duration_seconds_count";

type Take = (socket: Duplex, request: IncomingMessage) => unknown;

async function upgrading(take: Take, config: PooledServerConfig = {}): Promise<TestServer> {
  const made = await listen((_request, response) => response.end("ordinary"), config);
  made.server.onUpgrade((request, socket) => take(socket, request));
  return made;
}

async function upgrade({ url }: TestServer): Promise<Wire> {
  const client = await wire(url);
  client.send(UPGRADE);
  return client;
}

const accept: Take = (socket) => {
  socket.on("end", () => socket.end());
  socket.resume();
  socket.write(ACCEPTED);
};

const lines = ({ logs }: TestServer) => logs.lines.filter(({ message }) => message === "http_request");

test("an upgrade counts as a request when it is answered, is open until its connection ends, and then has its line", async () => {
  const one = await upgrading((socket) => {
    (currentRequest() as { route: string }).route = "/sockets/:id";
    accept(socket, {} as IncomingMessage);
  });
  const client = await upgrade(one);
  await client.until("101 Switching Protocols");
  const open = await scrape(one);
  const labels = { http_route: "/sockets/:id", http_response_status_code: "101" };
  expect(sum(open, COUNT, labels)).toBe(1);
  expect(sum(open, "http_server_upgraded_connections")).toBe(1);
  expect(one.server.getAdmissionStats().upgraded_connections).toBe(1);
  expect(one.server.getHealth().metrics.requests_total).toBe(1);
  expect(lines(one)).toEqual([]);

  client.socket.end();
  await client.closed;
  await expect.poll(() => lines(one)).toHaveLength(1);
  expect(lines(one)[0]).toMatchObject({
    status_code: 101,
    path: "/socket",
    route: "/sockets/:id",
    upgrade: "echo",
    request_id: expect.any(String) as string,
    trace_id: expect.any(String) as string,
  });
  const closed = await scrape(one);
  expect(sum(closed, COUNT)).toBe(1);
  expect(sum(closed, "http_server_upgraded_connections")).toBe(0);
});

test("a real WebSocket client is served, and may be refused", async () => {
  const one = await upgrading((socket, { headers }) => {
    if (headers["sec-websocket-protocol"] !== "ours") {
      socket.end("HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
      return;
    }
    const key = `${headers["sec-websocket-key"]}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const answer = createHash("sha1").update(key).digest("base64");
    socket.write(ACCEPTED.replace("upgrade: echo", `upgrade: websocket\r\nsec-websocket-protocol: ours`).trimEnd());
    socket.write(`\r\nsec-websocket-accept: ${answer}\r\n\r\n`);
    // A text of two letters, and the word that it is over.
    socket.end(Buffer.from([0x81, 2, 0x68, 0x69, 0x88, 2, 0x03, 0xe8]));
    socket.resume();
  });
  const url = one.url.replace("http:", "ws:");
  const talk = (protocol: string): Promise<string[]> =>
    new Promise((resolve) => {
      const heard: string[] = [];
      const client = new WebSocket(url, protocol);
      client.addEventListener("message", ({ data }) => heard.push(String(data)));
      client.addEventListener("error", () => heard.push("error"));
      client.addEventListener("close", ({ code }) => resolve([...heard, String(code)]));
    });
  expect(await talk("ours")).toEqual(["hi", "1000"]);
  expect(await talk("theirs")).toEqual(["error", "1006"]);
  await expect.poll(() => lines(one).map((line) => line["status_code"])).toEqual([101, 403]);
  expect(sum(await scrape(one), COUNT, { http_response_status_code: "403" })).toBe(1);
});

test("a client over its rate gets 429 before any listener sees its upgrade", async () => {
  let taken = 0;
  const one = await upgrading(
    (socket) => {
      taken++;
      accept(socket, {} as IncomingMessage);
    },
    { rateLimitPerSecond: 2 },
  );
  for (let i = 0; i < 2; i++) await (await upgrade(one)).until("101 Switching Protocols");
  const refused = await (await upgrade(one)).closed;
  expect(refused).toMatch(/^HTTP\/1\.1 429 Too Many Requests\r\n/);
  expect(refused).toMatch(/retry-after: 1\r\n/i);
  expect(refused).toMatch(/x-ratelimit-remaining-requests: 0\r\n/i);
  expect(refused).toContain('"code":"rate_limit_exceeded"');
  expect(taken).toBe(2);
  expect(one.server.getAdmissionStats()).toMatchObject({
    upgraded_connections: 2,
    refused_by_reason: { rate_limit: 1 },
  });
  await expect.poll(() => lines(one)).toMatchObject([{ status_code: 429, level: "warn" }]);
});

test("no more than maxUpgradedConnections are open at once, and a place is free when its connection is closed", async () => {
  const one = await upgrading(accept, { maxUpgradedConnections: 2 });
  const [first] = [await upgrade(one), await upgrade(one)];
  await first.until("101 Switching Protocols");
  await expect.poll(() => one.server.getAdmissionStats().upgraded_connections).toBe(2);
  const refused = await (await upgrade(one)).closed;
  expect(refused).toMatch(/^HTTP\/1\.1 503 .*retry-after: 1\r\n.*2 upgraded connections/s);
  expect(one.server.getAdmissionStats().refused_by_reason.too_many_upgrades).toBe(1);
  first.socket.destroy();
  await expect.poll(() => one.server.getAdmissionStats().upgraded_connections).toBe(1);
  await (await upgrade(one)).until("101 Switching Protocols");
});

test("a listener that does not answer in time has its signal aborted, and its client gets a 504", async () => {
  const time = fakeTime();
  let reason: unknown;
  const one = await upgrading(
    () => {
      const { signal } = currentRequest()!;
      signal.addEventListener("abort", () => (reason = signal.reason));
    },
    { requestTimeoutMs: 1_000, clock: time.clock },
  );
  const client = await upgrade(one);
  await expect.poll(() => one.server.getAdmissionStats().upgraded_connections, { interval: 0 }).toBe(1);
  await time.advance(1_000);
  expect(await client.closed).toMatch(/^HTTP\/1\.1 504 /);
  expect(reason).toMatchObject({ name: "RequestTimeoutError", timeoutMs: 1_000 });
});

test("a listener that gives up when its time is over, and says why, is no failure, and its client gets a 504", async () => {
  const time = fakeTime();
  const one = await upgrading(
    async () => {
      const { signal } = currentRequest()!;
      await new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
    },
    { requestTimeoutMs: 1_000, clock: time.clock },
  );
  const client = await upgrade(one);
  await expect.poll(() => one.server.getAdmissionStats().upgraded_connections, { interval: 0 }).toBe(1);
  await time.advance(1_000);
  expect(await client.closed).toMatch(/^HTTP\/1\.1 504 /);
  expect(one.logs.find("The listener of an upgrade failed")).toBeUndefined();
});

test("an answer to a client that has left already is not counted beside its 499", async () => {
  const one = await upgrading(async (socket) => {
    const { signal } = currentRequest()!;
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
    socket.on("error", () => undefined);
    socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
  });
  const client = await upgrade(one);
  await expect.poll(() => one.server.getAdmissionStats().upgraded_connections).toBe(1);
  client.socket.resetAndDestroy();
  await expect.poll(() => lines(one)).toMatchObject([{ status_code: 499 }]);
  await setImmediate();
  expect(sum(await scrape(one), COUNT)).toBe(1);
  expect(one.server.getHealth().metrics.requests_total).toBe(1);
});

test("an upgrade that no listener wants does not stay for ever", async () => {
  const time = fakeTime();
  const one = await upgrading(() => undefined, { clock: time.clock });
  const client = await upgrade(one);
  await expect.poll(() => one.server.getAdmissionStats().upgraded_connections, { interval: 0 }).toBe(1);
  client.socket.end();
  await time.advance(60_000);
  expect(await client.closed).toMatch(/^HTTP\/1\.1 504 /);
  expect(one.server.getAdmissionStats().upgraded_connections).toBe(0);
});

test("a connection that was taken in time may stay beyond requestTimeoutMs", async () => {
  const time = fakeTime();
  const one = await upgrading(accept, { requestTimeoutMs: 1_000, clock: time.clock });
  const client = await upgrade(one);
  await client.until("101 Switching Protocols");
  await time.advance(5_000);
  expect(one.server.getAdmissionStats().upgraded_connections).toBe(1);
  expect(client.received()).toBe(ACCEPTED);
});

test("a listener that rejects is logged, and its client gets a 500, or a closed connection where it had its answer", async () => {
  const one = await upgrading(async (socket, { url }) => {
    if (url?.includes("late") === true) socket.write(ACCEPTED);
    await setImmediate();
    throw new Error("boom");
  });
  expect(await (await upgrade(one)).closed).toMatch(/^HTTP\/1\.1 500 .*internal_error/s);
  const late = await wire(one.url);
  late.send(UPGRADE.replace("/socket", "/late"));
  expect(await late.closed).toBe(ACCEPTED);
  expect(one.logs.lines.filter(({ message }) => message === "The listener of an upgrade failed")).toHaveLength(2);
  await expect.poll(() => lines(one)).toMatchObject([{ status_code: 500 }, { status_code: 101 }]);
});

test("a client that leaves before it was answered is 499", async () => {
  const one = await upgrading(() => undefined);
  const client = await upgrade(one);
  await expect.poll(() => one.server.getAdmissionStats().upgraded_connections).toBe(1);
  client.socket.resetAndDestroy();
  await expect.poll(() => lines(one)).toMatchObject([{ status_code: 499, aborted: true }]);
  expect(sum(await scrape(one), COUNT, { http_response_status_code: "499" })).toBe(1);
});

test("a connection that a shutdown cuts has its line before the last ones", async () => {
  const one = await upgrading(accept);
  await (await upgrade(one)).until("101 Switching Protocols");
  const silent = await upgrading(() => undefined);
  await upgrade(silent);
  await expect.poll(() => silent.server.getAdmissionStats().upgraded_connections).toBe(1);
  for (const { server } of [one, silent]) expect((await server.close()).clean).toBe(true);
  const told = ({ logs }: TestServer) => logs.lines.map((line) => line["status_code"] ?? line["message"]);
  expect(told(one).slice(-3)).toEqual([101, "Lifecycle", "Closed"]);
  expect(told(silent).slice(-3)).toEqual([503, "Lifecycle", "Closed"]);
});

const WAYS = {
  "the client resets, unanswered": { take: () => undefined, leave: ({ socket }: Wire) => socket.resetAndDestroy() },
  "the client resets": { take: accept, leave: ({ socket }: Wire) => socket.resetAndDestroy() },
  "the client ends": { take: accept, leave: ({ socket }: Wire) => socket.end() },
  "the client vanishes at once": { take: accept, leave: ({ socket }: Wire) => socket.destroy() },
  "the listener destroys": { take: (socket: Duplex) => socket.destroy() },
  "the listener destroys with an error": { take: (socket: Duplex) => socket.destroy(new Error("odd")) },
  "the listener ends without a word": { take: (socket: Duplex) => socket.end(() => socket.destroy()) },
  "the listener refuses": { take: (socket: Duplex) => socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n") },
  "the listener writes no HTTP": { take: (socket: Duplex) => socket.end(Buffer.from([1, 2, 3])) },
  "the listener throws": {
    take: () => {
      throw new Error("boom");
    },
  },
  "the listener throws after its answer": {
    take: (socket: Duplex) => {
      socket.write(ACCEPTED);
      throw new Error("boom");
    },
  },
  "the listener rejects": { take: () => Promise.reject(new Error("boom")) },
  "the listener answers and is gone": {
    take: (socket: Duplex) => {
      socket.write(ACCEPTED);
      socket.destroy();
    },
  },
} satisfies Record<string, { take: Take; leave?: (client: Wire) => void }>;

test("whatever way sockets die, each upgrade is counted, logged and given back once, and nothing is left of it", async () => {
  const names = Object.keys(WAYS) as (keyof typeof WAYS)[];
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.constantFrom(...names), { minLength: 1, maxLength: 12 }),
      fc.nat(3),
      async (ways, limit) => {
        const aborted: string[] = [];
        let next = 0;
        const one = await upgrading(
          (socket) => {
            const { signal, requestId } = currentRequest()!;
            signal.addEventListener("abort", () => aborted.push(requestId));
            return WAYS[ways[next++ % ways.length]!].take(socket, {} as IncomingMessage);
          },
          // Whose client has ended its side, and whose listener does not read, is noticed by this alone.
          { maxUpgradedConnections: limit, requestTimeoutMs: 50 },
        );
        const clients = await Promise.all(ways.map(() => upgrade(one)));
        for (const [i, client] of clients.entries()) {
          const way = WAYS[ways[i]!];
          // Which client gets which listener is open: whoever is not let go leaves by itself.
          if ("leave" in way) way.leave(client);
          client.socket.on("end", () => client.socket.destroy());
          client.socket.resume();
        }
        await setImmediate();
        for (const client of clients) if (!client.socket.destroyed) client.socket.resetAndDestroy();
        const stats = () => one.server.getAdmissionStats();
        await expect
          .poll(() => [stats().upgraded_connections, stats().open_connections], { interval: 2 })
          .toEqual([0, 0]);
        // Some may have been gone before their request was read.
        const count = sum(await scrape(one), COUNT);
        expect(count).toBe(lines(one).length);
        expect(count).toBe(one.server.getHealth().metrics.requests_total);
        const refused = stats().refused_by_reason.too_many_upgrades;
        expect([next + refused, aborted.length, new Set(aborted).size]).toEqual([count, next, next]);
        expect((await one.server.close()).clean).toBe(true);
      },
    ),
    { numRuns: 40 },
  );
});

test.each([
  ["without Host", "", "400", "no_host"],
  ["with too many header fields", `host: h\r\n${"x: 1\r\n".repeat(18)}`, "431", "too_many_headers"],
] as const)("an upgrade %s is refused before its listener", async (_, fields, status, reason) => {
  let asked = 0;
  const { server, url } = await listen((_request, response) => response.end(), { maxHeaderCount: 20 });
  server.onUpgrade((_request, socket) => {
    asked++;
    socket.destroy();
  });
  const client = await wire(url);
  client.send(`GET / HTTP/1.1\r\n${fields}connection: upgrade\r\nupgrade: echo\r\n\r\n`);
  expect(await client.closed).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  expect(asked).toBe(0);
  expect(server.getAdmissionStats().refused_by_reason[reason]).toBe(1);
});
