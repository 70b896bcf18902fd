import { expect, test } from "vitest";
import { PooledServerConfigError, type HttpForward, type PooledServerConfig } from "@vg/pooled-server";
import { scrape, sum } from "../support/figures.ts";
import { ask, chunk, gateway, handStream, postRaw, stream, usage, usageChunk, words } from "../support/inference.ts";

const REQUESTS = "gen_ai_server_request_duration_seconds";
const CALLS = "gen_ai_client_operation_duration_seconds";
const TOKENS = "gen_ai_client_token_usage";
const FIRST = "gen_ai_server_time_to_first_token_seconds";
const PER_TOKEN = "gen_ai_server_time_per_output_token_seconds";
const CHAT = { gen_ai_operation_name: "chat", gen_ai_request_model: "m" };

const whole = (more: object = {}) => ({
  id: "c1",
  object: "chat.completion",
  model: "m-2026",
  choices: [{ index: 0, message: { role: "assistant", content: "hello" }, finish_reason: "stop" }],
  usage,
  ...more,
});

/** A clock that a test moves. */
function handClock(): { now(): number; at: number } {
  return {
    at: 1_000,
    now() {
      return this.at;
    },
  };
}

test("a call of the model and the requests that it answers are observed once each, with what they took", async () => {
  const upstream = handStream();
  const clock = handClock();
  const one = await gateway(() => upstream.chunks, { config: { clock } });
  const { inference } = one.server;
  const leader = one.post(ask({ stream: true, stream_options: { include_usage: true } }));
  await expect.poll(() => inference.getStats().waiters).toBe(1);
  clock.at += 100;
  const follower = one.post(ask());
  await expect.poll(() => inference.getStats().waiters).toBe(2);
  clock.at += 200;
  upstream.push(chunk({ role: "assistant", content: "" }));
  await leader;
  clock.at += 500;
  upstream.push(chunk({ content: "hi" }, "stop"), {
    ...usageChunk,
    usage: { prompt_tokens: 40, completion_tokens: 11 },
  });
  upstream.end();
  await (await leader).text();
  await (await follower).json();
  clock.at += 5_000;
  await (await one.post(ask())).json();

  const figures = await scrape(one);
  const requests = (result: string): number[] =>
    ["_count", "_sum"].map((suffix) => sum(figures, REQUESTS + suffix, { ...CHAT, vg_cache_result: result }));
  expect(requests("miss")).toEqual([1, 0.8]);
  expect(requests("collapsed")).toEqual([1, 0.7]);
  expect(requests("hit")).toEqual([1, 0]);
  expect(sum(figures, `${REQUESTS}_count`, { error_type: undefined })).toBe(3);
  expect([sum(figures, `${CALLS}_count`, CHAT), sum(figures, `${CALLS}_sum`, CHAT)]).toEqual([1, 0.8]);
  expect([sum(figures, `${FIRST}_count`, CHAT), sum(figures, `${FIRST}_sum`, CHAT)]).toEqual([1, 0.3]);
  // 0.5 s for the ten tokens after the first.
  expect([sum(figures, `${PER_TOKEN}_count`, CHAT), sum(figures, `${PER_TOKEN}_sum`, CHAT)]).toEqual([1, 0.05]);
  expect(sum(figures, `${TOKENS}_sum`, { ...CHAT, gen_ai_token_type: "input" })).toBe(40);
  expect(sum(figures, `${TOKENS}_sum`, { ...CHAT, gen_ai_token_type: "output" })).toBe(11);
  expect(sum(figures, `${TOKENS}_count`)).toBe(2);
});

test("what comes as a whole has no first token, and what counts no tokens has none", async () => {
  const one = await gateway(({ body }) => whole(body["n"] === 2 ? { usage: null } : {}));
  await (await one.post(ask())).json();
  await (await one.post(ask({ n: 2 }))).json();
  const figures = await scrape(one);
  expect(sum(figures, `${CALLS}_count`)).toBe(2);
  expect(sum(figures, `${FIRST}_count`)).toBe(0);
  expect(sum(figures, `${PER_TOKEN}_count`)).toBe(0);
  expect(sum(figures, `${TOKENS}_count`)).toBe(2);
});

test("text completions and embeddings are operations of their own", async () => {
  const one = await gateway(({ body }) =>
    "input" in body
      ? { data: [{ index: 0, embedding: [1, 2] }], model: "e", usage: { prompt_tokens: 7 } }
      : { ...whole(), object: "text_completion", choices: [{ index: 0, text: "x", finish_reason: "stop" }] },
  );
  await (await one.post({ model: "m", prompt: "a" }, {}, "/v1/completions")).json();
  for (let i = 0; i < 2; i++) await (await one.post({ model: "e", input: "a" }, {}, "/v1/embeddings")).json();
  const figures = await scrape(one);
  const of = (operation: string) => ({ gen_ai_operation_name: operation });
  expect(sum(figures, `${CALLS}_count`, of("text_completion"))).toBe(1);
  expect(sum(figures, `${CALLS}_count`, of("embeddings"))).toBe(1);
  expect(sum(figures, `${REQUESTS}_count`, { ...of("embeddings"), vg_cache_result: "miss" })).toBe(1);
  expect(sum(figures, `${REQUESTS}_count`, { ...of("embeddings"), vg_cache_result: "hit" })).toBe(1);
  expect(sum(figures, `${TOKENS}_sum`, of("embeddings"))).toBe(7);
  expect(sum(figures, `${TOKENS}_count`, { ...of("embeddings"), gen_ai_token_type: "output" })).toBe(0);
});

const HOSTILE: ProxyHandler<Error> = {
  get(error, name) {
    if (name === "status") throw new Error("trap");
    return Reflect.get(error, name) as unknown;
  },
};

test.each<[string, () => ReturnType<HttpForward>]>([
  ["503", () => ({ status: 503, headers: {}, body: new Response("busy").body })],
  ["429", () => Promise.reject(Object.assign(new Error("slow down"), { status: 429 }))],
  ["ECONNREFUSED", () => Promise.reject(Object.assign(new Error("refused"), { code: "ECONNREFUSED" }))],
  ["timeout", () => Promise.reject(new DOMException("late", "TimeoutError"))],
  ["_OTHER", () => Promise.reject(Object.assign(new Error("odd"), { code: "what a client wrote" }))],
  ["_OTHER", () => Promise.reject(new Proxy(new Error("hostile"), HOSTILE))],
  ["502", () => stream([])],
])("a call that fails is observed as %s, for each who waited", async (type, answer) => {
  const one = await gateway(answer);
  await (await one.post(ask())).text();
  const figures = await scrape(one);
  expect(sum(figures, `${CALLS}_count`, { error_type: type })).toBe(1);
  expect(sum(figures, `${REQUESTS}_count`, { error_type: type, vg_cache_result: "miss" })).toBe(1);
  expect(sum(figures, `${CALLS}_count`)).toBe(1);
  expect(sum(figures, `${TOKENS}_count`)).toBe(0);
});

test("a request for embeddings that fails is what it would have been", async () => {
  const one = await gateway(() => Promise.reject(Object.assign(new Error("busy"), { status: 503 })));
  const embed = async (cache: object): Promise<void> =>
    void (await (await one.post({ model: "e", input: "a", cache }, {}, "/v1/embeddings")).text());
  await embed({});
  await embed({ "use-cache": false });
  await embed({ "no-cache": true });
  const figures = await scrape(one);
  const failed = (result: string): number =>
    sum(figures, `${REQUESTS}_count`, { vg_cache_result: result, error_type: "503" });
  expect([failed("miss"), failed("bypass")]).toEqual([1, 2]);
});

test("a call that nobody waits for any more is canceled, and whoever left is not observed", async () => {
  const upstream = handStream();
  const one = await gateway(({ signal }) => {
    signal.addEventListener("abort", () => upstream.fail(signal.reason));
    return upstream.chunks;
  });
  const client = postRaw(one.url, ask({ stream: true }));
  await expect.poll(() => one.server.inference.getStats().waiters).toBe(1);
  client.leave();
  await expect.poll(() => one.server.inference.getStats().upstream_aborts).toBe(1);
  await expect.poll(async () => sum(await scrape(one), `${CALLS}_count`, { error_type: "canceled" })).toBe(1);
  expect(sum(await scrape(one), `${REQUESTS}_count`)).toBe(0);
});

test("models that clients make up never become labels, and those that answer are a hundred at most", async () => {
  const one = await gateway(({ body }) => {
    if (String(body["model"]).startsWith("real")) return whole();
    throw Object.assign(new Error("no such model"), { status: 404 });
  });
  for (let i = 0; i < 20; i++) await (await one.post(ask({ model: `made-up-${i}` }))).text();
  for (let i = 0; i < 120; i++) await (await one.post(ask({ model: `real-${i}` }))).text();
  const figures = await scrape(one);
  const models = new Set(figures.get(`${CALLS}_count`)!.map(({ labels }) => labels["gen_ai_request_model"]));
  expect([...models].filter((model) => model?.startsWith("made-up"))).toEqual([]);
  expect(models.size).toBe(101);
  expect(sum(figures, `${CALLS}_count`, { gen_ai_request_model: "_other", error_type: "404" })).toBe(20);
  expect(sum(figures, `${CALLS}_count`, { gen_ai_request_model: "_other", error_type: undefined })).toBe(20);
  expect(sum(figures, `${REQUESTS}_count`)).toBe(140);
});

const PRICES = { m: { input: 2, output: 8 }, e: { input: 0.5 } };

test("what hits and shared calls save is counted in dollars, for models that have a price", async () => {
  const upstream = handStream();
  const one = await gateway(({ body }) => (body["model"] === "shared" ? upstream.chunks : whole()), {
    config: { inference: { prices: { ...PRICES, "m-2026": { input: 100 }, "m-shared": { input: 1_000 } } } },
  });
  const { inference } = one.server;
  // A miss and two hits of 3 and 2 tokens: 22 millionths each; the request's own name for the model comes first.
  for (let i = 0; i < 3; i++) await (await one.post(ask())).json();
  expect(inference.getStats().saved_cost_usd).toBeCloseTo(44e-6, 12);
  // Unknown by the request's name, but by the upstream's: 3 tokens at 100.
  for (let i = 0; i < 2; i++) await (await one.post(ask({ model: "alias" }))).json();
  expect(inference.getStats().saved_cost_usd).toBeCloseTo(344e-6, 12);
  const both = [one.post(ask({ model: "shared" })), one.post(ask({ model: "shared" }))];
  await expect.poll(() => inference.getStats().waiters).toBe(2);
  upstream.push(...words("hello").map((piece) => ({ ...piece, model: "m-shared" })));
  upstream.end();
  for (const response of await Promise.all(both)) await response.text();
  expect(inference.getStats().saved_cost_usd).toBeCloseTo(3_344e-6, 12);
  expect(sum(await scrape(one), "vg_cache_saved_cost_usd_total")).toBeCloseTo(3_344e-6, 12);
});

test("embeddings from the cache save their part of what their call took", async () => {
  const config: PooledServerConfig = { inference: { prices: PRICES } };
  const one = await gateway(
    ({ body }) => ({
      data: (body["input"] as string[]).map((_, index) => ({ index, embedding: [index] })),
      model: "e",
      usage: { prompt_tokens: 100 },
    }),
    { config },
  );
  const embed = async (...input: string[]): Promise<unknown> =>
    await (await one.post({ model: "e", input }, {}, "/v1/embeddings")).json();
  await embed("a".repeat(30), "b".repeat(10));
  expect(one.server.inference.getStats().saved_prompt_tokens).toBe(0);
  await embed("b".repeat(10), "c");
  expect(one.server.inference.getStats().saved_prompt_tokens).toBe(25);
  await embed("a".repeat(30), "b".repeat(10));
  expect(one.server.inference.getStats()).toMatchObject({ saved_prompt_tokens: 125, saved_completion_tokens: 0 });
  expect(one.server.inference.getStats().saved_cost_usd).toBeCloseTo(62.5e-6, 12);
});

test("without prices nothing is said of costs", async () => {
  const one = await gateway(() => whole());
  for (let i = 0; i < 2; i++) await (await one.post(ask())).json();
  expect(one.server.inference.getStats()).toMatchObject({ hits: 1, saved_cost_usd: 0 });
  expect((await scrape(one)).has("vg_cache_saved_cost_usd_total")).toBe(false);
});

test.each([
  [["m"], "inference.prices: options must be an object, got an array of 1"],
  [{ m: 2 }, 'inference.prices["m"]: options must be an object, got 2'],
  [{ m: {} }, 'inference.prices["m"]: input must be a number of at least 0, got undefined'],
  [{ m: { input: -1 } }, "input must be a number of at least 0, got -1"],
  [{ m: { input: 1, output: Number.NaN } }, "output must be a number of at least 0, got NaN"],
  [{ m: { input: 1, ouput: 2 } }, "ouput"],
])("prices that cannot be are refused: %j", async (prices, message) => {
  const config = { inference: { prices } } as unknown as PooledServerConfig;
  await expect(gateway(() => whole(), { config })).rejects.toThrow(message);
  await expect(gateway(() => whole(), { config })).rejects.toThrow(PooledServerConfigError);
});
