import type { ServerResponse } from "node:http";
import { HttpRequest } from "@smithy/core/protocols";
import { UndiciHttpHandler } from "@smithy/undici-http-handler";
import { request as octokit } from "@octokit/request";
import ky from "ky";
import OpenAI from "openai";
import { text } from "node:stream/consumers";
import { Readable } from "node:stream";
import { expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";
import { echoServer, expectSettled, type Echo } from "./support/echo-server.ts";
import { deferred, rejection } from "./support/fault-server.ts";

const completion = (content: string) => ({
  id: "1",
  object: "chat.completion",
  created: 0,
  model: "m",
  choices: [{ index: 0, finish_reason: "stop", message: { role: "assistant", content } }],
});
const delta = (content: string) =>
  `data: ${JSON.stringify({ ...completion(""), object: "chat.completion.chunk", choices: [{ index: 0, delta: { content } }] })}\n\n`;
const question = { model: "m", messages: [{ role: "user" as const, content: "Hello" }] };

/** Speaks as much of OpenAI's API as is asked for here; fails at first where the model is called so. */
async function modelServer(next: Promise<void> = Promise.resolve()) {
  let failures = 0;
  const json = (response: ServerResponse, status: number, body: unknown): void => {
    response.writeHead(status, { "content-type": "application/json", "retry-after": "0" }).end(JSON.stringify(body));
  };
  const complete = (response: ServerResponse, { model, stream }: { model: string; stream?: boolean }): void => {
    if (model === "busy" && failures++ === 0) json(response, 429, {});
    else if (model === "refused") json(response, 401, { error: { message: "no key" } });
    else if (stream !== true) json(response, 200, completion("Hi"));
    else {
      response.setHeader("content-type", "text/event-stream").write(delta("one "));
      void next.then(() => {
        response.write(delta("two"));
        response.end("data: [DONE]\n\n");
      });
    }
  };
  return echoServer(({ url }, response, body) => {
    if (url?.endsWith("/files") === true)
      json(response, 200, { id: body.includes('filename="a.txt"') ? "file" : "none" });
    else complete(response, JSON.parse(body) as { model: string });
    return true;
  });
}

test("OpenAI's SDK: completions, streams, files, an error's status", async () => {
  const next = deferred();
  await using server = await modelServer(next.promise);
  await using pool = new HttpPool();
  const client = new OpenAI({ apiKey: "k", baseURL: `${server.url}/v1`, fetch: pool.fetch, maxRetries: 0 });
  const answer = await client.chat.completions.create(question);
  expect(answer.choices[0]?.message.content).toBe("Hi");
  const words: string[] = [];
  for await (const chunk of await client.chat.completions.create({ ...question, stream: true })) {
    words.push(chunk.choices[0]?.delta.content ?? "");
    next.resolve();
  }
  expect(words).toEqual(["one ", "two"]);
  const file = await client.files.create({ file: new File(["text"], "a.txt"), purpose: "assistants" });
  expect(file.id).toBe("file");
  const refused = await rejection(client.chat.completions.create({ ...question, model: "refused" }));
  expect(refused).toMatchObject({ status: 401, message: expect.stringContaining("no key") as string });
  expect(pool.getStats()).toMatchObject({ request_count: 4, success_count: 4, connect_count: 1 });
  await expectSettled(pool, server);
});

test("OpenAI's SDK: an abort ends the stream and its request, and a dead server is a connection error", async () => {
  await using server = await modelServer(new Promise(() => {}));
  await using pool = new HttpPool({ maxRetries: 0 });
  const client = new OpenAI({ apiKey: "k", baseURL: `${server.url}/v1`, fetch: pool.fetch, maxRetries: 0 });
  const stream = await client.chat.completions.create({ ...question, stream: true });
  for await (const chunk of stream) {
    expect(chunk.choices[0]?.delta.content).toBe("one ");
    stream.controller.abort();
  }
  await server.socketsDownTo(0);
  expect(pool.getStats()).toMatchObject({ canceled_count: 1, in_flight: 0 });
  const dead = new OpenAI({ apiKey: "k", baseURL: "http://127.0.0.1:1/v1", fetch: pool.fetch, maxRetries: 0 });
  const error = await rejection(dead.chat.completions.create(question));
  expect(error).toMatchObject({
    name: "APIConnectionError" in error ? "APIConnectionError" : "Error",
    message: "Connection error.",
  });
  expect((error.cause as Error).cause).toMatchObject({ code: "ERR_VG_HTTP_CONNECT" });
});

test("OpenAI's SDK leaves the retries to the pool, per client through fetchOptions", async () => {
  await using server = await modelServer();
  await using pool = new HttpPool({ retryBaseMs: 1 });
  const fetchOptions = { pool: { retryOn: "rejected" } } as object;
  const client = new OpenAI({
    apiKey: "k",
    baseURL: `${server.url}/v1`,
    fetch: pool.fetch,
    maxRetries: 0,
    fetchOptions,
  });
  const answer = await client.chat.completions.create({ ...question, model: "busy" });
  expect(answer.choices[0]?.message.content).toBe("Hi");
  expect(pool.getStats()).toMatchObject({ request_count: 1, retry_count: 1, retries_by_cause: { rejected: 1 } });
});

test("limits hold for an SDK's bursts", async () => {
  await using server = await modelServer();
  await using pool = new HttpPool({ maxConnsPerHost: 3 });
  const client = new OpenAI({ apiKey: "k", baseURL: `${server.url}/v1`, fetch: pool.fetch, maxRetries: 0 });
  const answers = await Promise.all(Array.from({ length: 30 }, () => client.chat.completions.create(question)));
  expect(answers.every(({ choices }) => choices[0]?.message.content === "Hi")).toBe(true);
  expect(server.peak()).toBeLessThanOrEqual(3);
  expect(pool.getStats()).toMatchObject({ request_count: 30, success_count: 30 });
  await expectSettled(pool, server);
});

test("Octokit's request", async () => {
  await using server = await echoServer(({ url }, response) => {
    if (url !== "/missing") return false;
    response.writeHead(404, { "content-type": "application/json" }).end('{"message":"Not Found"}');
    return true;
  });
  await using pool = new HttpPool({ maxRetries: 0 });
  const github = octokit.defaults({ baseUrl: server.url, request: { fetch: pool.fetch } });
  const { status, data } = (await github("POST /repos/{owner}/{repo}/issues", {
    owner: "o",
    repo: "r",
    title: "t",
  })) as unknown as {
    status: number;
    data: Echo;
  };
  expect([status, data.method, data.url, data.body]).toEqual([200, "POST", "/repos/o/r/issues", '{"title":"t"}']);
  expect(await rejection(github("GET /missing"))).toMatchObject({ status: 404 });
  const dead = octokit.defaults({ baseUrl: "http://127.0.0.1:1", request: { fetch: pool.fetch } });
  expect(await rejection(dead("GET /"))).toMatchObject({ status: 500 });
  expect(pool.getStats()).toMatchObject({ request_count: 3, success_count: 2, error_count: 1 });
  await expectSettled(pool, server);
});

test("AWS's undici handler", async () => {
  await using server = await echoServer(({ url }, response) => {
    if (url !== "/hang") return false;
    response.flushHeaders();
    return true;
  });
  await using pool = new HttpPool({ maxConnsPerHost: 2 });
  const handler = new UndiciHttpHandler({ dispatcher: pool.dispatcher });
  const ask = (path: string, more: object = {}): HttpRequest =>
    new HttpRequest({ protocol: "http:", hostname: "127.0.0.1", port: server.port, path, method: "GET", ...more });
  const { response } = await handler.handle(ask("/key with space".replaceAll(" ", "%20"), { query: { list: "2" } }));
  expect(response.statusCode).toBe(200);
  expect(response.headers["set-cookie"]).toBe("a=1, b=2");
  expect(JSON.parse(await text(response.body as Readable))).toMatchObject({ url: "/key%20with%20space?list=2" });

  const headers = { "content-length": "6", "x-amz-date": "now" };
  const put = await handler.handle(
    ask("/put", { method: "PUT", headers, body: Readable.from([Buffer.from("object")]) }),
  );
  const stored = JSON.parse(await text(put.response.body as Readable)) as Echo;
  expect([stored.body, stored.headers["content-length"]]).toEqual(["object", "6"]);

  const slow = await handler.handle(ask("/hang"), { requestTimeout: 10 });
  expect(await rejection(text(slow.response.body as Readable))).toMatchObject({ code: "UND_ERR_BODY_TIMEOUT" });
  const abort = new AbortController();
  const hanging = await handler.handle(ask("/hang"), { abortSignal: abort.signal });
  const cut = rejection(text(hanging.response.body as Readable));
  abort.abort();
  expect(await cut).toMatchObject({ name: "AbortError" });
  // What the SDK does at its end: it concerns nobody else.
  handler.destroy();
  expect((await pool.get(server.url)).status).toBe(200);
  await expectSettled(pool, server);
});

test("ky", async () => {
  let failures = 0;
  await using server = await echoServer(({ url }, response) => {
    if (url !== "/busy" || failures++ > 0) return false;
    response.writeHead(503).end();
    return true;
  });
  await using pool = new HttpPool({ retryBaseMs: 1 });
  const client = ky.create({ fetch: pool.fetch, retry: 0 });
  const echo = await client.put(`${server.url}/busy`, { json: { a: 1 } }).json<Echo>();
  expect([echo.body, echo.headers["content-length"], echo.headers["content-type"]]).toEqual([
    '{"a":1}',
    "7",
    "application/json",
  ]);
  expect(pool.getStats()).toMatchObject({ request_count: 1, retry_count: 1, success_count: 1 });
  await expectSettled(pool, server);
});
