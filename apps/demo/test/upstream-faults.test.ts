import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import { json } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import { ask, readEvents, withDemo } from "./support/demo.ts";

test("a model server that fails is a 502, that hangs a 408, and nothing of it is cached", async () => {
  const demo = await withDemo({ HTTP_TIMEOUT_SECONDS: "0.5" });
  const body = ask("What happens on failure?", { max_tokens: 5 });
  const errorOf = async () => {
    const response = await demo.post("/v2/chat/completions", body);
    return [response.status, ((await response.json()) as { error?: { code: string } }).error?.code];
  };
  await demo.embedded.model?.process.setFault({ kind: "status", status: 500 });
  expect(await errorOf()).toEqual([502, "inference_error"]);
  await demo.embedded.model?.process.setFault({ kind: "hang" });
  expect(await errorOf()).toEqual([408, "timeout"]);
  await demo.embedded.model?.process.setFault({ kind: "malformed_sse" });
  expect(await errorOf()).toEqual([502, "inference_error"]);
  await demo.embedded.model?.process.setFault({ kind: "cut_stream" });
  expect(await errorOf()).toEqual([502, "inference_error"]);
  await demo.embedded.model?.process.setFault({ kind: "none" });
  const fine = await demo.post("/v2/chat/completions", body);
  expect([fine.status, fine.headers.get("x-vg-cache")]).toEqual([200, "miss"]);
});

test("a busy model server is asked again, and if it stays busy the client is told when to come back", async () => {
  const demo = await withDemo({ HTTP_TIMEOUT_SECONDS: "3" });
  await demo.embedded.model?.process.setFault({ kind: "status", status: 503, retryAfterSeconds: 0, count: 1 });
  const retried = await demo.post("/v2/chat/completions", ask("Are you busy?", { max_tokens: 5 }));
  expect(retried.status).toBe(200);
  expect(demo.server.httpPool.getStats().retry_count).toBeGreaterThanOrEqual(1);
  await demo.embedded.model?.process.setFault({ kind: "status", status: 429, retryAfterSeconds: 60 });
  const refused = await demo.post("/v2/chat/completions", ask("Still busy?", { max_tokens: 5 }));
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "60"]);
  expect(await refused.json()).toMatchObject({ error: { code: "rate_limit_exceeded", retry_after: 60 } });
});

test("a stream that breaks ends with an error event and without [DONE]", async () => {
  const demo = await withDemo();
  await demo.embedded.model?.process.setFault({ kind: "cut_stream" });
  const response = await demo.post("/v2/chat/completions", ask("Tell me a long story about tables", { stream: true }));
  expect(response.status).toBe(200);
  const events = await readEvents(response);
  expect(JSON.parse(events.at(-1) as string)).toMatchObject({ error: { code: "inference_error" } });
  expect(events).not.toContain("[DONE]");
  expect(demo.server.inferenceCache.size).toBe(0);
  // On the wire it was a 200; row, log and metrics say how it ended.
  const { data } = (await (await demo.get("/v2/usage")).json()) as { data: object[] };
  expect(data).toMatchObject([{ status: 502 }]);
  expect(demo.logs.find({ message: "http_request", path: "/v2/chat/completions" })).toMatchObject({ status_code: 502 });
  expect(demo.server.getHealth().profiler.error_count).toBe(1);
});

test("a stream without usage is counted by estimate", async () => {
  const demo = await withDemo();
  await demo.embedded.model?.process.setFault({ kind: "no_usage" });
  const response = await demo.post("/v2/chat/completions", ask("How many tokens?", { max_tokens: 5 }));
  const { usage } = (await response.json()) as { usage: { total_tokens: number } };
  expect(usage.total_tokens).toBeGreaterThan(0);
});

/** A model server of the test's own. */
async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(answer);
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`;
}

const stream = (...events: unknown[]) =>
  events.map((event) => `data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`).join("");
const said = { choices: [{ index: 0, delta: { content: "hi" }, finish_reason: null }] };
const stopped = { choices: [{ index: 0, delta: {}, finish_reason: "stop" }] };

test.each([
  ["null as an event", stream("null", said, stopped, "[DONE]"), 200],
  ["null as a tool call", stream({ choices: [{ delta: { tool_calls: [null] } }] }, stopped, "[DONE]"), 200],
  [
    "a huge index of a tool call",
    stream({ choices: [{ delta: { tool_calls: [{ index: 2e8, id: "a" }] } }] }, stopped, "[DONE]"),
    200,
  ],
  ["null as the error of a good chunk", stream({ ...said, error: null }, stopped, "[DONE]"), 200],
  [
    "figures that are none",
    stream(said, { ...stopped, usage: { prompt_tokens: 1.5, completion_tokens: -9e15 } }, "[DONE]"),
    200,
  ],
  ["an error event", stream(said, { error: { message: "overheated" } }), 502],
  ["no end", stream(said, stopped), 502],
  ["no reason to stop", stream(said, "[DONE]"), 502],
  ["a page", "<html>busy</html>", 502],
  ["choices of another kind", stream({ choices: "none" }, "[DONE]"), 502],
])("an upstream that sends %s is answered with sense", async (_name, body, status) => {
  const url = await serve((request, response) => {
    request.resume();
    response.setHeader("content-type", "text/event-stream");
    response.end(request.url === "/v1/models" ? '{"data":[null,{"id":"m"}]}' : body);
  });
  const demo = await withDemo({ UPSTREAM_BASE_URL: url });
  const response = await demo.post("/v2/chat/completions", ask("Well?"));
  expect(response.status).toBe(status);
  const document = (await response.json()) as { usage?: { total_tokens: number }; error?: { code: string } };
  if (status === 200) expect(document.usage?.total_tokens).toBeGreaterThan(0);
  else expect(document.error?.code).toBe("inference_error");
});

test("an answer without end is cut at its limit, and nothing of it stays", async () => {
  let closed = false;
  const url = await serve((request, response) => {
    request.resume();
    if (request.method === "GET") {
      response.end("{}");
      return;
    }
    response.on("close", () => (closed = true));
    response.setHeader("content-type", "text/event-stream");
    // One event that never ends.
    const endless = Readable.from(
      (function* () {
        yield "data: ";
        for (;;) yield "x".repeat(65_536);
      })(),
    );
    endless.pipe(response);
    response.on("close", () => endless.destroy());
  });
  const demo = await withDemo({
    UPSTREAM_BASE_URL: url,
    UPSTREAM_MODEL: "m",
  });
  const response = await demo.post("/v2/chat/completions", ask("Endless?"));
  expect(response.status).toBe(502);
  await expect.poll(() => closed).toBe(true);
  expect(demo.server.inferenceCache.size).toBe(0);
});

test("a redirect is not followed: prompts go to the server that was configured", async () => {
  let asked = 0;
  const other = await serve((_request, response) => {
    asked++;
    response.end("{}");
  });
  const url = await serve((request, response) => {
    request.resume();
    response.writeHead(307, { location: `${other}/chat/completions` }).end();
  });
  const demo = await withDemo({
    UPSTREAM_BASE_URL: url,
    UPSTREAM_MODEL: "m",
  });
  expect((await demo.post("/v2/chat/completions", ask("Where to?"))).status).toBe(502);
  expect(asked).toBe(0);
});

test("calls that fill every connection make the next one wait and then say so, and do not make the service ill", async () => {
  const demo = await withDemo({ HTTP_MAX_CONNS_PER_HOST: "1", HTTP_TIMEOUT_SECONDS: "1" });
  await demo.embedded.model?.process.setFault({ kind: "hang", count: 1 });
  const hung = demo.post("/v2/chat/completions", ask("Hang"));
  await expect.poll(() => demo.server.httpPool.getStats().in_flight).toBe(1);
  const queued = demo.post("/v1/chat/completions", ask("Wait for a connection"));
  await demo.server.checkHealth();
  expect(demo.server.state).toBe("ready");
  expect((await hung).status).toBe(408);
  // It got the connection when the first one gave up (in time or not), or ran out of time in the line: all are told apart.
  expect([200, 408, 429]).toContain((await queued).status);
});

test("OpenAI's dialect passes on what the client said and nothing else to a server that is not ours", async () => {
  const bodies: Record<string, unknown>[] = [];
  const url = await serve((request, response) => {
    if (request.method === "GET") {
      response.end("{}");
      return;
    }
    void json(request).then((body) => {
      bodies.push(body as Record<string, unknown>);
      response.setHeader("content-type", "text/event-stream");
      response.end(stream(said, stopped, "[DONE]"));
    });
  });
  const demo = await withDemo({
    UPSTREAM_BASE_URL: url,
    UPSTREAM_MODEL: "gpt-x",
  });
  const messages = [{ role: "user", content: "hi" }];
  await demo.post("/v1/chat/completions", { model: "general", messages, max_completion_tokens: 7, user: "u" });
  await demo.post("/v2/chat/completions", { model: "general", messages });
  const always = { model: "gpt-x", messages, stream: true, stream_options: { include_usage: true } };
  expect(bodies).toEqual([
    { ...always, max_completion_tokens: 7 },
    { ...always, max_tokens: 512, temperature: 0.7, top_p: 0.9 },
  ]);
});

test("another upstream gets the gateway's key and model, never the client's credential", async () => {
  const seen: IncomingMessage[] = [];
  const bodies: Record<string, unknown>[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    seen.push(request);
    if (request.url === "/v1/models") {
      response.end('{"data":[{"id":"llama3"}]}');
      return;
    }
    const body = (await json(request)) as Record<string, unknown>;
    bodies.push(body);
    if (body["model"] === "missing") {
      response.writeHead(404).end('{"error":{"message":"no such model"}}');
      return;
    }
    const chunk = (delta: object, finish: string | null) =>
      `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason: finish }] })}\r\n\r\n`;
    const call = { index: 0, id: "c1", type: "function", function: { name: "f", arguments: '{"a"' } };
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(`: keepalive\r\n\r\n${chunk({ role: "assistant", tool_calls: [call] }, null)}`);
    response.write(chunk({ tool_calls: [{ index: 0, function: { arguments: ":1}" } }] }, null));
    response.end(`${chunk({}, "tool_calls")}data: [DONE]\r\n\r\n`);
  };
  const upstream = createServer((request, response) => void answer(request, response));
  await once(upstream.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => void upstream.close());
  const demo = await withDemo({
    UPSTREAM_BASE_URL: `http://127.0.0.1:${(upstream.address() as AddressInfo).port}/v1/`,
    UPSTREAM_API_KEY: "sk-gateway",
    UPSTREAM_MODEL: "0x5678-SQLAgent=missing,general=llama3",
    API_KEY: "sk-client",
  });
  const body = ask("Use a tool", { model: "0x5678-SQLAgent", tools: [{ type: "function", function: { name: "f" } }] });
  const response = await demo.post("/v2/chat/completions", body, {
    authorization: "Bearer sk-client",
    cookie: "session=1",
  });
  expect(await response.json()).toMatchObject({
    model: "0x5678-SQLAgent",
    choices: [
      {
        finish_reason: "tool_calls",
        message: { tool_calls: [{ id: "c1", function: { name: "f", arguments: '{"a":1}' } }] },
      },
    ],
    metadata: { backend_type: "openai-compatible", fallback_used: true },
  });
  expect(bodies.map(({ model }) => model)).toEqual(["missing", "llama3"]);
  expect(new Set(seen.map(({ headers }) => headers.authorization))).toEqual(new Set(["Bearer sk-gateway"]));
  expect(JSON.stringify(seen.map(({ rawHeaders }) => rawHeaders))).not.toMatch(/sk-client|session=1/);
});
