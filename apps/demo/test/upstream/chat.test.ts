import { expect, test } from "vitest";
import { countTokens } from "../../src/upstream/index.ts";
import { chat, chunks, type Completion, contentOf, json, serve } from "./support/client.ts";

test("a completion has OpenAI's format and says what it comes from", async () => {
  const server = await serve();
  const response = await chat(server);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("application/json");
  expect(response.headers.get("x-vg-upstream")).toBe("embedded-demo");
  const completion = await json<Completion>(response);
  const content = completion.choices[0]?.message.content ?? "";
  expect(content).toMatch(/pool.*[.!?]$/u);
  expect(completion).toEqual({
    id: expect.stringMatching(/^chatcmpl-[\w-]{20}$/u),
    object: "chat.completion",
    created: expect.any(Number),
    model: "vg-demo-ngram",
    system_fingerprint: server.systemFingerprint,
    choices: [
      { index: 0, message: { role: "assistant", content, refusal: null }, logprobs: null, finish_reason: "stop" },
    ],
    // Eight words and marks, and the role.
    usage: { prompt_tokens: 9, completion_tokens: countTokens(content), total_tokens: 9 + countTokens(content) },
  });
  expect(server.systemFingerprint).toMatch(/^ngram-/u);
});

test("a stream is a role, the pieces of the same text, and a finish", async () => {
  const server = await serve();
  const whole = await json<Completion>(await chat(server));
  const response = await chat(server, { stream: true });
  expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  const all = chunks(await response.text());

  expect(all[0]?.choices[0]?.delta).toEqual({ role: "assistant", content: "" });
  expect(contentOf(all)).toBe(whole.choices[0]?.message.content);
  expect(all.at(-1)?.choices[0]).toMatchObject({ delta: {}, finish_reason: "stop" });
  expect(all.slice(0, -1).every(({ choices }) => choices[0]?.finish_reason === null)).toBe(true);
  expect(new Set(all.map(({ id }) => id)).size).toBe(1);
  expect(all.every(({ object }) => object === "chat.completion.chunk")).toBe(true);
  expect(all.every((chunk) => !("usage" in chunk))).toBe(true);
});

test("a stream that asks for its usage gets it in a last chunk without choices", async () => {
  const server = await serve();
  const { usage } = await json<Completion>(await chat(server));
  const all = chunks(await (await chat(server, { stream: true, stream_options: { include_usage: true } })).text());
  expect(all.at(-1)).toMatchObject({ choices: [], usage });
  expect(all.slice(0, -1).every((chunk) => chunk.usage === null)).toBe(true);
});

test("the same seed gives the same text; without one, texts differ", async () => {
  const server = await serve();
  const texts = async (fields: object): Promise<Set<string | undefined>> => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => chat(server, { temperature: 1.5, ...fields })));
    const completions = await Promise.all(answers.map((answer) => json<Completion>(answer)));
    return new Set(completions.map(({ choices }) => choices[0]?.message.content));
  };
  expect((await texts({ seed: 5 })).size).toBe(1);
  expect((await texts({ seed: null })).size).toBeGreaterThan(1);
});

test("max_tokens and its newer name cut the answer and say length", async () => {
  const server = await serve();
  for (const limit of [{ max_tokens: 5 }, { max_completion_tokens: 5 }]) {
    const { choices, usage } = await json<Completion>(await chat(server, limit));
    expect(choices[0]?.finish_reason).toBe("length");
    expect(usage?.completion_tokens).toBe(5);
    expect(countTokens(choices[0]?.message.content ?? "")).toBe(5);
  }
});

test("stop sequences end the answer, streamed or not, also across tokens", async () => {
  const server = await serve();
  const content = (await json<Completion>(await chat(server))).choices[0]?.message.content ?? "";
  // From the middle of one word into the next.
  const stop = content.slice(content.indexOf(" ", 10) - 2, content.indexOf(" ", 10) + 3);
  const expected = content.slice(0, content.indexOf(stop));
  for (const given of [stop, ["not in the text", stop]]) {
    const whole = await json<Completion>(await chat(server, { stop: given }));
    expect(whole.choices[0]).toMatchObject({ message: { content: expected }, finish_reason: "stop" });
    const all = chunks(await (await chat(server, { stop: given, stream: true })).text());
    expect(contentOf(all)).toBe(expected);
    expect(all.at(-1)?.choices[0]?.finish_reason).toBe("stop");
  }
});

test("the last message of the user is what is answered, and every message counts as prompt", async () => {
  const server = await serve();
  const { choices, usage } = await json<Completion>(
    await chat(server, {
      temperature: 0,
      messages: [
        { role: "system", content: "You know about vectors." },
        { role: "user", content: "What is HNSW?" },
        { role: "assistant", content: null },
        {
          role: "user",
          content: [
            { type: "text", text: "And what is a" },
            { type: "text", text: "deadlock?" },
          ],
        },
      ],
    }),
  );
  expect(choices[0]?.message.content).toMatch(/deadlock/iu);
  const texts = ["You know about vectors.", "What is HNSW?", "", "And what is a\ndeadlock?"];
  expect(usage?.prompt_tokens).toBe(texts.reduce((sum, text) => sum + 1 + countTokens(text), 0));
});

test("documents that are given are learnt from", async () => {
  const server = await serve({
    documents: ["# Quokka\n\nThe quokka is a small marsupial that lives on Rottnest Island."],
  });
  const { choices } = await json<Completion>(
    await chat(server, { temperature: 0, messages: [{ role: "user", content: "Where does the quokka live?" }] }),
  );
  expect(choices[0]?.message.content).toBe("The quokka is a small marsupial that lives on Rottnest Island.");
});

test("model ids given as options are served by the same model", async () => {
  const server = await serve({ models: ["phi-3", "org/model"] });
  const completion = await json<Completion>(await chat(server, { model: "phi-3" }));
  expect(completion.model).toBe("phi-3");
  const list = await json<{ object: string; data: { id: string; owned_by: string }[] }>(
    await fetch(`${server.baseUrl}/models`),
  );
  expect(list.object).toBe("list");
  expect(list.data.map(({ id }) => id)).toEqual(["vg-demo-ngram", "phi-3", "org/model"]);
  expect(list.data.every((model) => model.owned_by === "vg-demo")).toBe(true);
  const one = await fetch(`${server.baseUrl}/models/${encodeURIComponent("org/model")}`);
  expect(await json<{ id: string }>(one)).toMatchObject({ id: "org/model", object: "model" });
});
