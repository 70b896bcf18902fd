import type { IncomingMessage, ServerResponse } from "node:http";
import { currentRequest, LifecycleError, type RequestContext } from "@vg/pooled-server";
import { expect, test } from "vitest";
import { fakeTime } from "./support/fake-time.ts";
import { gate, listen } from "./support/server.ts";
import { GET, wire } from "./support/wire.ts";

const PATIENTLY = { timeout: 10_000 };
/** Longer than a test may take: what waits for any part of it fails. */
const NOBODY_WAITS = { shutdownTimeoutMs: 600_000 };

const context = (): RequestContext => currentRequest() as RequestContext;

test("during the delay everything is served, each answer being the last of its connection, also of requests begun before", async () => {
  const arrived = gate();
  const mayAnswer = gate();
  const { server, url, get } = await listen(
    async (request, response) => {
      if (request.url === "/early") {
        arrived.open();
        await mayAnswer.opened;
      }
      response.end("served");
    },
    { shutdownDelayMs: 20_000, shutdownTimeoutMs: 60_000 },
  );
  const early = await wire(url);
  early.send(GET("/early"));
  const idle = await wire(url);
  idle.send(GET("/"));
  await idle.until(/served/);
  expect(idle.received()).toContain("Connection: keep-alive");
  await arrived.opened;
  const closing = server.close();
  mayAnswer.open();
  expect(await early.until(/served/)).toMatch(/connection: close/i);
  await early.closed;
  // A connection that was kept alive before is told with its next answer.
  idle.send(GET("/"));
  expect(await idle.until(/served[\s\S]*served/)).toMatch(/connection: close/i);
  await idle.closed;
  for (const path of ["/work", "/livez", "/readyz", "/v2/health", "/metrics"]) {
    const answer = await get(path);
    expect([path, answer.status, answer.headers.get("connection")]).toEqual([
      path,
      ["/readyz", "/v2/health"].includes(path) ? 503 : 200,
      "close",
    ]);
  }
  void server.destroy();
  expect(await closing).toMatchObject({ clean: true });
});

test("after the delay a request on a connection that is still open gets 503 with Retry-After, and the connection ends", async () => {
  const arrived = gate();
  const mayAnswer = gate();
  const { server, url } = await listen(async (_request, response) => {
    arrived.open();
    await mayAnswer.opened;
    response.end("served");
  });
  // The half of a request keeps its connection from being idle.
  const late = await wire(url);
  late.send("GET /late HTTP/1.1\r\nhost: test\r\n");
  const busy = await wire(url);
  busy.send(GET("/busy"));
  await arrived.opened;
  const closing = server.close();
  await expect(fetch(`${url}/new`)).rejects.toThrow();
  late.send("\r\n");
  const answer = await late.until(/shutting down/);
  expect(answer).toMatch(/^HTTP\/1\.1 503 /);
  expect(answer).toMatch(/retry-after: 1\r\n/i);
  expect(answer).toMatch(/connection: close\r\n/i);
  await late.closed;
  mayAnswer.open();
  expect(await busy.until(/served/)).toMatch(/connection: close/i);
  expect(await closing).toMatchObject({ clean: true });
});

test("a subscription ends at `draining`, at once, and the shutdown is clean", async () => {
  const { server, get } = await listen((_request, response) => subscription(response), NOBODY_WAITS);
  const answer = await get("/events");
  const text = answer.text();
  const { clean } = await server.close();
  expect(await text).toBe("data: hello\n\ndata: [DONE]\n\n");
  expect(clean).toBe(true);
});

function subscription(response: ServerResponse): void {
  response.write("data: hello\n\n");
  const { draining } = context();
  draining.addEventListener("abort", () => response.end("data: [DONE]\n\n"));
}

test("a stream with an end of its own may use the time until the last call, and then ends whole and is not stuck", async () => {
  const time = fakeTime();
  const order: string[] = [];
  const { server, get } = await listen(
    async (_request, response) => {
      const { draining, lastCall, signal } = context();
      for (const [name, told] of Object.entries({ draining, lastCall, signal })) {
        told.addEventListener("abort", () => order.push(name));
      }
      for (let i = 0; !lastCall.aborted; i++) {
        response.write(`data: ${i}\n\n`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      response.end('data: {"error":{"type":"server_shutdown"}}\n\ndata: [DONE]\n\n');
    },
    { shutdownTimeoutMs: 300, clock: time.clock },
  );
  const answer = await get("/stream");
  const text = answer.text();
  const closing = server.close();
  await time.advance(300);
  const report = await closing;
  expect(report).toMatchObject({ clean: true, stuck: [] });
  expect((await text).endsWith('\n\ndata: {"error":{"type":"server_shutdown"}}\n\ndata: [DONE]\n\n')).toBe(true);
  expect(order).toEqual(["draining", "lastCall"]);
});

test("the three signals come in order, with the reason, also for who asks for them late", async () => {
  const order: string[] = [];
  let request!: RequestContext;
  const arrived = gate();
  const { server, get } = await listen(
    () => {
      request = context();
      arrived.open();
      const note = (name: string) => () => order.push(name);
      request.signal.addEventListener("abort", () => {
        note("signal")();
        // Asked for when it is over: it is over for them too.
        note(`late ${context().lastCall.aborted} ${context().draining.aborted}`)();
      });
    },
    { shutdownTimeoutMs: 100 },
  );
  const answer = get("/").catch(() => undefined);
  await arrived.opened;
  expect([request.signal.aborted, request.draining.aborted, request.lastCall.aborted]).toEqual([false, false, false]);
  request.draining.addEventListener("abort", () => order.push("draining"));
  request.lastCall.addEventListener("abort", () => order.push("last call"));
  await server.close();
  await answer;
  expect(order).toEqual(["draining", "last call", "signal", "late true true"]);
  for (const signal of [request.draining, request.lastCall, request.signal]) {
    expect(signal.reason).toBeInstanceOf(LifecycleError);
  }
});

test.each(["draining", "lastCall"] as const)(
  "a handler that gives up with the reason of `%s` before its answer began answers 503, and nothing has failed",
  async (name) => {
    const arrived = gate();
    const { server, get, logs } = await listen(
      async () => {
        const told = context()[name];
        arrived.open();
        await new Promise((_, reject) => told.addEventListener("abort", () => reject(told.reason as Error)));
      },
      { shutdownTimeoutMs: 500 },
    );
    const answer = get("/");
    await arrived.opened;
    expect(await server.close()).toMatchObject({ clean: true });
    expect([(await answer).status, (await answer).headers.get("retry-after")]).toEqual([503, "1"]);
    expect(logs.filter({ level: "error" })).toEqual([]);
  },
);

test("what is stuck is named by method, path and age, the oldest first, without its query, at most twenty of them", async () => {
  let arrivals = 0;
  const all = gate();
  const { server, url } = await listen(
    () => {
      if (++arrivals === 25) all.open();
    },
    { shutdownTimeoutMs: 200 },
  );
  const answers: Promise<unknown>[] = [];
  for (let i = 0; i < 25; i++) {
    const path = i === 0 ? `/first/${"x".repeat(300)}` : `/${i}`;
    answers.push(fetch(`${url}${path}?token=s3cret`, { method: "POST" }).catch(() => undefined));
    await expect.poll(() => arrivals, PATIENTLY).toBe(i + 1);
  }
  await all.opened;
  const { stuck } = await server.close();
  await Promise.all(answers);
  expect(stuck).toHaveLength(21);
  expect(stuck[0]).toMatch(/^requests: POST \/first\/x{193}… \(\d+ ms\) ignored the abort and was cut$/);
  expect(stuck[1]).toMatch(/^requests: POST \/1 \(\d+ ms\)/);
  expect(stuck[20]).toBe("requests: 5 more requests");
  expect(stuck.join()).not.toContain("s3cret");
});

test("a connection with nothing on it does not hold up the end", async () => {
  const { server, url } = await listen((_request, response) => response.end(), NOBODY_WAITS);
  const silent = await wire(url);
  expect((await server.close()).clean).toBe(true);
  await silent.closed;
});

test("a body that is still being sent is waited for like any request", async () => {
  const arrived = gate();
  const { server, url } = await listen(async (request: IncomingMessage, response) => {
    arrived.open();
    let length = 0;
    for await (const chunk of request) length += (chunk as Buffer).length;
    response.end(`got ${length}`);
  });
  const client = await wire(url);
  client.send("POST /upload HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\n12345");
  await arrived.opened;
  const closing = server.close();
  client.send("67890");
  expect(await client.until(/got 10/)).toMatch(/^HTTP\/1\.1 200 /);
  expect((await closing).clean).toBe(true);
});

test("requests in a pipeline are all answered during the delay: only the last of them ends the connection", async () => {
  const mayAnswer = gate();
  const { server, url } = await listen(
    async (request, response) => {
      await mayAnswer.opened;
      response.end(`answer to ${request.url}`);
    },
    { shutdownDelayMs: 200 },
  );
  const client = await wire(url);
  client.send(GET("/1") + GET("/2"));
  await expect.poll(() => server.getAdmissionStats().in_flight).toBe(2);
  const closing = server.close();
  mayAnswer.open();
  expect(await client.closed).toMatch(/answer to \/1[^]*connection: close[^]*answer to \/2$/i);
  expect((await closing).clean).toBe(true);
});

test("what follows the last answer of a connection in its pipeline is not worked on", async () => {
  const arrived = gate();
  const mayAnswer = gate();
  const handled: string[] = [];
  const { server, url } = await listen(
    async (request, response) => {
      handled.push(request.url ?? "");
      if (request.url === "/1") arrived.open();
      await mayAnswer.opened;
      response.end(`answer to ${request.url}`);
    },
    { shutdownDelayMs: 20_000, shutdownTimeoutMs: 60_000 },
  );
  const before = await wire(url);
  before.send(GET("/1"));
  await arrived.opened;
  const during = await wire(url);
  const closing = server.close();
  before.send(GET("/2"));
  during.send(GET("/3") + GET("/4"));
  await expect.poll(() => server.getHealth().metrics.requests_total).toBe(4);
  mayAnswer.open();
  expect(await before.closed).toMatch(/answer to \/1$/);
  expect(await during.closed).toMatch(/answer to \/3$/);
  expect(handled).toEqual(["/1", "/3"]);
  void server.destroy();
  expect((await closing).clean).toBe(true);
});

test("an answer that is written, but not yet taken by its client, is not cut when the server stops accepting", async () => {
  const size = 8_000_000;
  const answered = gate();
  const { server, url } = await listen((_request, response) => {
    response.end("x".repeat(size));
    answered.open();
  }, NOBODY_WAITS);
  const client = await wire(url);
  client.socket.pause();
  client.send(GET());
  await answered.opened;
  const closing = server.close();
  await expect.poll(async () => await fetch(url).catch(() => "refused"), PATIENTLY).toBe("refused");
  client.socket.resume();
  expect((await client.closed).length).toBeGreaterThan(size);
  expect((await closing).clean).toBe(true);
});
