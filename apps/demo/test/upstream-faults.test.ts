import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
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
  await demo.embedded.upstream?.setFault({ kind: "status", status: 500 });
  expect(await errorOf()).toEqual([502, "inference_error"]);
  await demo.embedded.upstream?.setFault({ kind: "hang" });
  expect(await errorOf()).toEqual([408, "timeout"]);
  await demo.embedded.upstream?.setFault({ kind: "malformed_sse" });
  expect(await errorOf()).toEqual([502, "inference_error"]);
  await demo.embedded.upstream?.setFault({ kind: "cut_stream" });
  expect(await errorOf()).toEqual([502, "inference_error"]);
  await demo.embedded.upstream?.setFault({ kind: "none" });
  const fine = await demo.post("/v2/chat/completions", body);
  expect([fine.status, fine.headers.get("x-vg-cache")]).toEqual([200, "miss"]);
});

test("a busy model server is asked again, and if it stays busy the client is told when to come back", async () => {
  const demo = await withDemo({ HTTP_TIMEOUT_SECONDS: "3" });
  await demo.embedded.upstream?.setFault({ kind: "status", status: 503, retryAfterSeconds: 0, count: 1 });
  const retried = await demo.post("/v2/chat/completions", ask("Are you busy?", { max_tokens: 5 }));
  expect(retried.status).toBe(200);
  expect(demo.server.httpPool.getStats().retry_count).toBeGreaterThanOrEqual(1);
  await demo.embedded.upstream?.setFault({ kind: "status", status: 429, retryAfterSeconds: 60 });
  const refused = await demo.post("/v2/chat/completions", ask("Still busy?", { max_tokens: 5 }));
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "60"]);
  expect(await refused.json()).toMatchObject({ error: { code: "rate_limit_exceeded", retry_after: 60 } });
});

test("a stream that breaks ends with an error event and without [DONE]", async () => {
  const demo = await withDemo();
  await demo.embedded.upstream?.setFault({ kind: "cut_stream" });
  const response = await demo.post("/v2/chat/completions", ask("Tell me a long story about tables", { stream: true }));
  expect(response.status).toBe(200);
  const events = await readEvents(response);
  expect(JSON.parse(events.at(-1) as string)).toMatchObject({ error: { code: "inference_error" } });
  expect(events).not.toContain("[DONE]");
  expect(demo.server.inferenceCache.size).toBe(0);
});

test("a stream without usage is counted by estimate", async () => {
  const demo = await withDemo();
  await demo.embedded.upstream?.setFault({ kind: "no_usage" });
  const response = await demo.post("/v2/chat/completions", ask("How many tokens?", { max_tokens: 5 }));
  const { usage } = (await response.json()) as { usage: { total_tokens: number } };
  expect(usage.total_tokens).toBeGreaterThan(0);
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
