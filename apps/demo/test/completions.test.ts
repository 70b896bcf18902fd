import { afterAll, beforeAll, expect, test } from "vitest";
import { ask, openDemo, readEvents, type TestDemo } from "./support/demo.ts";

let demo: TestDemo;
beforeAll(async () => {
  demo = await openDemo();
});
afterAll(async () => {
  await demo.close();
});

interface V2 {
  [field: string]: unknown;
  choices: { message: { content: string }; finish_reason: string }[];
  usage: { prompt_tokens: number; completion_tokens: number; total_tokens: number };
  metadata: Record<string, unknown>;
  trace_id: string;
}

test("a completion is first a miss, then a hit with the same words, and both are rows and log lines", async () => {
  const body = ask("How do I index a table?", { workflow_id: "wf-1", metadata: { user_id: "u-1", session_id: "s-1" } });
  const first = await demo.post("/v2/chat/completions", body);
  const second = await demo.post("/v2/chat/completions", body);
  expect([first.status, first.headers.get("x-vg-cache")]).toEqual([200, "miss"]);
  expect([second.status, second.headers.get("x-vg-cache")]).toEqual([200, "hit"]);
  const [miss, hit] = [(await first.json()) as V2, (await second.json()) as V2];

  expect(miss).toMatchObject({
    id: expect.stringMatching(/^v2_req_/),
    object: "chat.completion",
    model: "0x5678-SQLAgent",
    domain: "sql-agent",
    status: "completed",
    workflow_id: "wf-1",
    metadata: { cache_hit: false, backend_type: "embedded-ngram", domain_name: "SQL Agent", fallback_used: false },
  });
  expect(miss.choices[0]?.message.content.length).toBeGreaterThan(10);
  expect(miss.usage.total_tokens).toBe(miss.usage.prompt_tokens + miss.usage.completion_tokens);
  expect(hit.choices).toEqual(miss.choices);
  expect(hit.usage).toEqual(miss.usage);
  expect(hit.metadata["cache_hit"]).toBe(true);
  expect(hit["id"]).not.toBe(miss["id"]);

  const page = (await (await demo.get("/v2/usage?workflow_id=wf-1")).json()) as {
    data: Record<string, unknown>[];
    totals: object;
  };
  expect(page.data.map((row) => row["cache_hit"])).toEqual([true, false]);
  expect(page.data[1]).toMatchObject({
    model: "0x5678-SQLAgent",
    domain: "sql-agent",
    total_tokens: miss.usage.total_tokens,
    workflow_id: "wf-1",
    user_id: "u-1",
    session_id: "s-1",
    status: 200,
    trace_id: miss.trace_id,
  });
  expect(page.totals).toMatchObject({ requests: 2, cache_hits: 1 });
  for (const [trace_id, cache_hit] of [
    [miss.trace_id, false],
    [hit.trace_id, true],
  ] as const) {
    expect(demo.logs.find({ message: "inference", trace_id })).toMatchObject({ cache_hit, model: "0x5678-SQLAgent" });
  }
});

test("the order of fields, and what the answer does not depend on, make no other key; what it depends on does", async () => {
  const status = async (body: object) => {
    const response = await demo.post("/v2/chat/completions", body);
    await response.text();
    return response.headers.get("x-vg-cache");
  };
  expect(await status({ messages: [{ role: "user", content: "One key?" }], model: "general", seed: 1 })).toBe("miss");
  expect(await status({ seed: 1, model: "general", messages: [{ content: "One key?", role: "user" }] })).toBe("hit");
  expect(
    await status({ ...ask("One key?"), model: "general", seed: 1, workflow_id: "w", metadata: { user_id: "x" } }),
  ).toBe("hit");
  expect(await status({ ...ask("One key?"), model: "general", seed: 2 })).toBe("miss");
  expect(await status({ ...ask("One key?"), model: "general", seed: 1, max_tokens: 5 })).toBe("miss");
  const other = await demo.post(
    "/v2/chat/completions",
    { ...ask("One key?"), model: "general", seed: 1 },
    { authorization: "Bearer other" },
  );
  await other.text();
  expect(other.headers.get("x-vg-cache")).toBe("miss");
});

test("many identical requests at once, streams among them, are one call to the model", async () => {
  const before = await demo.embedded.model?.process.stats();
  const body = ask("How many calls does a crowd make?", { max_tokens: 60 });
  const answers = await Promise.all(
    Array.from({ length: 12 }, async (_, i) => {
      const stream = i % 3 === 0;
      const response = await demo.post("/v1/chat/completions", { ...body, stream });
      if (!stream) return ((await response.json()) as V2).choices[0]?.message.content;
      const events = await readEvents(response);
      expect(events.at(-1)).toBe("[DONE]");
      return contentOf(events);
    }),
  );
  expect(new Set(answers).size).toBe(1);
  const after = await demo.embedded.model?.process.stats();
  const again = (await (await demo.post("/v1/chat/completions", body)).json()) as V2;
  // The model has made the tokens of one answer, not of twelve.
  expect((after?.completion_tokens ?? 0) - (before?.completion_tokens ?? 0)).toBe(again.usage.completion_tokens);
});

test("a stream begins before the answer is whole, ends with usage and metadata, and is stored for everybody", async () => {
  const body = ask("What does a vector search do?", { stream: true });
  const events = await readEvents(await demo.post("/v2/chat/completions", body));
  expect(events.at(-1)).toBe("[DONE]");
  const chunks = events.slice(0, -1).map((event) => JSON.parse(event) as Record<string, never>);
  expect(chunks.length).toBeGreaterThan(4);
  expect(chunks[0]).toMatchObject({
    object: "chat.completion.chunk",
    domain: "vector-processing",
    choices: [{ delta: { role: "assistant" } }],
  });
  expect(chunks.at(-2)).toMatchObject({
    choices: [{ delta: {}, finish_reason: expect.stringMatching(/stop|length/) }],
  });
  expect(chunks.at(-1)).toMatchObject({ choices: [], status: "completed", metadata: { cache_hit: false } });

  const whole = await demo.post("/v2/chat/completions", { ...body, stream: false });
  expect(whole.headers.get("x-vg-cache")).toBe("hit");
  expect(((await whole.json()) as V2).choices[0]?.message.content).toBe(contentOf(events));

  const replay = await demo.post("/v2/chat/completions", body);
  expect(replay.headers.get("x-vg-cache")).toBe("hit");
  expect(replay.headers.get("openai-processing-ms")).toMatch(/^\d+$/);
  const replayed = await readEvents(replay);
  expect(contentOf(replayed)).toBe(contentOf(events));
  expect(replayed.at(-1)).toBe("[DONE]");
});

test("every answer says where it comes from, both dialects share answers, and the caller's directives are heeded", async () => {
  const body = { ...ask("Where do answers come from?"), model: "general", max_tokens: 5, temperature: 0.3, top_p: 1 };
  const same = { ...body, top_k: 40 };
  const send = async (path: string, sent: object, headers: Record<string, string> = {}) => {
    const response = await demo.post(path, sent, headers);
    const { choices, error } = (await response.json()) as Partial<V2> & { error?: { code: string } };
    const status = response.headers.get("cache-status");
    return { content: choices?.[0]?.message.content, error: error?.code, status, age: response.headers.get("age") };
  };
  const only = { "cache-control": "only-if-cached" };
  expect(await send("/v1/chat/completions", same, only)).toMatchObject({ error: "not_cached" });
  const first = await send("/v1/chat/completions", same);
  expect(first).toMatchObject({ status: "vg; fwd=uri-miss; stored", age: null });
  expect(await send("/v2/chat/completions", same, only)).toMatchObject({
    content: first.content,
    status: expect.stringMatching(/^vg; hit; ttl=3\d\d\d$/) as string,
    age: "0",
  });
  const anew = { ...same, cache: { "no-cache": true } };
  expect(await send("/v2/chat/completions", anew)).toMatchObject({ status: "vg; fwd=request; stored" });
  const bad = await demo.post("/v2/chat/completions", { ...same, cache: { ttl: "long" } });
  expect([bad.status, await bad.json()]).toMatchObject([
    400,
    { error: { code: "invalid_request", param: "cache.ttl" } },
  ]);
});

test("auto picks the domain by its keywords, within the domain filter", async () => {
  const model = async (content: string, more: object = {}) => {
    const response = await demo.post("/v2/chat/completions", ask(content, { max_tokens: 3, ...more }));
    return ((await response.json()) as { model: string }).model;
  };
  expect(await model("Write a SELECT with a JOIN")).toBe("0x5678-SQLAgent");
  expect(await model("cosine similarity of two embeddings")).toBe("0x3579-VectorProcessingAgent");
  expect(await model("What is the median, and is there a trend?")).toBe("0x9ABC-DataAnalysisAgent");
  expect(await model("Tell me a story")).toBe("general");
  expect(await model("Write a SELECT", { domain_filter: ["data-analysis", "general"] })).toBe("general");
});

test("the trace of the body's trace_parent wins over the header's", async () => {
  const trace = "0af7651916cd43dd8448eb211c80319c";
  const body = ask("Which trace?", { max_tokens: 3, trace_parent: `00-${trace}-b7ad6b7169203331-01` });
  const response = await demo.post("/v2/chat/completions", body);
  expect(((await response.json()) as V2).trace_id).toBe(trace);
  expect(demo.logs.find({ message: "inference", trace_id: trace })).toBeDefined();
  const { data } = (await (await demo.get("/v2/usage?limit=1")).json()) as { data: object[] };
  expect(data).toMatchObject([{ trace_id: trace }]);
});

test("a client that leaves in the middle of a stream frees the model, stores nothing, and is a row with 499", async () => {
  const abort = new AbortController();
  const body = ask("Count slowly for me please", {
    stream: true,
    max_tokens: 1000,
    workflow_id: "left",
    stop: ["\u0001"],
  });
  const entries = demo.server.inferenceCache.size;
  const response = await fetch(`${demo.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    signal: abort.signal,
  });
  await response.body?.getReader().read();
  abort.abort();
  await expect
    .poll(async () => (await demo.embedded.model?.process.stats())?.cancelled_count, { timeout: 5_000 })
    .toBe(1);
  const rows = async () =>
    ((await (await demo.get("/v2/usage?workflow_id=left")).json()) as { data: { status: number }[] }).data;
  await expect.poll(rows, { timeout: 5_000 }).toMatchObject([{ status: 499 }]);
  // What had been made of the answer is on the row, by estimate.
  expect((await rows())[0]).toMatchObject({ prompt_tokens: expect.any(Number), completion_tokens: expect.any(Number) });
  expect((await rows())[0]).not.toMatchObject({ total_tokens: 0 });
  expect(demo.server.inferenceCache.size).toBe(entries);
});

function contentOf(events: string[]): string {
  return events
    .filter((event) => event !== "[DONE]")
    .map(
      (event) =>
        (JSON.parse(event) as { choices: { delta: { content?: string | null } }[] }).choices[0]?.delta.content ?? "",
    )
    .join("");
}
