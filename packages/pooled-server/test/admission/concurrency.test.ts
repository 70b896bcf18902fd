import { request as httpRequest, type ServerResponse } from "node:http";
import { currentRequest } from "@vg/pooled-server";
import { expect, onTestFinished, test, vi } from "vitest";
import { AdaptiveLimit } from "../../src/admission/adaptive-limit.ts";
import { booksAreClosed } from "../support/books.ts";
import { gate, listen } from "../support/server.ts";
import { GET, wire } from "../support/wire.ts";

/** A handler that answers each request when the test lets it. */
function heldHandler() {
  const waiting: (() => void)[] = [];
  const seen: string[] = [];
  return {
    seen,
    handler: async (request: { url?: string | undefined }, response: { end(body: string): unknown }) => {
      seen.push(request.url ?? "");
      await new Promise<void>((resolve) => waiting.push(resolve));
      response.end(request.url ?? "");
    },
    releaseOne: () => waiting.shift()?.(),
    releaseAll: () => {
      for (const release of waiting.splice(0)) release();
    },
  };
}

const FIXED = { maxConcurrency: 2, queueDepth: 2, queueDeadlineMs: 10_000 };

test("what is above the limit waits in line, what is above the line is refused at once, and probes are neither", async () => {
  const held = heldHandler();
  const { server, get } = await listen(held.handler, FIXED);
  const answers = ["/1", "/2", "/3", "/4"].map((path) => get(path));
  await expect.poll(() => server.getAdmissionStats()).toMatchObject({ in_flight: 2, queue_length: 2 });
  const refused = await get("/5");
  expect(refused.status).toBe(503);
  expect(refused.headers.get("retry-after")).toBe("1");
  expect(await refused.json()).toMatchObject({ error: { code: "service_unavailable", retry_after: 1 } });
  for (const path of ["/livez", "/readyz", "/v2/health", "/metrics"]) expect((await get(path)).status).toBe(200);
  expect(held.seen).toEqual(["/1", "/2"]);
  held.releaseOne();
  await expect.poll(() => held.seen).toEqual(["/1", "/2", "/3"]);
  held.releaseAll();
  await expect.poll(() => held.seen).toEqual(["/1", "/2", "/3", "/4"]);
  held.releaseAll();
  expect(await Promise.all(answers.map(async (answer) => (await answer).text()))).toEqual(["/1", "/2", "/3", "/4"]);
  expect(await booksAreClosed(server, get)).toMatchObject({
    limit: 2,
    admitted_count: 4,
    wait_count: 2,
    refused_count: 1,
    refused_by_reason: { queue_full: 1 },
  });
});

test("who waits for longer than the deadline gets 503", async () => {
  const held = heldHandler();
  const { server, get } = await listen(held.handler, { ...FIXED, maxConcurrency: 1, queueDeadlineMs: 50 });
  const first = get("/1");
  await expect.poll(() => held.seen.length).toBe(1);
  const late = await get("/2");
  expect([late.status, late.headers.get("retry-after")]).toEqual([503, "1"]);
  expect((await late.json()) as object).toMatchObject({ error: { message: /more requests than it can handle/ } });
  held.releaseAll();
  expect((await first).status).toBe(200);
  expect(held.seen).toEqual(["/1"]);
  const stats = await booksAreClosed(server, get);
  expect(stats.refused_by_reason.queue_timeout).toBe(1);
  expect(stats.avg_wait_ms).toBeGreaterThanOrEqual(45);
});

test("a client that leaves while it waits frees its place in the line, is logged as 499, and its handler never runs", async () => {
  const held = heldHandler();
  const { server, get, url, logs } = await listen(held.handler, { ...FIXED, maxConcurrency: 1, queueDepth: 1 });
  const first = get("/1");
  await expect.poll(() => held.seen.length).toBe(1);
  const leaver = httpRequest(`${url}/leaver`).on("error", () => undefined);
  leaver.end();
  await expect.poll(() => server.getAdmissionStats().queue_length).toBe(1);
  leaver.destroy();
  await expect.poll(() => server.getAdmissionStats().queue_length).toBe(0);
  await expect.poll(() => logs.find({ path: "/leaver" })).toMatchObject({ status_code: 499 });
  const second = get("/2");
  await expect.poll(() => server.getAdmissionStats().queue_length).toBe(1);
  held.releaseAll();
  await expect.poll(() => held.seen).toEqual(["/1", "/2"]);
  held.releaseAll();
  expect([(await first).status, (await second).status]).toEqual([200, 200]);
  expect(await booksAreClosed(server, get)).toMatchObject({ wait_left_count: 1, refused_count: 0 });
});

test("who had to wait is handled in its own context", async () => {
  const opened = gate();
  const { get } = await listen(
    async (_request, response) => {
      await opened.opened;
      response.end(currentRequest()?.requestId);
    },
    { ...FIXED, maxConcurrency: 1 },
  );
  const answers = ["a", "b", "c"].map(async (id) => (await get("/", { "x-request-id": id })).text());
  opened.open();
  expect(await Promise.all(answers)).toEqual(["a", "b", "c"]);
});

test("a fixed limit counts a stream to its end, an adaptive one to its head", async () => {
  for (const [maxConcurrency, inFlight] of [
    [5, 1],
    ["adaptive", 0],
  ] as const) {
    const end = gate();
    const { server, url, get } = await listen(
      async (_request, response) => {
        response.writeHead(200).write("first");
        await end.opened;
        response.end("last");
      },
      { maxConcurrency },
    );
    const client = await wire(url);
    client.send(GET());
    await client.until("first");
    expect(server.getAdmissionStats()).toMatchObject({ in_flight: inFlight, admitted_count: 1 });
    end.open();
    await client.until("last");
    await booksAreClosed(server, get);
  }
});

test("places come back from handlers that throw, hang, write twice, break off or answer too late", async () => {
  for (const maxConcurrency of [2, "adaptive"] as const) {
    const { server, get, url } = await listen(
      async (request, response) => {
        if (request.url === "/throws") throw new Error("boom");
        if (request.url === "/twice") response.end("once").end("twice");
        if (request.url === "/breaks") response.destroy();
        if (request.url === "/half") {
          response.writeHead(200, { "content-length": 100 }).write("half");
          throw new Error("boom");
        }
      },
      { maxConcurrency, queueDeadlineMs: 5_000, requestTimeoutMs: 50 },
    );
    const statuses = await Promise.all(
      ["/throws", "/twice", "/breaks", "/hangs", "/half", "/throws", "/hangs"].map((path) =>
        get(path).then(
          async (response) => (await response.text().catch(() => ""), response.status),
          () => "broken",
        ),
      ),
    );
    expect(statuses).toEqual([500, 200, "broken", 504, 200, 500, 504]);
    const leaver = await wire(url);
    leaver.send(GET("/hangs"));
    leaver.socket.destroy();
    expect(await booksAreClosed(server, get)).toMatchObject({ refused_count: 0 });
  }
});

test("without a limit nobody waits", async () => {
  const held = heldHandler();
  const { server, get } = await listen(held.handler, { maxConcurrency: 0 });
  const answers = Array.from({ length: 50 }, (_, i) => get(`/${i}`));
  await expect.poll(() => held.seen.length).toBe(50);
  expect(server.getAdmissionStats()).toMatchObject({ limit: 0, in_flight: 50, queue_length: 0 });
  held.releaseAll();
  await Promise.all(answers);
  await booksAreClosed(server, get);
});

test("a server that drains serves who waits in line", async () => {
  const held = heldHandler();
  const { server, get } = await listen(held.handler, { ...FIXED, maxConcurrency: 1 });
  const answers = ["/1", "/2"].map((path) => get(path));
  await expect.poll(() => server.getAdmissionStats().queue_length).toBe(1);
  const closed = server.close();
  held.releaseAll();
  await expect.poll(() => held.seen.length).toBe(2);
  held.releaseAll();
  expect(await Promise.all(answers.map(async (answer) => (await answer).status))).toEqual([200, 200]);
  expect((await closed).clean).toBe(true);
});

test.each([
  ["in the head's record", (response: ServerResponse) => response.writeHead(200, { "Cache-Status": "vg; hit" }).end()],
  ["one by one", (response: ServerResponse) => response.setHeader("cache-status", "vg;hit;ttl=3").end()],
])("an answer of a cache, said %s, tells an adaptive limit nothing", async (_name, answer) => {
  const observe = vi.spyOn(AdaptiveLimit.prototype, "observe");
  onTestFinished(() => observe.mockRestore());
  const { get } = await listen((request, response) => {
    if (request.url === "/hit") answer(response);
    else response.writeHead(200, { "cache-status": "vg; fwd=uri-miss", "x-other": "; hit" }).end();
  });
  await get("/hit");
  await get("/miss");
  expect(observe.mock.calls.map(([, , how]) => how)).toEqual(["other", "answered"]);
});
