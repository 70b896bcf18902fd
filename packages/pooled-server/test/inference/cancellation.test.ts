import { currentRequest, type JsonObject } from "@vg/pooled-server";
import { createConnection } from "node:net";
import { expect, onTestFinished, test } from "vitest";
import { ask, chunk, eventsOf, gateway, handStream, postRaw, stream, words } from "../support/inference.ts";

test("a client that leaves aborts its upstream call, before the first piece and in a stream, and is logged as 499", async () => {
  const signals: AbortSignal[] = [];
  const upstream = handStream();
  const { server, url, logs } = await gateway(({ signal, body }) => {
    signals.push(signal);
    return body["seed"] === 1 ? new Promise(() => undefined) : upstream.chunks;
  });
  const waiting = postRaw(url, ask({ seed: 1 }));
  await expect.poll(() => signals.length).toBe(1);
  waiting.leave();
  await expect.poll(() => signals[0]?.aborted).toBe(true);

  let got = "";
  const reading = postRaw(url, ask({ stream: true }), (text) => (got += text));
  await expect.poll(() => signals.length).toBe(2);
  upstream.push(chunk({ content: "half" }));
  await expect.poll(() => got).toContain("half");
  reading.leave();
  await expect.poll(() => signals[1]?.aborted).toBe(true);

  await expect.poll(() => logs.lines.filter((line) => line["status_code"] === 499)).toHaveLength(2);
  expect(server.inference.getStats()).toMatchObject({
    upstream_aborts: 2,
    upstream_errors: 0,
    not_stored: { abandoned: 2 },
    flights: 0,
    waiters: 0,
  });
  expect(server.inferenceCache.size).toBe(0);
  expect(logs.find({ message: "The inference failed" })).toBeUndefined();
});

test("the leader's leaving does not end the call while others wait; the last one's leaving does", async () => {
  const signals: AbortSignal[] = [];
  const upstream = handStream();
  const { server, url } = await gateway(({ signal }) => {
    signals.push(signal);
    return upstream.chunks;
  });
  const all = Array.from({ length: 3 }, () => postRaw(url, ask({ stream: true })));
  await expect.poll(() => server.inference.getStats().waiters).toBe(3);
  upstream.push(chunk({ content: "a" }));
  for (const [i, one] of all.entries()) {
    expect(signals[0]?.aborted).toBe(false);
    one.leave();
    await expect.poll(() => server.inference.getStats().waiters).toBe(2 - i);
  }
  expect(signals[0]?.aborted).toBe(true);
  expect(signals).toHaveLength(1);
});

test("who stays gets the whole answer, whoever made the call, and it is stored", async () => {
  const upstream = handStream();
  const { server, url, post } = await gateway(() => upstream.chunks);
  const leader = postRaw(url, ask({ stream: true }));
  await expect.poll(() => server.inference.getStats().waiters).toBe(1);
  const stays = post(ask({ stream: true }));
  await expect.poll(() => server.inference.getStats().waiters).toBe(2);
  const [first, ...rest] = words("all of it");
  upstream.push(first as JsonObject);
  leader.leave();
  await expect.poll(() => server.inference.getStats().waiters).toBe(1);
  upstream.push(...rest);
  upstream.end();
  expect(eventsOf(await (await stays).text()).at(-1)).toBe("[DONE]");
  expect(server.inferenceCache.size).toBe(1);
  expect(server.inference.getStats()).toMatchObject({ upstream_calls: 1, upstream_aborts: 0, stored: 1 });
});

test("a call that fails with its leader, who has left, is made once more by one of those who wait", async () => {
  let calls = 0;
  const { server, url, post } = await gateway(() => {
    if (++calls > 1) return stream(words("second try"));
    // A forward that listens to the wrong signal: its own request's.
    const { signal } = currentRequest() as { signal: AbortSignal };
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
  });
  const leader = postRaw(url, ask());
  await expect.poll(() => server.inference.getStats().waiters).toBe(1);
  const others = [post(ask()), post(ask({ stream: true }))];
  await expect.poll(() => server.inference.getStats().waiters).toBe(3);
  leader.leave();
  for (const response of await Promise.all(others)) {
    expect(response.status).toBe(200);
    expect(await response.text()).toContain("second try".split(" ")[0]);
  }
  expect(calls).toBe(2);
  expect(server.inference.getStats()).toMatchObject({ promotions: 1, upstream_errors: 0, stored: 1 });
});

test("once a piece is out, a failure is everybody's, whoever has left: nobody may hear two beginnings", async () => {
  const upstream = handStream();
  const { server } = await gateway(() => upstream.chunks);
  const leaves = new AbortController();
  const request = { body: ask(), route: "/" };
  const leader = server.inference.complete(request, () => upstream.chunks, { signal: leaves.signal });
  const other = server.inference.complete(request, () => stream(words("another beginning")));
  upstream.push(chunk({ content: "one beginning" }));
  await leader;
  const chunks = (await other).chunks();
  expect((await chunks.next()).value).toEqual(chunk({ content: "one beginning" }));
  leaves.abort();
  upstream.fail(new Error("broken"));
  await expect(chunks.next()).rejects.toThrow("broken");
  expect(server.inference.getStats()).toMatchObject({ upstream_calls: 1, promotions: 0 });
});

test.each<{ noCache?: boolean }>([{}, { noCache: true }])(
  "an answer that nobody waited for at its end is not stored (%j)",
  async (directives) => {
    let open: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => (open = resolve));
    async function* late() {
      yield* words("to its end");
      // Here it hears of no abort, and ends as if nothing had been.
      await opened;
    }
    const { server } = await gateway(() => stream([]));
    const leaves = new AbortController();
    const request = { body: ask(), route: "/", directives };
    // Who replaces what is stored must not replace it either.
    const before = { ...request, directives: {}, tenant: directives.noCache === true ? "" : "somebody else" };
    await (await server.inference.complete(before, () => stream(words("before")))).document();
    const answer = await server.inference.complete(request, late, { signal: leaves.signal });
    // All pieces are there, and the end is not.
    await new Promise((resolve) => setImmediate(resolve));
    leaves.abort();
    await expect(answer.document()).rejects.toMatchObject({ name: "AbortError" });
    open();
    await new Promise((resolve) => setImmediate(resolve));
    expect(server.inferenceCache.size).toBe(1);
    const still = await server.inference.complete({ ...request, directives: {} }, () => stream(words("after")));
    expect(JSON.stringify(await still.document())).toContain(directives.noCache === true ? "before" : "after");
    expect(server.inference.getStats()).toMatchObject({ upstream_aborts: 1, not_stored: { abandoned: 1 } });
  },
);

test("a failure while the leader is there is everybody's, without another call", async () => {
  let calls = 0;
  let fail: (error: Error) => void = () => undefined;
  const { server, post } = await gateway(() => {
    calls++;
    return new Promise((_, reject) => (fail = reject));
  });
  const all = [post(ask()), post(ask()), post(ask({ stream: true }))];
  await expect.poll(() => server.inference.getStats().waiters).toBe(3);
  fail(Object.assign(new Error("no"), { status: 429 }));
  expect((await Promise.all(all)).map(({ status }) => status)).toEqual([429, 429, 429]);
  expect(calls).toBe(1);
  expect(server.inference.getStats()).toMatchObject({ upstream_errors: 1, flights: 0 });
});

test("after an abort the next request makes a new call, though the old one has not noticed yet", async () => {
  let calls = 0;
  const { server, url, post } = await gateway(() => {
    if (++calls === 1) return new Promise(() => undefined);
    return stream(words("new"));
  });
  const first = postRaw(url, ask());
  await expect.poll(() => server.inference.getStats().flights).toBe(1);
  first.leave();
  await expect.poll(() => server.inference.getStats().flights).toBe(0);
  expect((await post(ask())).headers.get("cache-status")).toBe("vg; fwd=uri-miss; stored");
  expect(calls).toBe(2);
});

test("a slow reader holds up nobody, and one who reads nothing at all is cut", async () => {
  const upstream = handStream();
  const { server, url, post } = await gateway(() => upstream.chunks, {
    config: { inference: { stalledClientMs: 300 } },
  });
  const { hostname, port } = new URL(url);
  const body = JSON.stringify(ask({ stream: true }));
  const stalled = createConnection(Number(port), hostname).pause();
  onTestFinished(() => void stalled.destroy());
  stalled.write(
    `POST /v1/chat/completions HTTP/1.1\r\nhost: ${hostname}:${port}\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  await expect.poll(() => server.inference.getStats().waiters).toBe(1);
  const quick = post(ask({ stream: true }));
  await expect.poll(() => server.inference.getStats().waiters).toBe(2);
  for (let i = 0; i < 240; i++) upstream.push(chunk({ content: "x".repeat(50_000) }));
  upstream.push(chunk({}, "stop"));
  upstream.end();
  expect(eventsOf(await (await quick).text()).at(-1)).toBe("[DONE]");
  await expect.poll(() => server.inference.getStats().stalled_clients, { timeout: 10_000 }).toBe(1);
  expect(server.inference.getStats().waiters).toBe(0);
});

test("a shutdown's end is said to a stream as its last event, and to who waits for a document as a 503; neither is an error in the log", async () => {
  const upstream = handStream();
  const { server, post, logs } = await gateway(() => upstream.chunks, { config: { shutdownTimeoutMs: 500 } });
  const streaming = post(ask({ stream: true }));
  const whole = post(ask());
  await expect.poll(() => server.inference.getStats().waiters).toBe(2);
  upstream.push(chunk({ content: "half" }));
  const stream_ = await streaming;
  const closing = server.close();
  const events = eventsOf(await stream_.text());
  expect(events.at(-1)).toBe("[DONE]");
  expect(JSON.parse(events.at(-2) as string)).toMatchObject({
    error: { type: "server_shutdown", code: "service_unavailable" },
  });
  const answer = await whole;
  expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "1"]);
  await closing;
  expect(logs.filter({ level: "error" })).toEqual([]);
  expect(logs.filter("http_request")).toMatchObject([{ status_code: 503 }, { status_code: 503 }]);
});
