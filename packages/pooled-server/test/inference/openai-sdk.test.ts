import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import OpenAI from "openai";
import { expect, onTestFinished, test } from "vitest";
import type { HttpForward } from "@vg/pooled-server";
import { chunk, collect, gateway, handStream, stream, usage, words } from "../support/inference.ts";

async function client(forward: HttpForward, more: Partial<ConstructorParameters<typeof OpenAI>[0]> = {}) {
  const made = await gateway(forward);
  const openai = new OpenAI({ baseURL: `${made.url}/v1`, apiKey: "sk-test", maxRetries: 0, ...more });
  return { ...made, openai };
}

interface ToolCall {
  id: string;
  type: string;
  function: { name: string; arguments: string };
}

const messages = [{ role: "user" as const, content: "hi" }];
const request = { model: "m", messages, temperature: 0 };

test("OpenAI's client gets a completion and its request id, the second time from the cache", async () => {
  let calls = 0;
  const { openai } = await client(() => {
    calls++;
    return stream(words("hello you"));
  });
  const first = await openai.chat.completions.create(request);
  expect(first).toMatchObject({
    object: "chat.completion",
    choices: [{ index: 0, message: { role: "assistant", content: "hello you" }, finish_reason: "stop" }],
    usage,
  });
  expect(first._request_id).toMatch(/^[0-9a-f-]{36}$/);
  const { data, response } = await openai.chat.completions.create(request).withResponse();
  expect(data).toEqual(first);
  expect((data as { _request_id?: string })._request_id).not.toBe(first._request_id);
  expect(response.headers.get("cache-status")).toMatch(/^vg; hit; ttl=\d+$/);
  expect(calls).toBe(1);
});

test("OpenAI's client streams, with the usage where it asks for it, and the same from the cache", async () => {
  const { openai } = await client(() => stream(words("one two three")));
  const read = async (include_usage: boolean) => {
    const chunks = [];
    const answer = await openai.chat.completions.create({
      ...request,
      stream: true,
      stream_options: { include_usage },
    });
    for await (const piece of answer) chunks.push(piece);
    return chunks;
  };
  const [first, second, third] = [await read(true), await read(true), await read(false)];
  expect(first.map(({ choices }) => choices[0]?.delta.content ?? "").join("")).toBe("one two three");
  expect(first.at(-1)).toMatchObject({ choices: [], usage });
  expect(second).toEqual(first);
  expect(third).toEqual(first.slice(0, -1));
});

test("OpenAI's own accumulation of a stream is the document that is served without one", async () => {
  const call = (index: number, more: object, args: string): object => ({
    index,
    ...more,
    function: { ...(args === "" ? { name: `f${index}` } : {}), arguments: args },
  });
  const pieces = [
    chunk({ role: "assistant", content: null, refusal: null }),
    chunk({ tool_calls: [call(0, { id: "a", type: "function" }, "")] }),
    chunk({ tool_calls: [call(0, {}, '{"x":')] }),
    chunk({ tool_calls: [call(1, { id: "b", type: "function" }, "")] }),
    chunk({ tool_calls: [call(0, {}, "1}"), call(1, {}, "{}")] }),
    chunk({}, "tool_calls"),
  ];
  const { openai } = await client(() => stream(pieces));
  const document = await openai.chat.completions.create(request);
  const accumulated = await openai.chat.completions.stream(request).finalChatCompletion();
  expect(document.choices[0]?.message.tool_calls).toEqual([
    { id: "a", type: "function", function: { name: "f0", arguments: '{"x":1}' } },
    { id: "b", type: "function", function: { name: "f1", arguments: "{}" } },
  ]);
  expect(accumulated.choices[0]?.message).toMatchObject({ content: null, refusal: null });
  const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
  const calls = ((accumulated.choices[0]?.message.tool_calls ?? []) as ToolCall[]).map(
    ({ id, type, function: fn }) => ({
      id,
      type,
      function: { name: fn.name, arguments: fn.arguments },
    }),
  );
  expect(calls).toEqual(plain(document.choices[0]?.message.tool_calls));
});

test("OpenAI's client gets embeddings, which it asks for in base64", async () => {
  const { openai } = await client(({ body }) => {
    const inputs = [body["input"]].flat();
    return { object: "list", model: "e", data: inputs.map((_, index) => ({ index, embedding: [index + 0.5, 1] })) };
  });
  const { data, model } = await openai.embeddings.create({ model: "e", input: ["a", "b"] });
  expect(model).toBe("e");
  expect(data.map(({ embedding }) => [...embedding])).toEqual([
    [0.5, 1],
    [1.5, 1],
  ]);
});

test("errors are the client's typed errors, before a stream and in one", async () => {
  let answer: HttpForward = () => ({});
  const { openai } = await client((call) => answer(call));
  const refuse = (status: number, code: string) => () =>
    Response.json({ error: { message: "no", type: "t", param: "model", code } }, { status });
  answer = refuse(404, "model_not_found");
  await expect(openai.chat.completions.create(request)).rejects.toThrow(OpenAI.NotFoundError);
  await expect(openai.chat.completions.create({ ...request, stream: true })).rejects.toMatchObject({
    status: 404,
    code: "model_not_found",
    param: "model",
    requestID: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
  });
  answer = refuse(429, "rate_limit_exceeded");
  await expect(openai.chat.completions.create(request)).rejects.toThrow(OpenAI.RateLimitError);
  answer = () => Promise.reject(new Error("boom"));
  await expect(openai.chat.completions.create(request)).rejects.toThrow(OpenAI.InternalServerError);
  await expect(openai.embeddings.create({ model: "e", input: [] })).rejects.toThrow(OpenAI.BadRequestError);
  const upstream = handStream();
  answer = () => upstream.chunks;
  upstream.push(chunk({ content: "half" }), { error: { message: "overheated", code: "hot" } });
  const broken = await openai.chat.completions.create({ ...request, stream: true });
  await expect(collect(broken)).rejects.toMatchObject({
    message: expect.stringContaining("overheated") as string,
  });
});

test("OpenAI's client aborts, and with it its call", async () => {
  const signals: AbortSignal[] = [];
  const upstream = handStream();
  const { openai, server } = await client(({ signal }) => {
    signals.push(signal);
    return signals.length === 1 ? upstream.chunks : new Promise(() => undefined);
  });
  const answer = openai.chat.completions.create({ ...request, stream: true });
  upstream.push(chunk({ content: "a" }));
  for await (const _ of await answer) break;
  await expect.poll(() => signals[0]?.aborted).toBe(true);
  const abort = new AbortController();
  const waiting = openai.chat.completions.create({ ...request, seed: 2 }, { signal: abort.signal });
  await expect.poll(() => signals.length).toBe(2);
  abort.abort();
  await expect(waiting).rejects.toThrow(OpenAI.APIUserAbortError);
  await expect.poll(() => server.inference.getStats().upstream_aborts).toBe(2);
});

test("OpenAI's client itself may be what makes the call", async () => {
  const model = createServer((incoming, response) => {
    incoming.resume();
    if (incoming.headers.authorization !== "Bearer sk-gateway") {
      response.writeHead(401).end("{}");
      return;
    }
    response.writeHead(200, { "content-type": "text/event-stream" });
    for (const piece of words("from afar")) response.write(`data: ${JSON.stringify(piece)}\n\n`);
    response.end("data: [DONE]\n\n");
  });
  await once(model.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => {
    model.closeAllConnections();
    model.close();
  });
  const baseURL = `http://127.0.0.1:${(model.address() as AddressInfo).port}/v1`;
  const upstream = new OpenAI({ baseURL, apiKey: "sk-gateway", maxRetries: 0 });
  const { openai } = await client(async ({ body, signal }) => {
    const asked = { ...body, stream: true, stream_options: { include_usage: true } };
    return (await upstream.chat.completions.create(asked as never, { signal })) as never;
  });
  const { choices, usage: counted } = await openai.chat.completions.create(request);
  expect([choices[0]?.message.content, counted]).toEqual(["from afar", usage]);
});

test("what OpenAI's client gives may be what a forward gives: a document, a stream, a list of vectors", async () => {
  const upstream = await client(() => stream(words("from upstream")));
  const { openai, server } = upstream;
  const messagesOf = (body: object) => body as OpenAI.ChatCompletionCreateParamsNonStreaming;
  const document = server.inference.completions(({ body, signal }) =>
    openai.chat.completions.create(messagesOf(body), { signal }),
  );
  const streamed = server.inference.completions(({ body, signal }) =>
    openai.chat.completions.create({ ...messagesOf(body), stream: true }, { signal }),
  );
  const vectors = server.inference.embeddings(({ body, signal }) =>
    openai.embeddings.create(body as unknown as OpenAI.EmbeddingCreateParams, { signal }),
  );
  expect(typeof vectors).toBe("function");
  for (const handler of [document, streamed]) {
    const answer = await handler.fetch(
      new Request("http://h/v1/chat/completions", { method: "POST", body: JSON.stringify(request) }),
    );
    expect(await answer.json()).toMatchObject({ choices: [{ message: { content: "from upstream" } }] });
  }
});
