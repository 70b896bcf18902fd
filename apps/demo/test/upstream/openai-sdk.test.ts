import OpenAI, { AuthenticationError, BadRequestError, NotFoundError, RateLimitError } from "openai";
import { expect, test } from "vitest";
import { cosine, embed, type UpstreamServer } from "../../src/upstream/index.ts";
import { serve } from "./support/client.ts";

const client = (server: UpstreamServer): OpenAI =>
  new OpenAI({ baseURL: server.baseUrl, apiKey: "sdk-key", maxRetries: 0 });
const messages = [{ role: "user" as const, content: "What is an index?" }];
const model = "vg-demo-ngram";

test("OpenAI's own client reads completions, streams, embeddings and models", async () => {
  const server = await serve({ apiKey: "sdk-key" });
  const openai = client(server);

  const completion = await openai.chat.completions.create({ model, messages, temperature: 0 });
  expect(completion.choices[0]?.message.content).toMatch(/index/u);
  // Where the client keeps the x-request-id header.
  expect(completion).toHaveProperty("_request_id", expect.stringMatching(/^req_/u));

  const stream = await openai.chat.completions.create({
    model,
    messages,
    temperature: 0,
    stream: true,
    stream_options: { include_usage: true },
  });
  let text = "";
  let usage: unknown;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  expect(text).toBe(completion.choices[0]?.message.content);
  expect(usage).toEqual(completion.usage);

  // The client asks for base64 and decodes it.
  const { data } = await openai.embeddings.create({ model, input: ["an index"] });
  expect(cosine(Float32Array.from(data[0]?.embedding ?? []), embed("an index"))).toBeCloseTo(1, 5);

  const ids: string[] = [];
  for await (const { id } of openai.models.list()) ids.push(id);
  expect(ids).toEqual([model]);
});

test("OpenAI's own client knows the errors for what they are", async () => {
  const server = await serve({ apiKey: "sdk-key" });
  const openai = client(server);
  await expect(openai.chat.completions.create({ model: "other", messages })).rejects.toThrow(NotFoundError);
  await expect(openai.chat.completions.create({ model, messages: [] })).rejects.toThrow(BadRequestError);
  await expect(
    client({ ...server, baseUrl: server.baseUrl })
      .withOptions({ apiKey: "wrong" })
      .models.list(),
  ).rejects.toThrow(AuthenticationError);
  server.setFault({ kind: "status", status: 429 });
  await expect(openai.chat.completions.create({ model, messages })).rejects.toThrow(RateLimitError);
});
