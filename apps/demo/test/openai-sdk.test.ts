import OpenAI from "openai";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openDemo, type TestDemo } from "./support/demo.ts";

let demo: TestDemo;
let client: OpenAI;
beforeAll(async () => {
  demo = await openDemo({ API_KEY: "sk-demo" });
  client = new OpenAI({ baseURL: `${demo.url}/v1`, apiKey: "sk-demo", maxRetries: 0 });
});
afterAll(async () => {
  await demo.close();
});

const messages = [{ role: "user" as const, content: "What is a connection pool?" }];

test("OpenAI's client lists the models", async () => {
  const ids = [];
  for await (const model of client.models.list()) ids.push(model.id);
  expect(ids).toContain("0x5678-SQLAgent");
});

test("OpenAI's client gets a completion, and its id for support", async () => {
  const completion = await client.chat.completions.create({ model: "general", messages });
  expect(completion.choices[0]?.message.content).toMatch(/\w/);
  expect(completion.usage?.total_tokens).toBeGreaterThan(0);
  expect(completion._request_id).toMatch(/^[0-9a-f-]{36}$/);
  // The plain format: nothing of the service's own in it.
  expect(Object.keys(completion).toSorted()).toEqual(["choices", "created", "id", "model", "object", "usage"]);
});

test("OpenAI's client streams a completion, with the usage where it asks for it", async () => {
  const stream = await client.chat.completions.create({
    model: "general",
    messages,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage ??= chunk.usage;
  }
  expect(text).toMatch(/\w/);
  expect(usage?.completion_tokens).toBeGreaterThan(0);
});

test("OpenAI's client gets embeddings, which it asks for in base64: near texts are near", async () => {
  const { data } = await client.embeddings.create({
    model: "0x3579-VectorProcessingAgent",
    input: ["an index makes a query fast", "a query is fast with an index", "bananas are yellow fruit"],
  });
  const [a, b, c] = data.map(({ embedding }) => embedding) as [number[], number[], number[]];
  const dot = (x: number[], y: number[]) => x.reduce((sum, value, i) => sum + value * (y[i] as number), 0);
  expect(dot(a, a)).toBeCloseTo(1, 4);
  expect(dot(a, b)).toBeGreaterThan(dot(a, c));
});

test("errors are the client's typed errors", async () => {
  await expect(client.chat.completions.create({ model: "nope", messages })).rejects.toBeInstanceOf(
    OpenAI.NotFoundError,
  );
  await expect(client.chat.completions.create({ model: "general", messages: [] })).rejects.toBeInstanceOf(
    OpenAI.BadRequestError,
  );
  const stranger = new OpenAI({ baseURL: `${demo.url}/v1`, apiKey: "sk-wrong", maxRetries: 0 });
  await expect(stranger.models.list()).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
});
