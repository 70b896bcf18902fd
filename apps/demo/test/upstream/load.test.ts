import { once } from "node:events";
import { type IncomingMessage, request as httpRequest } from "node:http";
import { setImmediate as nextTurn } from "node:timers/promises";
import { expect, test, vi } from "vitest";
import type { UpstreamServer, UpstreamStats } from "../../src/upstream/index.ts";
import { chat, chunks, type Completion, contentOf, type ErrorBody, json, serve } from "./support/client.ts";
import { ManualTiming } from "./support/manual-timing.ts";

const prompt = { messages: [{ role: "user", content: "index" }], max_tokens: 3 };

async function until(server: UpstreamServer, expected: Partial<UpstreamStats>): Promise<void> {
  await vi.waitFor(() => expect(server.stats()).toMatchObject(expected), { interval: 1, timeout: 5000 });
}

/** Moves time until the answer is there. */
async function drive<T>(timing: ManualTiming, answer: Promise<T>): Promise<{ result: T }> {
  const state = { done: false };
  const finished = answer.finally(() => (state.done = true));
  while (!state.done) {
    if (timing.sleeping > 0) timing.advance(1);
    await nextTurn();
  }
  return { result: await finished };
}

test("a request takes the time of its prompt and of its answer", async () => {
  const timing = new ManualTiming();
  const server = await serve({ timing, prefillMsPerToken: 50, decodeMsPerToken: 10 });
  const answer = chat(server, prompt);
  await vi.waitFor(() => expect(timing.sleeping).toBe(1), { interval: 1 });
  // Two tokens of prompt (a role and a word), then three of answer.
  timing.advance(99);
  await nextTurn();
  expect(server.stats().completion_tokens).toBe(0);
  for (const ms of [1, 10, 10]) {
    timing.advance(ms);
    await vi.waitFor(() => expect(timing.sleeping).toBe(1), { interval: 1 });
  }
  expect(server.stats()).toMatchObject({ prompt_tokens: 2, completion_tokens: 2, in_use: 1 });
  timing.advance(10);
  const { usage } = await json<Completion>(await answer);
  expect(usage).toEqual({ prompt_tokens: 2, completion_tokens: 3, total_tokens: 5 });
  expect(server.stats()).toMatchObject({ success_count: 1, in_use: 0, completion_tokens: 3 });
});

test("the more requests come at once, the longer the last one waits for its first token", async () => {
  const timing = new ManualTiming();
  const server = await serve({ timing, slots: 1, decodeMsPerToken: 10 });
  const answers: Promise<Response>[] = [];
  for (let i = 0; i < 3; i++) {
    answers.push(chat(server, prompt));
    await until(server, { in_use: 1, queued: i });
  }
  for (const answer of answers) {
    const { result } = await drive(timing, answer);
    expect(result.status).toBe(200);
    await result.text();
  }
  expect(server.stats()).toMatchObject({ wait_count: 2, success_count: 3, queued: 0, in_use: 0 });
  // The second waits for the 30 ms of the first and the third for both; time may run on while answers are on the way.
  expect(server.stats().wait_duration_ms).toBeGreaterThanOrEqual(90);
});

test("a full queue answers 503 with Retry-After at once, and frees as requests end", async () => {
  const timing = new ManualTiming();
  const server = await serve({ timing, slots: 1, queue: 1, decodeMsPerToken: 10 });
  const first = chat(server, prompt);
  await until(server, { in_use: 1 });
  const second = chat(server, prompt);
  await until(server, { queued: 1 });

  const third = await chat(server, prompt);
  expect(third.status).toBe(503);
  expect(third.headers.get("retry-after")).toBe("1");
  expect((await json<ErrorBody>(third)).error).toMatchObject({ type: "server_error", code: "overloaded" });

  expect((await drive(timing, first)).result.status).toBe(200);
  expect((await drive(timing, second)).result.status).toBe(200);
  expect((await drive(timing, chat(server, prompt))).result.status).toBe(200);
  expect(server.stats()).toMatchObject({ rejected_count: 1, error_count: 1, success_count: 3 });
});

test.each([{ stream: false }, { stream: true }])(
  "a client that leaves frees its slot at once: %o",
  async ({ stream }) => {
    const timing = new ManualTiming();
    const server = await serve({ timing, slots: 1, decodeMsPerToken: 10 });
    const client = new AbortController();
    const left = chat(server, { ...prompt, stream }, { signal: client.signal }).then((response) => response.text());
    left.catch(() => {});
    await vi.waitFor(() => expect(timing.sleeping).toBe(1), { interval: 1 });
    timing.advance(10);
    await vi.waitFor(() => expect(timing.sleeping).toBe(1), { interval: 1 });
    const next = chat(server, prompt);
    await until(server, { in_use: 1, queued: 1 });

    client.abort();
    await expect(left).rejects.toThrow();
    // Time stands still: only the leaving can have let the next one in.
    await until(server, { in_use: 1, queued: 0, cancelled_count: 1 });
    expect(server.stats().completion_tokens).toBe(1);
    expect((await drive(timing, next)).result.status).toBe(200);
    expect(server.stats()).toMatchObject({ in_use: 0, active_requests: 0, success_count: 1, cancelled_count: 1 });
  },
);

test("a client that leaves the queue leaves no trace in it", async () => {
  const timing = new ManualTiming();
  const server = await serve({ timing, slots: 1, decodeMsPerToken: 10 });
  const first = chat(server, prompt);
  await until(server, { in_use: 1 });
  const client = new AbortController();
  const left = chat(server, prompt, { signal: client.signal });
  await until(server, { queued: 1 });
  client.abort();
  await expect(left).rejects.toThrow();
  await until(server, { queued: 0, cancelled_count: 1, active_requests: 1 });
  expect((await drive(timing, first)).result.status).toBe(200);
  expect(server.stats()).toMatchObject({ acquire_count: 1, in_use: 0 });
});

test("a reader that stops reading stops the model, and gets everything once it goes on", async () => {
  const words = Array.from({ length: 6000 }, (_, i) => `word${i}`);
  // A long id makes every event long, so that no buffer on the way holds the whole answer.
  const model = "m".repeat(5000);
  const server = await serve({ documents: [`${words.join(" ")} and the end.`], models: [model] });
  const body = JSON.stringify({
    model,
    messages: [{ role: "user", content: "word7" }],
    temperature: 0,
    stream: true,
  });
  const request = httpRequest(`${server.baseUrl}/chat/completions`, { method: "POST" }).end(body);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  // Nobody reads the response; the model has stopped when it stands still for many turns of the event loop.
  let still = 0;
  for (let before = -1; still < 300; await nextTurn()) {
    const now = server.stats().completion_tokens;
    still = now === before ? still + 1 : 0;
    before = now;
  }
  expect(server.stats().completion_tokens).toBeGreaterThan(0);
  expect(server.stats().completion_tokens).toBeLessThan(words.length);
  expect(server.stats().in_use).toBe(1);

  response.setEncoding("utf8");
  let text = "";
  for await (const part of response as AsyncIterable<string>) text += part;
  expect(contentOf(chunks(text))).toBe(`${words.join(" ")} and the end.`);
  expect(server.stats()).toMatchObject({ in_use: 0, success_count: 1 });
});

test("requests of all kinds at once are each counted as one outcome", async () => {
  const server = await serve({ slots: 2, queue: 1000 });
  const clients = Array.from({ length: 60 }, async (_, i) => {
    if (i % 3 === 0) return chat(server, { max_tokens: -1 }).then((response) => response.text());
    if (i % 3 === 1) return chat(server, { stream: true }).then((response) => response.text());
    const client = new AbortController();
    const answer = chat(server, { temperature: 2 }, { signal: client.signal }).then((response) => response.text());
    setImmediate(() => client.abort());
    return answer.catch(() => "");
  });
  await Promise.all(clients);
  await until(server, { active_requests: 0 });
  const { request_count, success_count, error_count, cancelled_count, in_use, queued } = server.stats();
  expect(success_count + error_count + cancelled_count).toBe(request_count);
  expect(error_count).toBe(20);
  expect(success_count).toBeGreaterThanOrEqual(20);
  expect([in_use, queued]).toEqual([0, 0]);
});
