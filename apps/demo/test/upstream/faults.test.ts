import { expect, test, vi } from "vitest";
import { type Fault, UpstreamConfigError } from "../../src/upstream/index.ts";
import { chat, chunks, type Completion, contentOf, events, json, post, serve } from "./support/client.ts";
import { ManualTiming } from "./support/manual-timing.ts";

const embeddings = { model: "vg-demo-ngram", input: "a text" };

test("status answers with it, and with Retry-After where given, as often as asked", async () => {
  const server = await serve();
  server.setFault({ kind: "status", status: 429, retryAfterSeconds: 7, count: 2 });
  for (const response of [await chat(server), await post(server, "/embeddings", embeddings)]) {
    expect(response.status).toBe(429);
    expect(response.headers.get("retry-after")).toBe("7");
    expect(await json(response)).toMatchObject({ error: { code: "injected_fault" } });
  }
  expect((await chat(server)).status).toBe(200);
  expect(server.stats()).toMatchObject({ fault_count: 2, error_count: 2, success_count: 1, acquire_count: 1 });
});

test("without a count a fault holds until the next setFault, and only where a model is asked", async () => {
  const server = await serve();
  server.setFault({ kind: "status" });
  for (let i = 0; i < 3; i++) expect((await chat(server)).status).toBe(500);
  expect((await fetch(`${server.baseUrl}/models`)).status).toBe(200);
  expect((await chat(server, { max_tokens: 0 })).status).toBe(400);
  server.setFault({ kind: "none" });
  expect((await chat(server)).status).toBe(200);
  expect(server.stats().fault_count).toBe(3);
});

test("hang holds a slot and never answers until the client leaves", async () => {
  const server = await serve({ slots: 1 });
  server.setFault({ kind: "hang", count: 1 });
  const client = new AbortController();
  const hung = chat(server, {}, { signal: client.signal });
  await vi.waitFor(() => expect(server.stats().in_use).toBe(1), { interval: 1 });
  const next = chat(server);
  await vi.waitFor(() => expect(server.stats().queued).toBe(1), { interval: 1 });
  client.abort();
  await expect(hung).rejects.toThrow();
  expect((await next).status).toBe(200);
  expect(server.stats()).toMatchObject({ cancelled_count: 1, success_count: 1 });
});

test("slow_first_token waits before the first byte", async () => {
  const timing = new ManualTiming();
  const server = await serve({ timing });
  server.setFault({ kind: "slow_first_token", delayMs: 700, count: 1 });
  let answered = false;
  const answer = chat(server, { stream: true }).finally(() => (answered = true));
  await vi.waitFor(() => expect(timing.sleeping).toBe(1), { interval: 1 });
  timing.advance(699);
  await new Promise((resolve) => setImmediate(resolve));
  expect(answered).toBe(false);
  timing.advance(1);
  expect(contentOf(chunks(await (await answer).text()))).not.toBe("");
});

test("cut_stream breaks the connection in the middle of the answer, streamed or not", async () => {
  const server = await serve();
  server.setFault({ kind: "cut_stream", count: 3 });
  const response = await chat(server, { stream: true });
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  let text = "";
  await expect(async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      text += Buffer.from(value).toString();
    }
  }).rejects.toThrow();
  const received = events(text).map((payload) => JSON.parse(payload) as Completion);
  expect(contentOf(received)).not.toBe("");
  expect(text).not.toContain("[DONE]");

  await expect(chat(server).then((whole) => whole.text())).rejects.toThrow();
  await expect(post(server, "/embeddings", embeddings).then((whole) => whole.text())).rejects.toThrow();
  expect(server.stats()).toMatchObject({ error_count: 3, fault_count: 3, in_use: 0 });
  expect((await chat(server)).status).toBe(200);
});

test("malformed_sse ends the answer in the middle of a JSON document", async () => {
  const server = await serve();
  server.setFault({ kind: "malformed_sse", count: 2 });
  const payloads = events(await (await chat(server, { stream: true })).text());
  const broken = payloads.pop() as string;
  expect(() => JSON.parse(broken) as unknown).toThrow(SyntaxError);
  expect(contentOf(payloads.map((payload) => JSON.parse(payload) as Completion))).not.toBe("");

  const response = await chat(server);
  expect(response.status).toBe(200);
  await expect(response.json()).rejects.toThrow(SyntaxError);
});

test("no_usage leaves the token counts out", async () => {
  const server = await serve();
  server.setFault({ kind: "no_usage", count: 3 });
  expect(await json<Completion>(await chat(server))).not.toHaveProperty("usage");
  expect(await json(await post(server, "/embeddings", embeddings))).not.toHaveProperty("usage");
  const stream = await (await chat(server, { stream: true, stream_options: { include_usage: true } })).text();
  expect(chunks(stream).every((chunk) => !("usage" in chunk))).toBe(true);
  expect(await json<Completion>(await chat(server))).toHaveProperty("usage");
});

test.each([
  [{ kind: "explode" }, "kind must be one of none, status"],
  [{ kind: "status", status: 200 }, "status must be a whole number from 400 to 599, got 200"],
  [{ kind: "status", status: 429.5 }, "status must be a whole number"],
  [{ kind: "hang", status: 500 }, 'status has no meaning for kind "hang"'],
  [{ kind: "status", delayMs: 5 }, 'delayMs has no meaning for kind "status"'],
  [{ kind: "hang", count: 0 }, "count must be a whole number of at least 1"],
  [{ kind: "none", count: 1 }, 'count has no meaning for kind "none"'],
  [{ kind: "hang", colour: 1 }, 'unknown option "colour"'],
])("a bad fault is refused: %o", async (fault, message) => {
  const server = await serve();
  expect(() => server.setFault(fault as unknown as Fault)).toThrow(UpstreamConfigError);
  expect(() => server.setFault(fault as unknown as Fault)).toThrow(message);
  expect((await chat(server)).status).toBe(200);
});
