import { afterAll, beforeAll, expect, test } from "vitest";
import { openDemo, type TestDemo } from "./support/demo.ts";

let demo: TestDemo;
beforeAll(async () => {
  demo = await openDemo();
});
afterAll(async () => {
  await demo.close();
});

interface Embeddings {
  data: { index: number; embedding: number[] }[];
  usage: { prompt_tokens: number };
  metadata: Record<string, unknown>;
  model: string;
}

const embed = async (input: unknown, more: object = {}) =>
  (await (await demo.post("/v2/embeddings", { model: "auto", input, ...more })).json()) as Embeddings;

test("embeddings are cached text by text, and a list keeps its order whatever came from where", async () => {
  const [alone] = (await embed("alpha")).data;
  const mixed = await embed(["beta", "alpha", "beta", "gamma"]);
  expect(mixed.data.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
  expect(mixed.data[1]?.embedding).toEqual(alone?.embedding);
  expect(mixed.data[0]?.embedding).toEqual(mixed.data[2]?.embedding);
  expect(mixed.data[0]?.embedding).not.toEqual(mixed.data[3]?.embedding);
  expect(mixed.metadata).toMatchObject({ cache_hit: false, cache_hits: 1 });
  const again = await embed(["gamma", "beta"]);
  expect(again.metadata).toMatchObject({ cache_hit: true, cache_hits: 2 });
  expect(again.usage.prompt_tokens).toBe(0);
  expect(again.model).toBe("0x3579-VectorProcessingAgent");
});

test("another number of dimensions is another vector", async () => {
  const { data } = await embed("delta", { dimensions: 64 });
  expect(data[0]?.embedding).toHaveLength(64);
  expect((await embed("delta")).data[0]?.embedding).toHaveLength(256);
});

test.each([[undefined], [""], [[]], [["a", ""]], [[1, 2]], [{ text: "a" }], [Array.from({ length: 2049 }, () => "a")]])(
  "input %j is refused by name",
  async (input) => {
    const response = await demo.post("/v2/embeddings", { model: "auto", input });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: "invalid_request", param: "input" } });
  },
);
