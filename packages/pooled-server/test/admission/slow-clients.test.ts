import { once } from "node:events";
import { currentRequest } from "@vg/pooled-server";
import { expect, test } from "vitest";
import { booksAreClosed } from "../support/books.ts";
import { fakeTime } from "../support/fake-time.ts";
import { gate, listen } from "../support/server.ts";
import { GET, POST, wire } from "../support/wire.ts";

/** Sends `text` byte by byte until the connection is gone. */
async function trickle(
  socket: NodeJS.WritableStream & { destroyed?: boolean },
  text: string,
  everyMs: number,
): Promise<void> {
  for (const byte of text) {
    if (socket.destroyed === true) return;
    socket.write(byte);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

test("a head that comes in drops gets 408, and its connection ends", async () => {
  const { server, url, get, logs } = await listen((_request, response) => response.end("ok"), {
    headersTimeoutMs: 100,
  });
  const client = await wire(url);
  void trickle(client.socket, `GET / HTTP/1.1\r\nHost: test\r\nx-slow: ${"y".repeat(10_000)}`, 10);
  expect(await client.closed).toMatch(/^HTTP\/1\.1 408 [^]*"code":"timeout"/);
  expect(await booksAreClosed(server, get)).toMatchObject({ client_faults: { slow_head: 1 } });
  expect(logs.find({ message: "A client's connection was ended" })).toMatchObject({ reason: "slow_head" });
});

test("a connection on which nothing comes is ended", async () => {
  const { server, url, get } = await listen((_request, response) => response.end("ok"), { headersTimeoutMs: 100 });
  const client = await wire(url);
  expect(await client.closed).toMatch(/^HTTP\/1\.1 408 /);
  expect(await booksAreClosed(server, get)).toMatchObject({ client_faults: { slow_head: 1 } });
});

test("a hundred slow heads keep nobody else from being served", async () => {
  const { server, url, get } = await listen((_request, response) => response.end("ok"), { headersTimeoutMs: 300 });
  const slow = await Promise.all(Array.from({ length: 100 }, () => wire(url)));
  for (const client of slow) client.send("GET / HTTP/1.1\r\nHost:");
  for (let i = 0; i < 20; i++) expect((await get("/")).status).toBe(200);
  await Promise.all(slow.map((client) => client.closed));
  const stats = await booksAreClosed(server, get);
  expect(stats.client_faults.slow_head).toBe(100);
});

test("a body that comes in drops gets 408, aborts its handler, and gives its place back", async () => {
  const reason = gate<unknown>();
  const { server, url, get, logs } = await listen(
    async (request, response) => {
      const { signal } = currentRequest() as { signal: AbortSignal };
      signal.addEventListener("abort", () => reason.open(signal.reason));
      for await (const _ of request) void _;
      response.end("whole");
    },
    { minBodyBytesPerSecond: 1_000, bodyGraceMs: 100, maxConcurrency: 1 },
  );
  const client = await wire(url);
  client.send(POST("Content-Length: 100000"));
  void trickle(client.socket, "x".repeat(10_000), 5);
  expect(await client.closed).toMatch(/^HTTP\/1\.1 408 [^]*"code":"timeout"/);
  expect(await reason.opened).toMatchObject({ code: "ERR_VG_SERVER_CLIENT_FAULT", reason: "slow_body", status: 408 });
  expect(await booksAreClosed(server, get)).toMatchObject({ client_faults: { slow_body: 1 } });
  expect(logs.find({ message: "http_request" })).toMatchObject({ status_code: 408 });
});

test("half a body, and then silence, gets 408", async () => {
  const { server, url, get } = await listen(
    async (request, response) => {
      for await (const _ of request) void _;
      response.end("whole");
    },
    { bodyGraceMs: 100 },
  );
  const client = await wire(url);
  client.send(`${POST("Content-Length: 100")}half`);
  expect(await client.closed).toMatch(/^HTTP\/1\.1 408 /);
  expect(await booksAreClosed(server, get)).toMatchObject({ client_faults: { slow_body: 1 } });
});

test("a handler that reads slowly is not the client's fault", async () => {
  const time = fakeTime();
  const begun = gate();
  const goOn = gate();
  const { server, url, get } = await listen(
    async (request, response) => {
      let bytes = 0;
      for await (const piece of request) {
        if (bytes === 0) {
          begun.open();
          await goOn.opened;
        }
        bytes += (piece as Buffer).length;
      }
      response.end(String(bytes));
    },
    { bodyGraceMs: 100, minBodyBytesPerSecond: 100_000_000, clock: time.clock },
  );
  const answer = fetch(url, { method: "POST", body: "x".repeat(2_000_000) });
  await begun.opened;
  await time.advance(500);
  goOn.open();
  expect(await (await answer).text()).toBe("2000000");
  expect((await booksAreClosed(server, get)).client_faults.slow_body).toBe(0);
});

test("a client that never reads its answer is cut when it has taken nothing for stalledClientMs, and is logged as 499", async () => {
  const { server, url, get, logs } = await listen((_request, response) => response.end("x".repeat(50_000_000)), {
    stalledClientMs: 200,
  });
  const client = await wire(url);
  client.socket.pause();
  client.send(GET("/big"));
  await expect.poll(() => server.getAdmissionStats().client_faults.stalled, { timeout: 10_000 }).toBe(1);
  await booksAreClosed(server, get);
  expect(logs.find({ message: "A client's connection was ended" })).toMatchObject({ reason: "stalled" });
  expect(logs.find({ message: "http_request", path: "/big" })).toMatchObject({ status_code: 499 });
});

test("a client that reads slowly, but reads, is left alone", async () => {
  const time = fakeTime();
  const { server, url } = await listen((_request, response) => response.end("x".repeat(60_000_000)), {
    stalledClientMs: 1_500,
    clock: time.clock,
  });
  const { socket, send } = await wire(url);
  socket.removeAllListeners("data");
  // While somebody listens to this, nothing is taken but by read().
  socket.on("readable", () => undefined);
  send(GET());
  const stalls = (): number => server.getAdmissionStats().client_faults.stalled;
  // Five megabytes a second: far longer than 1.5 s in all. (Less might not be noticed: Linux takes more from a program
  // only when a third of its buffer is free.)
  for (let taken = 0, bytes = 0; taken < 8; taken++) {
    for (bytes += 5_000_000; bytes > 0;) {
      const piece = socket.read() as Buffer | null;
      if (piece === null) await once(socket, "readable");
      else bytes -= piece.length;
    }
    await time.advance(1_000);
    expect(stalls()).toBe(0);
  }
  // And it was looked at all the while.
  await time.advance(3_000);
  expect(stalls()).toBe(1);
});

test("streams to clients that take nothing end, too, whatever their handlers write", async () => {
  const { server, url, get } = await listen(
    (_request, response) => {
      const timer = setInterval(() => response.write("x".repeat(1_000_000)), 5);
      response.on("close", () => clearInterval(timer));
    },
    { stalledClientMs: 200 },
  );
  const client = await wire(url);
  client.socket.pause();
  client.send(GET());
  await expect.poll(() => server.getAdmissionStats().client_faults.stalled, { timeout: 10_000 }).toBe(1);
  await booksAreClosed(server, get);
});

test("a client that floods requests and reads no answer is cut, and everything it held is given back", async () => {
  const { server, url, get } = await listen((_request, response) => response.end("x".repeat(100_000)), {
    stalledClientMs: 200,
  });
  const client = await wire(url);
  client.socket.pause();
  client.send(GET().repeat(2_000));
  await expect.poll(() => server.getAdmissionStats().client_faults.stalled, { timeout: 10_000 }).toBe(1);
  await booksAreClosed(server, get);
});

test("half-open clients: a quiet handler is not taken for a quiet client", async () => {
  const time = fakeTime();
  const arrived = gate();
  const release = gate();
  const { server, url, get } = await listen(
    async (_request, response) => {
      arrived.open();
      await release.opened;
      response.end("late");
    },
    { stalledClientMs: 50, bodyGraceMs: 50, clock: time.clock },
  );
  const client = await wire(url);
  client.send(GET());
  await arrived.opened;
  await time.advance(300);
  release.open();
  await client.until("late");
  expect((await booksAreClosed(server, get)).client_faults).toMatchObject({ slow_head: 0, slow_body: 0, stalled: 0 });
});
