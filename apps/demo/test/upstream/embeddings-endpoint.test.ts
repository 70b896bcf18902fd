import { expect, test } from "vitest";
import { cosine, countTokens, embed } from "../../src/upstream/index.ts";
import { json, post, serve } from "./support/client.ts";

interface Embeddings<T> {
  object: string;
  model: string;
  data: { object: string; index: number; embedding: T }[];
  usage: { prompt_tokens: number; total_tokens: number };
}

const model = "vg-demo-ngram";

test("a string gives one vector and an array one for each, in order", async () => {
  const server = await serve();
  const one = await json<Embeddings<number[]>>(
    await post(server, "/embeddings", { model, input: "a pool of connections" }),
  );
  const tokens = countTokens("a pool of connections");
  expect(one).toMatchObject({ object: "list", model, usage: { prompt_tokens: tokens, total_tokens: tokens } });
  expect(one.data).toEqual([{ object: "embedding", index: 0, embedding: [...embed("a pool of connections")] }]);
  const two = await json<Embeddings<number[]>>(
    await post(server, "/embeddings", { model, input: ["first", "second"] }),
  );
  expect(two.data.map(({ index }) => index)).toEqual([0, 1]);
  expect(two.data.map(({ embedding }) => embedding)).toEqual([[...embed("first")], [...embed("second")]]);
});

test("base64 holds the same numbers as float, little-endian", async () => {
  const server = await serve();
  const body = { model, input: "vectors", encoding_format: "base64" };
  const { data } = await json<Embeddings<string>>(await post(server, "/embeddings", body));
  const bytes = Buffer.from(data[0]?.embedding ?? "", "base64");
  expect(bytes.length).toBe(4 * 256);
  const numbers = Float32Array.from({ length: 256 }, (_, i) => bytes.readFloatLE(4 * i));
  expect(numbers).toEqual(embed("vectors"));
});

test("fewer dimensions come as asked, with length 1", async () => {
  const server = await serve();
  const { data } = await json<Embeddings<number[]>>(
    await post(server, "/embeddings", { model, input: "x y z", dimensions: 32 }),
  );
  const vector = Float32Array.from(data[0]?.embedding ?? []);
  expect(vector.length).toBe(32);
  expect(cosine(vector, vector)).toBeCloseTo(1, 5);
});

test.each([
  [{ model }, "input"],
  [{ model, input: "" }, "input"],
  [{ model, input: [] }, "input"],
  [{ model, input: ["a", ""] }, "input"],
  [{ model, input: [1, 2, 3] }, "input"],
  [{ model, input: Array.from({ length: 2049 }, () => "a") }, "input"],
  [{ model, input: "word ".repeat(9000) }, "input"],
  [{ model, input: "a", dimensions: 257 }, "dimensions"],
  [{ model, input: "a", dimensions: 0 }, "dimensions"],
  [{ model, input: "a", encoding_format: "int8" }, "encoding_format"],
  [{ model, input: "a", colour: "red" }, "colour"],
  [{ input: "a" }, "model"],
])("case %#: a bad request is refused by the name of its field", async (body, param) => {
  const server = await serve();
  const response = await post(server, "/embeddings", body);
  expect(response.status).toBe(400);
  expect(await json(response)).toMatchObject({ error: { type: "invalid_request_error", param } });
});
