import type { HttpForward, JsonObject } from "@vg/pooled-server";
import { expect, test } from "vitest";
import { gateway } from "../support/inference.ts";
import { gate } from "../support/server.ts";

type Setup = Parameters<typeof gateway>[1];

/** A vector that says what it is of, and that no 32-bit float holds exactly. */
const vectorOf = (input: unknown, dimensions = 3): number[] => {
  const text = JSON.stringify(input);
  return Array.from({ length: dimensions }, (_, i) => (text.length + i + text.charCodeAt(1)) / 10);
};

async function embeddings(setup: Setup = {}, answer?: HttpForward) {
  const asked: JsonObject[] = [];
  const made = await gateway((call) => {
    asked.push(call.body);
    if (answer !== undefined) return answer(call);
    const { input, encoding_format, dimensions } = call.body;
    const inputs = (Array.isArray(input) && typeof input[0] !== "number" ? input : [input]) as unknown[];
    const data = inputs.map((one, index) => {
      const vector = vectorOf(one, dimensions as number | undefined);
      const base64 = Buffer.from(Float32Array.from(vector).buffer).toString("base64");
      return { object: "embedding", index, embedding: encoding_format === "base64" ? base64 : vector };
    });
    // The order is the index's business.
    return { object: "list", model: "m-0125", data: data.toReversed(), usage: { prompt_tokens: 2 * inputs.length } };
  }, setup);
  const embed = async (input: unknown, more: object = {}, headers: Record<string, string> = {}) => {
    const response = await made.post({ model: "m", input, ...more }, headers, "/v1/embeddings");
    const document = (await response.json()) as {
      data: { index: number; embedding: number[] | string }[];
      usage: { prompt_tokens: number };
      error?: JsonObject;
    };
    return {
      ...document,
      status: response.status,
      vectors: document.data?.map(({ embedding }) => embedding),
      cache: response.headers.get("x-vg-cache"),
      cacheStatus: response.headers.get("cache-status"),
    };
  };
  return { ...made, asked, embed };
}

test("only the inputs that are missing go to the upstream, each once, and the order is the client's", async () => {
  const { embed, asked, server } = await embeddings();
  const alone = await embed("alpha");
  expect(alone).toMatchObject({ cache: "miss", model: "m-0125", object: "list", usage: { prompt_tokens: 2 } });
  const mixed = await embed(["beta", "alpha", "beta", "gamma"]);
  expect(mixed.vectors).toEqual(["beta", "alpha", "beta", "gamma"].map((text) => vectorOf(text)));
  expect(mixed.data.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
  expect(mixed).toMatchObject({ cache: "miss", usage: { prompt_tokens: 4 } });
  const again = await embed(["gamma", "beta"]);
  expect(again).toMatchObject({ cache: "hit", model: "m-0125", usage: { prompt_tokens: 0 } });
  expect(again.cacheStatus).toMatch(/^vg; hit; ttl=86\d\d\d$/);
  // A lone text stays one: there are servers that know no lists.
  expect(asked.map(({ input }) => input)).toEqual(["alpha", ["beta", "gamma"]]);
  expect(server.inference.getStats()).toMatchObject({ embedding_hits: 3, embedding_misses: 3, upstream_calls: 2 });
});

test("figures are exact, whatever encoding they came in and go out in", async () => {
  const { embed, asked } = await embeddings();
  const figures = vectorOf("x");
  expect((await embed("x")).vectors).toEqual([figures]);
  const base64 = Buffer.from(Float32Array.from(figures).buffer).toString("base64");
  expect(await embed("x", { encoding_format: "base64" })).toMatchObject({ cache: "hit", vectors: [base64] });
  expect((await embed("y", { encoding_format: "base64" })).cache).toBe("miss");
  expect((await embed("y")).vectors).toEqual([Array.from(Float32Array.from(vectorOf("y")))]);
  expect(asked.map(({ encoding_format }) => encoding_format)).toEqual([undefined, "base64"]);
});

test("tokens and text, dimensions, models, tenants and whatever else the body says are told apart", async () => {
  const { embed, asked } = await embeddings();
  await embed("12");
  for (const [input, more, headers] of [
    [[1, 2], {}, {}],
    [[[1, 2], [12]], { extra: 1 }, {}],
    ["12", { dimensions: 5 }, {}],
    ["12", { model: "other" }, {}],
    ["12", { input_type: "query" }, {}],
    ["12", {}, { authorization: "Bearer b" }],
  ] as [unknown, object, Record<string, string>][]) {
    expect((await embed(input, more, headers)).cache).toBe("miss");
    expect((await embed(input, more, headers)).cache).toBe("hit");
  }
  expect(await embed("12", { user: "somebody", encoding_format: "float" })).toMatchObject({ cache: "hit" });
  expect(asked[1]).toMatchObject({ input: [1, 2] });
  expect((await embed("12", { dimensions: 5 })).vectors[0]).toHaveLength(5);
});

test("lists that overlap and come at once ask for each input once; who leaves takes nobody's vectors along", async () => {
  const gates: (() => void)[] = [];
  const signals: AbortSignal[] = [];
  const { embed, asked, url, server } = await embeddings({}, async ({ body, signal }) => {
    signals.push(signal);
    await new Promise<void>((resolve) => gates.push(resolve));
    const inputs = [body["input"]].flat();
    return { data: inputs.map((one, index) => ({ index, embedding: vectorOf(one) })) };
  });
  const leaves = new AbortController();
  const first = fetch(`${url}/v1/embeddings`, {
    method: "POST",
    body: JSON.stringify({ model: "m", input: ["a", "b"] }),
    signal: leaves.signal,
  }).catch(() => undefined);
  await expect.poll(() => gates.length).toBe(1);
  const second = embed(["b", "c"]);
  await expect.poll(() => gates.length).toBe(2);
  leaves.abort();
  await first;
  expect(signals.map(({ aborted }) => aborted)).toEqual([false, false]);
  for (const open of gates) open();
  expect((await second).vectors).toEqual([vectorOf("b"), vectorOf("c")]);
  expect(asked.map(({ input }) => input)).toEqual([["a", "b"], ["c"]]);
  expect(server.inference.getStats()).toMatchObject({ embedding_collapsed: 1, embedding_misses: 3 });
});

test("the last one who leaves aborts the call", async () => {
  const signals: AbortSignal[] = [];
  const { server, url } = await embeddings({}, ({ signal }) => {
    signals.push(signal);
    return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
  });
  const leaves = new AbortController();
  const sent = fetch(`${url}/v1/embeddings`, {
    method: "POST",
    body: JSON.stringify({ model: "m", input: "a" }),
    signal: leaves.signal,
  }).catch(() => undefined);
  await expect.poll(() => signals.length).toBe(1);
  leaves.abort();
  await sent;
  await expect.poll(() => signals[0]?.aborted).toBe(true);
  await expect.poll(() => server.inference.getStats().upstream_aborts).toBe(1);
});

test("directives hold for embeddings, too; every mode but opt-in caches them", async () => {
  const { embed } = await embeddings({ config: { inferenceCacheMode: "deterministic" } });
  expect((await embed("a", {}, { "cache-control": "no-store" })).cacheStatus).toBe("vg; fwd=uri-miss");
  expect((await embed("a")).cacheStatus).toBe("vg; fwd=uri-miss; stored");
  expect((await embed(["a", "b"], {}, { "cache-control": "no-cache" })).cacheStatus).toBe("vg; fwd=request; stored");
  expect((await embed(["b"])).cache).toBe("hit");
  expect((await embed(["b"], {}, { "cache-control": "max-age=0" })).cache).toBe("stale");
  expect(await embed(["b", "z"], {}, { "cache-control": "only-if-cached" })).toMatchObject({ status: 504 });
  expect(await embed(["b", "a"], {}, { "cache-control": "only-if-cached" })).toMatchObject({
    status: 200,
    cache: "hit",
  });
  const optIn = await embeddings({ config: { inferenceCacheMode: "opt-in" } });
  expect((await optIn.embed("a")).cache).toBe("bypass");
  expect((await optIn.embed("a", { cache: { "use-cache": true } })).cache).toBe("miss");
  expect((await optIn.embed("a", { cache: { "use-cache": true } })).cache).toBe("hit");
});

test.each([[undefined], [null], [[]], [[1.5]], [{}], [["a", 1]], [[[]]], [Array.from({ length: 2_049 }, () => "a")]])(
  "input %j is refused by name, before anybody is asked",
  async (input) => {
    const { embed, asked } = await embeddings();
    expect(await embed(input)).toMatchObject({ status: 400, error: { param: "input" } });
    expect(asked).toEqual([]);
  },
);

test("an encoding that is none is refused", async () => {
  const { embed } = await embeddings();
  expect(await embed("a", { encoding_format: "utf8" })).toMatchObject({
    status: 400,
    error: { param: "encoding_format" },
  });
});

test.each<[string, JsonObject]>([
  ["too few", { data: [{ index: 0, embedding: [1] }] }],
  [
    "one twice",
    {
      data: [
        { index: 0, embedding: [1] },
        { index: 0, embedding: [2] },
      ],
    },
  ],
  [
    "an index that was not asked for",
    {
      data: [
        { index: 0, embedding: [1] },
        { index: 5, embedding: [2] },
      ],
    },
  ],
  [
    "an empty one",
    {
      data: [
        { index: 0, embedding: [] },
        { index: 1, embedding: [1] },
      ],
    },
  ],
  [
    "one that holds no figures",
    {
      data: [
        { index: 0, embedding: [1, null] },
        { index: 1, embedding: [1] },
      ],
    },
  ],
  [
    "base64 of half a figure",
    {
      data: [
        { index: 0, embedding: "AAA=" },
        { index: 1, embedding: "AAAAAA==" },
      ],
    },
  ],
  ["no data", { object: "list" }],
  ["an error", { error: { message: "no" } }],
])("an upstream that gives %s is a 502, and nothing is stored", async (_name, document) => {
  const { embed, server } = await embeddings({}, () => document);
  expect(await embed(["a", "b"])).toMatchObject({ status: 502, error: { code: "upstream_error" } });
  expect(server.embeddingCache.size).toBe(0);
});

test("an input that is refused takes along none of those that others ask for at the same time", async () => {
  const mayFail = gate();
  let calls = 0;
  const { embed, asked, server } = await embeddings({}, async ({ body }) => {
    const inputs = body["input"] as string[];
    if (calls++ === 0) {
      await mayFail.opened;
      throw Object.assign(new Error("bad input"), { status: 400 });
    }
    return { model: "m", data: inputs.map((_, index) => ({ index, embedding: [1, 2] })) };
  });
  const first = embed(["good", "bad"]);
  await expect.poll(() => asked).toHaveLength(1);
  const second = embed(["good"]);
  await expect.poll(() => server.embeddingCache.getStats().loads_deduplicated).toBe(1);
  mayFail.open();
  expect((await first).status).toBe(400);
  expect(await second).toMatchObject({ status: 200, vectors: [[1, 2]] });
  expect(asked.map(({ input }) => input)).toEqual([["good", "bad"], ["good"]]);
});

test("a vector of what are no numbers is refused in base64, too", async () => {
  const embedding = Buffer.from(Float32Array.of(1, NaN).buffer).toString("base64");
  const { embed, server } = await embeddings({}, () => ({ model: "m", data: [{ index: 0, embedding }] }));
  expect((await embed("x")).status).toBe(502);
  expect(server.embeddingCache.size).toBe(0);
});

test("what was put into the cache in another form is asked for again", async () => {
  const { embed, server } = await embeddings();
  const { vectors } = await embed("x");
  const [key] = server.embeddingCache.keys();
  server.embeddingCache.set(key as string, JSON.parse(JSON.stringify(server.embeddingCache.peek(key as string))));
  expect(await embed("x")).toMatchObject({ status: 200, vectors });
  expect(await embed("x")).toMatchObject({ cache: "hit", vectors });
});
