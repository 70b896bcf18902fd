import type { JsonObject } from "@vg/pooled-server";
import { expect, test } from "vitest";
import { ask, chunk, gateway, handStream, stream, usageChunk, words } from "../support/inference.ts";

type Setup = Parameters<typeof gateway>[1];

/** A gateway whose upstream says something new each time, and what a request got of it. */
async function counting(setup: Setup = {}) {
  let calls = 0;
  const made = await gateway(() => stream(words(`answer ${++calls}`)), setup);
  const get = async (body: object, headers: Record<string, string> = {}) => {
    const response = await made.post(body, headers);
    const document = (await response.json()) as { choices?: { message: { content: string } }[]; error?: JsonObject };
    return {
      status: response.status,
      content: document.choices?.[0]?.message.content,
      error: document.error,
      cache: response.headers.get("x-vg-cache"),
      cacheStatus: response.headers.get("cache-status"),
      age: response.headers.get("age"),
    };
  };
  return { ...made, get, calls: () => calls };
}

/** A clock that the test moves; seconds. */
function manualClock(): { clock: { now(): number }; pass(seconds: number): void } {
  let now = 1_000;
  return { clock: { now: () => now }, pass: (seconds) => (now += seconds * 1_000) };
}

test("every answer says where it comes from: Cache-Status as in RFC 9211, Age, and one word", async () => {
  const { clock, pass } = manualClock();
  const { get } = await counting({ config: { clock, inferenceCacheTtlMs: 60_000 } });
  expect(await get(ask())).toMatchObject({
    cache: "miss",
    cacheStatus: "vg; fwd=uri-miss; stored",
    age: null,
    content: "answer 1",
  });
  pass(10.5);
  expect(await get(ask())).toMatchObject({
    cache: "hit",
    cacheStatus: "vg; hit; ttl=49",
    age: "10",
    content: "answer 1",
  });
  pass(50);
  expect(await get(ask())).toMatchObject({ cache: "miss", content: "answer 2" });
});

test("deterministic, the default, caches what must come out the same and what asks for it, and nothing else", async () => {
  const { get } = await counting({ config: { inferenceCacheMode: "deterministic" } });
  const twice = async (more: object, headers: Record<string, string> = {}) => [
    (await get(ask(more), headers)).cache,
    (await get(ask(more), headers)).cache,
  ];
  expect(await twice({})).toEqual(["bypass", "bypass"]);
  expect(await twice({ temperature: 0.1 })).toEqual(["bypass", "bypass"]);
  expect(await twice({ temperature: null })).toEqual(["bypass", "bypass"]);
  expect(await twice({ seed: null })).toEqual(["bypass", "bypass"]);
  expect(await twice({ temperature: 0 })).toEqual(["miss", "hit"]);
  expect(await twice({ temperature: 0.9, seed: 7 })).toEqual(["miss", "hit"]);
  expect(await twice({ temperature: 0, top_p: 0.5, logprobs: true })).toEqual(["miss", "hit"]);
  expect(await twice({ temperature: 1, cache: { "use-cache": true } })).toEqual(["miss", "hit"]);
  expect(await twice({ temperature: 1.1 }, { "cf-aig-cache-ttl": "60" })).toEqual(["miss", "hit"]);
  expect(await twice({ temperature: 0, top_p: 0.5, cache: { "use-cache": false } })).toEqual(["bypass", "bypass"]);
  expect((await get(ask({ temperature: 0.3 }))).cacheStatus).toBe("vg; fwd=bypass");
});

test("opt-in caches only what asks for it, and always caches everything", async () => {
  const optIn = await counting({ config: { inferenceCacheMode: "opt-in" } });
  expect((await optIn.get(ask({ temperature: 0 }))).cache).toBe("bypass");
  expect((await optIn.get(ask({ temperature: 0, cache: { ttl: 60 } }))).cache).toBe("miss");
  expect((await optIn.get(ask({ temperature: 0, cache: { ttl: 60 } }))).cache).toBe("hit");
  const always = await counting();
  expect((await always.get(ask({ temperature: 2 }))).cache).toBe("miss");
  expect((await always.get(ask({ temperature: 2 }))).cache).toBe("hit");
});

test("requests that bypass the cache go to the upstream as they are, share nothing and are not stored", async () => {
  const bodies: JsonObject[] = [];
  const { post, server } = await gateway(
    ({ body }) => {
      bodies.push(body);
      return stream(words("x"));
    },
    { config: { inferenceCacheMode: "deterministic" } },
  );
  const body = ask({ stream: true, user: "u", cache: null });
  await Promise.all([post(body), post(body)].map(async (sent) => await (await sent).text()));
  const { cache: _cache, ...sent } = body;
  expect(bodies).toEqual([sent, sent]);
  expect(server.inferenceCache.size).toBe(0);
  expect(server.inference.getStats()).toMatchObject({ bypassed: 2, misses: 0, hit_rate: 0 });
});

test("no-store is not stored, no-cache is not answered from the cache and replaces what is there", async () => {
  const { get } = await counting();
  expect(await get(ask(), { "cache-control": "no-store" })).toMatchObject({ cacheStatus: "vg; fwd=uri-miss" });
  expect(await get(ask())).toMatchObject({ cache: "miss", content: "answer 2" });
  // What is stored may be served to who does not want to be stored.
  expect(await get(ask(), { "cache-control": "no-store" })).toMatchObject({ cache: "hit", content: "answer 2" });
  expect(await get(ask(), { "cache-control": "no-cache" })).toMatchObject({
    cache: "bypass",
    cacheStatus: "vg; fwd=request; stored",
    content: "answer 3",
  });
  expect(await get(ask())).toMatchObject({ cache: "hit", content: "answer 3" });
  expect(await get(ask({ cache: { "no-cache": true } }))).toMatchObject({ content: "answer 4" });
  expect(await get(ask(), { pragma: "no-cache" })).toMatchObject({ content: "answer 5" });
  expect(await get(ask(), { "cf-aig-skip-cache": "true" })).toMatchObject({
    cacheStatus: "vg; fwd=request",
    content: "answer 6",
  });
  expect(await get(ask())).toMatchObject({ cache: "hit", content: "answer 5" });
});

test("max-age, min-fresh and s-maxage take only what is new enough, and say that something was there", async () => {
  const { clock, pass } = manualClock();
  const { get } = await counting({ config: { clock, inferenceCacheTtlMs: 100_000 } });
  await get(ask());
  pass(30);
  expect(await get(ask(), { "cache-control": "max-age=30" })).toMatchObject({ cache: "hit", age: "30" });
  expect(await get(ask(), { "cache-control": "min-fresh=70" })).toMatchObject({ cache: "hit" });
  expect(await get(ask(), { "cache-control": "private, max-age=29" })).toMatchObject({
    cache: "stale",
    cacheStatus: "vg; fwd=request; stored",
    content: "answer 2",
  });
  pass(50);
  expect(await get(ask({ cache: { "s-maxage": 49 } }))).toMatchObject({ cache: "stale", content: "answer 3" });
  expect(await get(ask(), { "cache-control": "max-age=0" })).toMatchObject({ cache: "stale", content: "answer 4" });
  pass(1);
  expect(await get(ask(), { "cache-control": "min-fresh=100" })).toMatchObject({ cache: "stale", content: "answer 5" });
});

test("only-if-cached is answered from the cache or with 504, and asks nobody", async () => {
  const { get, calls } = await counting();
  const only = { "cache-control": "only-if-cached" };
  expect(await get(ask(), only)).toMatchObject({
    status: 504,
    error: { code: "not_cached" },
    cacheStatus: "vg; detail=only-if-cached",
  });
  expect(calls()).toBe(0);
  await get(ask());
  expect(await get(ask(), only)).toMatchObject({ status: 200, cache: "hit" });
  expect((await get(ask(), { "cache-control": "only-if-cached, no-cache" })).status).toBe(504);
  expect(calls()).toBe(1);
});

test("a ttl is how long this answer lives; 0 is not at all; a namespace is a cache of its own", async () => {
  const { clock, pass } = manualClock();
  const { get } = await counting({ config: { clock } });
  await get(ask({ cache: { ttl: 5 } }));
  pass(4);
  expect(await get(ask())).toMatchObject({ cache: "hit", cacheStatus: "vg; hit; ttl=1" });
  pass(1.5);
  expect(await get(ask({ cache: { ttl: 0 } }))).toMatchObject({ cache: "miss", cacheStatus: "vg; fwd=uri-miss" });
  expect(await get(ask({ cache: { namespace: "a" } }))).toMatchObject({ cache: "miss" });
  expect(await get(ask({ cache: { namespace: "b" } }))).toMatchObject({ cache: "miss" });
  expect(await get(ask({ cache: { namespace: "a" } }))).toMatchObject({ cache: "hit" });
  expect(await get(ask())).toMatchObject({ cache: "miss" });
});

test.each([
  [{ cache: "yes" }, "cache"],
  [{ cache: { ttl: "60" } }, "cache.ttl"],
  [{ cache: { ttl: -1 } }, "cache.ttl"],
  [{ cache: { "no-cache": 1 } }, "cache.no-cache"],
  [{ cache: { namespace: "x".repeat(257) } }, "cache.namespace"],
  [{ stream: "yes" }, "stream"],
  [{ stream_options: [] }, "stream_options"],
  [{ user: 7 }, "user"],
  [{ metadata: "m" }, "metadata"],
  [{ store: 1 }, "store"],
])("%j is refused by the field's name, before it could spoil a call that others share", async (more, param) => {
  const { get } = await counting();
  expect(await get(ask(more))).toMatchObject({
    status: 400,
    error: { type: "invalid_request_error", code: "invalid_request", param },
  });
});

test("directives that make no sense are no directives", async () => {
  const { get } = await counting();
  await get(ask());
  for (const text of ["max-age=soon", "max-age", "", ",,=", "no-transform", "max-stale=60"]) {
    expect(await get(ask(), { "cache-control": text })).toMatchObject({ cache: "hit" });
  }
});

const end = (finish: string | null, delta: object = { content: "x" }): JsonObject[] => [
  chunk(delta, finish),
  usageChunk,
];
const calls = { tool_calls: [{ index: 0, id: "a", type: "function", function: { name: "f", arguments: "{}" } }] };

test.each<[string, JsonObject[], string | undefined, string[]]>([
  ["stop", end("stop"), undefined, []],
  ["length", end("length"), "finish_reason", ["length"]],
  ["content_filter", end("content_filter"), "finish_reason", ["content_filter"]],
  ["no reason", end(null), "finish_reason", []],
  ["an unknown reason", end("because"), "finish_reason", ["because"]],
  ["tool calls", end("tool_calls", calls), "tool_calls", ["tool_calls"]],
  ["tool calls under another reason", end("stop", calls), "tool_calls", ["tool_calls"]],
  ["a function call", end("function_call", { function_call: { name: "f" } }), "tool_calls", ["tool_calls"]],
  ["half a tool call", end("length", calls), "finish_reason", []],
  [
    "one choice of two that was cut",
    [
      chunk({ content: "a" }, "stop"),
      { ...chunk({}), choices: [{ index: 1, delta: { content: "b" }, finish_reason: "length" }] },
    ],
    "finish_reason",
    ["length"],
  ],
  ["no choices", [usageChunk], "finish_reason", []],
  ["more bytes than may be stored", end("stop", { content: "x".repeat(3_000) }), "too_large", []],
])("an answer that ends with %s is kept only where it may be", async (_name, chunks, reason, alsoStore) => {
  const config = { inference: { maxStoredBytes: 2_500 } };
  const { post, server } = await gateway(() => stream(chunks), { config });
  const first = await post(ask());
  await first.text();
  const kept = reason === undefined;
  expect(server.inferenceCache.size).toBe(kept ? 1 : 0);
  expect(first.headers.get("cache-status")).toBe(kept ? "vg; fwd=uri-miss; stored" : "vg; fwd=uri-miss");
  const { stored, not_stored } = server.inference.getStats();
  expect(stored).toBe(kept ? 1 : 0);
  if (reason !== undefined) expect(not_stored).toMatchObject({ [reason]: 1 });
  if (alsoStore.length === 0) return;
  const asked = await gateway(() => stream(chunks), { config: { inference: { alsoStore } } });
  await (await asked.post(ask())).text();
  expect(asked.server.inferenceCache.size).toBe(1);
});

test("an answer that was on its way when the cache was cleared is not stored", async () => {
  const upstream = handStream();
  const { post, server } = await gateway(() => upstream.chunks);
  const sent = post(ask());
  await expect.poll(() => server.inference.getStats().flights).toBe(1);
  server.inferenceCache.clear();
  upstream.push(...words("old"));
  upstream.end();
  expect((await sent).headers.get("cache-status")).toBe("vg; fwd=uri-miss");
  expect(server.inferenceCache.size).toBe(0);
});

test("what the service keeps in the same cache is neither served nor lost", async () => {
  const { get, server } = await counting();
  server.inferenceCache.set("mine", { a: 1 });
  await get(ask());
  expect((await get(ask())).cache).toBe("hit");
  expect(server.inferenceCache.get("mine")).toEqual({ a: 1 });
  const keys = Array.from(server.inferenceCache.keys());
  for (const key of keys) server.inferenceCache.set(key, "not ours");
  expect((await get(ask())).content).toBe("answer 2");
});

test.each([
  [{ inferenceCacheMode: "sometimes" }, /inferenceCacheMode must be one of "deterministic", "opt-in", "always"/],
  [{ inference: { maxWaiters: 0 } }, /maxWaiters must be a whole number/],
  [{ inference: { alsoStore: "length" } }, /alsoStore must be an array/],
  [{ inference: { maxWaitres: 1 } }, /Did you mean maxWaiters\?/],
])("%j is refused when the server is made", async (config, message) => {
  await expect(gateway(() => ({}), { config: config as never })).rejects.toThrow(message);
});
