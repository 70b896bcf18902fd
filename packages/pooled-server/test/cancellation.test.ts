import { once } from "node:events";
import { request as httpRequest } from "node:http";
import { createConnection } from "node:net";
import { startEmbeddedPostgres } from "@vg/internal/embedded-postgres";
import { ClientClosedError, currentRequest, type RequestContext } from "@vg/pooled-server";
import { expect, test } from "vitest";
import { gate, listen } from "./support/server.ts";
import { startUpstream } from "./support/upstream.ts";

const context = (): RequestContext => currentRequest() as RequestContext;

/** A client that can leave. */
function call(url: string, headers: Record<string, string> = {}) {
  return httpRequest(url, { headers })
    .on("error", () => undefined)
    .end();
}

test.each([
  ["a buffered call", false],
  ["a stream before its first byte", true],
])("a client that leaves ends %s to the upstream", async (_what, stream) => {
  const arrived = gate();
  const upstreamLost = gate();
  const upstream = await startUpstream((_request, response) => {
    response.on("close", () => upstreamLost.open());
    arrived.open();
  });
  let failure: unknown;
  const running = await listen(async () => {
    try {
      await running.server.httpPool.get(upstream, { signal: context().signal, stream });
    } catch (error) {
      failure = error;
      throw error;
    }
  });
  const client = call(running.url);
  await arrived.opened;
  client.destroy();
  await upstreamLost.opened;
  await expect.poll(() => running.logs.find("http_request")).toMatchObject({ status_code: 499 });
  expect(failure).toBeInstanceOf(ClientClosedError);
  expect(failure).toMatchObject({ code: "ERR_VG_SERVER_CLIENT_CLOSED" });
  expect(running.logs.filter({ message: "The request's handler failed" })).toHaveLength(0);
  expect(running.server.httpPool.getStats().in_flight).toBe(0);
});

test("a client that leaves in the middle of a stream ends the stream of the upstream", async () => {
  const upstreamLost = gate();
  const upstream = await startUpstream((_request, response) => {
    response.write("one");
    response.on("close", () => upstreamLost.open());
  });
  const running = await listen(async (_request, response) => {
    const answer = await running.server.httpPool.get(upstream, { signal: context().signal, stream: true });
    for await (const piece of answer.body as AsyncIterable<Uint8Array>) response.write(piece);
    response.end();
  });
  const client = call(running.url);
  const [response] = (await once(client, "response")) as [NodeJS.ReadableStream];
  await once(response, "data");
  client.destroy();
  await upstreamLost.opened;
  await expect.poll(() => running.logs.find("http_request")).toMatchObject({ status_code: 499 });
});

test("a client that leaves while its call waits in the pool's queue leaves the queue, and the upstream never hears of it", async () => {
  const arrived = gate();
  let calls = 0;
  const upstream = await startUpstream(() => {
    calls++;
    arrived.open();
  });
  const waiting = gate();
  const running = await listen(
    async (request) => {
      const answer = running.server.httpPool.get(upstream, { signal: context().signal });
      if (request.url === "/second") waiting.open();
      await answer;
    },
    { httpMaxConnsPerHost: 1 },
  );
  const first = call(`${running.url}/first`);
  await arrived.opened;
  const second = call(`${running.url}/second`);
  await waiting.opened;
  expect(running.server.httpPool.getStats().queued).toBe(1);
  second.destroy();
  await expect.poll(() => running.logs.find({ path: "/second" })).toMatchObject({ status_code: 499 });
  expect(running.server.httpPool.getStats().queued).toBe(0);
  expect(calls).toBe(1);
  first.destroy();
});

test("the signal is aborted for whoever asks for it only after the client has left", async () => {
  const arrived = gate();
  const left = gate();
  let late: AbortSignal | undefined;
  const running = await listen(async () => {
    const own = context();
    arrived.open();
    await left.opened;
    late = own.signal;
  });
  const client = call(running.url);
  await arrived.opened;
  client.destroy();
  await expect.poll(() => running.logs.find("http_request")).toMatchObject({ status_code: 499 });
  left.open();
  await expect.poll(() => late?.aborted).toBe(true);
  expect(late?.reason).toBeInstanceOf(ClientClosedError);
});

test("a client that closes only its own direction has left, too", async () => {
  const arrived = gate();
  const aborted = gate();
  const { url } = await listen(() => {
    context().signal.addEventListener("abort", () => aborted.open());
    arrived.open();
  });
  const { hostname, port } = new URL(url);
  const socket = createConnection({ port: Number(port), host: hostname, allowHalfOpen: true });
  socket.write("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
  await arrived.opened;
  socket.end();
  await aborted.opened;
  socket.destroy();
});

test("a client that leaves ends its query in PostgreSQL, and the connection serves on", async () => {
  const postgres = await startEmbeddedPostgres();
  const { url, logs, server } = await listen(
    async (_request, response) => {
      const [row] = (
        await server.dbPool!.query("select pg_sleep(60), 'slept' as what", [], { signal: context().signal })
      ).rows;
      response.end(JSON.stringify(row));
    },
    { postgresDsn: postgres.dsn, dbMaxOpenConns: 2 },
  );
  const sleeping = async () =>
    (
      await server.dbPool!.queryRow<{ n: number }>(
        "select count(*)::int as n from pg_stat_activity where state = 'active' and query like 'select pg_sleep%'",
      )
    )?.n;
  const client = call(url);
  await expect.poll(sleeping).toBe(1);
  client.destroy();
  await expect.poll(() => logs.find("http_request")).toMatchObject({ status_code: 499 });
  await expect.poll(sleeping).toBe(0);
  await expect.poll(() => server.dbPool!.getStats().in_use).toBe(0);
  expect(await server.dbPool!.queryRow("select 1 as one")).toEqual({ one: 1 });
  expect(logs.filter({ message: "The request's handler failed" })).toHaveLength(0);
  await server.close();
  await postgres.stop();
});
