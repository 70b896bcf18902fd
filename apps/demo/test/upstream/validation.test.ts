import { request as httpRequest } from "node:http";
import { expect, test } from "vitest";
import { chat, type ErrorBody, json, post, serve } from "./support/client.ts";

const user = { role: "user", content: "hi" };

test.each([
  [{ model: undefined }, "model", "missing_required_parameter"],
  [{ model: 3 }, "model", null],
  [{ messages: undefined }, "messages", "missing_required_parameter"],
  [{ messages: [] }, "messages", null],
  [{ messages: "hi" }, "messages", null],
  [{ messages: ["hi"] }, "messages[0]", null],
  [{ messages: [user, { role: "robot", content: "x" }] }, "messages[1].role", null],
  [{ messages: [{ role: "user" }] }, "messages[0].content", "missing_required_parameter"],
  [{ messages: [{ role: "user", content: 5 }] }, "messages[0].content", null],
  [{ messages: [{ role: "user", content: [{ type: "image_url", image_url: {} }] }] }, "messages[0].content[0]", null],
  [{ temperature: -0.1 }, "temperature", null],
  [{ temperature: 2.1 }, "temperature", null],
  [{ temperature: "1" }, "temperature", null],
  [{ top_p: 1.5 }, "top_p", null],
  [{ top_k: -1 }, "top_k", null],
  [{ top_k: 1.5 }, "top_k", null],
  [{ max_tokens: 0 }, "max_tokens", null],
  [{ max_tokens: 1.5 }, "max_tokens", null],
  [{ max_tokens: 5, max_completion_tokens: 6 }, "max_tokens", null],
  [{ max_tokens: 9000 }, "max_tokens", "context_length_exceeded"],
  [{ messages: [{ role: "user", content: "word ".repeat(9000) }] }, "messages", "context_length_exceeded"],
  [{ stop: "" }, "stop", null],
  [{ stop: ["a", "b", "c", "d", "e"] }, "stop", null],
  [{ stop: [1] }, "stop", null],
  [{ seed: 1.5 }, "seed", null],
  [{ n: 2 }, "n", "unsupported"],
  [{ n: 0 }, "n", null],
  [{ stream: "yes" }, "stream", null],
  [{ stream_options: { include_usage: true } }, "stream_options", null],
  [{ stream: true, stream_options: { include_usage: 1 } }, "stream_options.include_usage", null],
  [{ stream: true, stream_options: { x: 1 } }, "stream_options.x", "unknown_parameter"],
  [{ frequency_penalty: 3 }, "frequency_penalty", null],
  [{ presence_penalty: -3 }, "presence_penalty", null],
  [{ tools: [{ type: "function" }] }, "tools", "unsupported"],
  [{ logprobs: true }, "logprobs", "unsupported"],
  [{ response_format: { type: "json_object" } }, "response_format", "unsupported"],
  [{ colour: "red" }, "colour", "unknown_parameter"],
])("case %#: a bad request is refused by the name of its field", async (fields, param, code) => {
  const server = await serve();
  const response = await chat(server, fields);
  expect(response.status).toBe(400);
  const { error } = await json<ErrorBody>(response);
  expect(error).toMatchObject({ type: "invalid_request_error", param, code });
  expect(error.message).toContain(param);
  expect(server.stats()).toMatchObject({ request_count: 1, error_count: 1, in_use: 0, acquire_count: 0 });
});

test("null stands for an absent field, and fields without effect are accepted", async () => {
  const server = await serve();
  const response = await chat(server, {
    temperature: null,
    stop: null,
    max_tokens: null,
    stream: null,
    stream_options: null,
    tools: [],
    logprobs: false,
    logit_bias: {},
    response_format: { type: "text" },
    user: "someone",
    metadata: { a: "b" },
    store: false,
  });
  expect(response.status).toBe(200);
});

test.each(["", "{", "[]", "null", '"text"', '{"model": "a",}'])("a body of %j is refused with 400", async (body) => {
  const server = await serve();
  const response = await post(server, "/chat/completions", body);
  expect(response.status).toBe(400);
  expect((await json<ErrorBody>(response)).error.type).toBe("invalid_request_error");
});

test("a body that is not UTF-8 is refused with 400", async () => {
  const server = await serve();
  const response = await post(server, "/chat/completions", undefined, { body: Buffer.from([0x22, 0xff, 0xfe, 0x22]) });
  expect(response.status).toBe(400);
});

test("a compressed body is refused with 415", async () => {
  const server = await serve();
  const response = await post(server, "/chat/completions", "{}", { headers: { "content-encoding": "gzip" } });
  expect(response.status).toBe(415);
});

/** A valid body of exactly that many bytes. */
function bodyOf(size: number): string {
  const frame = JSON.stringify({ model: "vg-demo-ngram", messages: [user], user: "" });
  return frame.replace('"user":""', `"user":"${"x".repeat(size - frame.length)}"`);
}

test("a body above 1 MiB is refused with 413, and one just below is read", async () => {
  const server = await serve();
  expect((await post(server, "/chat/completions", bodyOf(1024 * 1024))).status).toBe(200);
  const response = await post(server, "/chat/completions", bodyOf(1024 * 1024 + 1));
  expect(response.status).toBe(413);
  expect((await json<ErrorBody>(response)).error.code).toBe("request_too_large");
});

test("a body that declares a huge size is refused before it is sent", async () => {
  const server = await serve();
  const status = await new Promise<number | undefined>((resolve, reject) => {
    const request = httpRequest(`${server.baseUrl}/chat/completions`, {
      method: "POST",
      headers: { "content-length": 1e9 },
    });
    request.on("response", (response) => {
      response.resume();
      resolve(response.statusCode);
      request.destroy();
    });
    request.on("error", reject);
    request.flushHeaders();
  });
  expect(status).toBe(413);
});

test("unknown models are 404, with what to ask", async () => {
  const server = await serve();
  const refusal = { error: { type: "invalid_request_error", param: "model", code: "model_not_found" } };
  const chatResponse = await chat(server, { model: "gpt-5" });
  expect(chatResponse.status).toBe(404);
  expect(await json(chatResponse)).toMatchObject(refusal);
  const modelResponse = await fetch(`${server.baseUrl}/models/gpt-5`);
  expect(modelResponse.status).toBe(404);
  expect(await json(modelResponse)).toMatchObject(refusal);
});

test("unknown paths are 404 and wrong methods 405", async () => {
  const server = await serve();
  expect((await post(server, "/completions", {})).status).toBe(404);
  expect((await fetch(`http://127.0.0.1:${server.port}/`)).status).toBe(404);
  expect((await fetch(`${server.baseUrl}/models/%E0%A4%A`)).status).toBe(404);
  const response = await fetch(`${server.baseUrl}/chat/completions?x=1`);
  expect(response.status).toBe(405);
  expect(response.headers.get("allow")).toBe("POST");
});

test("with a key set, everything below /v1 needs it", async () => {
  const server = await serve({ apiKey: "secret-key" });
  const call = (authorization?: string): Promise<Response> =>
    fetch(`${server.baseUrl}/models`, authorization === undefined ? {} : { headers: { authorization } });
  expect((await call("Bearer secret-key")).status).toBe(200);
  for (const authorization of [undefined, "Bearer wrong", "Basic secret-key", "secret-key"]) {
    const response = await call(authorization);
    expect(response.status).toBe(401);
    const text = await response.text();
    expect(JSON.parse(text)).toMatchObject({ error: { code: "invalid_api_key" } });
    expect(text).not.toContain("secret-key");
  }
  expect((await fetch(`http://127.0.0.1:${server.port}/healthz`)).status).toBe(200);
});

test("a request id that is plain comes back, and any other is replaced", async () => {
  const server = await serve();
  const idFor = async (id: string): Promise<string | null> =>
    (await fetch(`${server.baseUrl}/models`, { headers: { "x-request-id": id } })).headers.get("x-request-id");
  expect(await idFor("trace-42.a")).toBe("trace-42.a");
  expect(await idFor("<script>")).toMatch(/^req_/u);
  expect(await idFor("x".repeat(129))).toMatch(/^req_/u);
});
