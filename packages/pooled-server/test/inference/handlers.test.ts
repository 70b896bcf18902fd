import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createPooledServer, type InferenceHandler, type JsonObject, type PooledServer } from "@vg/pooled-server";
import { expect, onTestFinished, test } from "vitest";
import { ask, chunk, eventsOf, gateway, handStream, stream, words } from "../support/inference.ts";

/** A handler without a server around it, as a framework would mount it. */
async function handlerOf(
  forward: Parameters<PooledServer["inference"]["completions"]>[0],
  options: Parameters<PooledServer["inference"]["completions"]>[1] = {},
): Promise<{ handler: InferenceHandler; server: PooledServer }> {
  const server = await createPooledServer((_request, response) => response.end(), {
    logLevel: "silent",
    inferenceCacheMode: "always",
  });
  onTestFinished(async () => void (await server.close()));
  return { handler: server.inference.completions(forward, options), server };
}

async function serve(listener: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer(listener);
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const post = (url: string, body: unknown): Promise<Response> =>
  fetch(url, { method: "POST", body: JSON.stringify(body) });

test.each([
  ["", "has no body"],
  ['{"model": ', "not valid JSON"],
  ["[]", "must be a JSON object"],
  ["null", "must be a JSON object"],
  [`{"x":${"[".repeat(5_000)}${"]".repeat(5_000)}}`, "nested deeper than 64 levels"],
])("the body %.20j is refused in OpenAI's form", async (body, reason) => {
  const { post: send } = await gateway(() => stream(words("x")));
  const response = await send(body);
  expect(response.status).toBe(400);
  const { error } = (await response.json()) as { error: { message: string } };
  expect(error).toMatchObject({ type: "invalid_request_error", code: "invalid_request", param: null });
  expect(error.message).toContain(reason);
});

test("bytes that are not UTF-8, too many of them, and another method are refused", async () => {
  const { url } = await gateway(() => stream(words("x")), { options: { maxBodyBytes: 1_000 } });
  const garbage = await fetch(url, { method: "POST", body: new Uint8Array([0x7b, 0xff, 0x7d]) });
  expect([garbage.status, await garbage.text()]).toMatchObject([400, expect.stringContaining("UTF-8")]);
  const big = JSON.stringify(ask({ x: "x".repeat(1_000) }));
  expect((await fetch(url, { method: "POST", body: big })).status).toBe(413);
  const chunked = await fetch(url, { method: "POST", body: new Blob([big]).stream(), duplex: "half" } as RequestInit);
  expect(await chunked.json()).toMatchObject({ error: { code: "payload_too_large", type: "invalid_request_error" } });
  const get = await fetch(url);
  expect([get.status, get.headers.get("allow")]).toEqual([405, "POST"]);
});

test("what express.json() has parsed is taken, and its next function is no body", async () => {
  const { handler } = await handlerOf(({ body }) => stream(words(`model ${String(body["model"])}`)));
  const url = await serve((request, response) => {
    Object.assign(request, { body: ask({ model: "parsed" }), originalUrl: "/api/v1/chat/completions" });
    void (handler as (...all: unknown[]) => unknown)(request, response, () => undefined);
  });
  expect(await (await post(url, {})).text()).toContain("model parsed");
});

test("what Fastify has parsed is given in third place, and the handler is on its own with node's request and response", async () => {
  const { handler } = await handlerOf(({ body }) => stream(words(`model ${String(body["model"])}`)));
  const url = await serve((request, response) => {
    request.resume();
    request.on("end", () => void handler(request, response, ask({ model: "hijacked" })));
  });
  expect(await (await post(url, {})).text()).toContain("model hijacked");
});

test("without a pooled server around it, a client that leaves aborts its call, too", async () => {
  const upstream = handStream();
  const signals: AbortSignal[] = [];
  const { handler, server } = await handlerOf(({ signal }) => {
    signals.push(signal);
    return upstream.chunks;
  });
  const url = await serve((request, response) => void handler(request, response));
  const sent = httpRequest(url, { method: "POST", agent: false }).on("error", () => undefined);
  sent.end(JSON.stringify(ask()));
  await expect.poll(() => signals.length).toBe(1);
  sent.destroy();
  await expect.poll(() => signals[0]?.aborted).toBe(true);
  expect(server.inference.getStats().flights).toBe(0);
});

test("fetch gets the same answers: documents, streams, errors, the cache's headers", async () => {
  const { handler } = await handlerOf(() => stream(words("by fetch")));
  const send = (body: unknown, headers: Record<string, string> = {}) =>
    handler.fetch(
      new Request("http://a/v1/chat/completions?x=1", { method: "POST", body: JSON.stringify(body), headers }),
    );
  const streamed = await send(ask({ stream: true }));
  expect(streamed.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
  const events = eventsOf(await streamed.text());
  expect([events.length, events.at(-1)]).toEqual([5, "[DONE]"]);
  const whole = await send(ask());
  expect(whole.headers.get("cache-status")).toMatch(/^vg; hit/);
  expect(await whole.json()).toMatchObject({ choices: [{ message: { content: "by fetch" } }] });
  expect((await send(ask(), { authorization: "Bearer b" })).headers.get("x-vg-cache")).toBe("miss");
  const bad = await send([]);
  expect([bad.status, await bad.json()]).toMatchObject([400, { error: { type: "invalid_request_error" } }]);
});

test("a fetch client that cancels its stream, or aborts its request, aborts its call", async () => {
  const upstream = handStream();
  const signals: AbortSignal[] = [];
  const { handler } = await handlerOf(({ signal }) => {
    signals.push(signal);
    return signals.length === 1 ? upstream.chunks : new Promise(() => undefined);
  });
  const init = { method: "POST", body: JSON.stringify(ask({ stream: true })) };
  const answer = handler.fetch(new Request("http://a/", init));
  upstream.push(chunk({ content: "a" }));
  const reader = (await answer).body?.getReader();
  await reader?.read();
  await reader?.cancel();
  expect(signals[0]?.aborted).toBe(true);
  const abort = new AbortController();
  const other = handler.fetch(new Request("http://a/", { ...init, signal: abort.signal }));
  await expect.poll(() => signals.length).toBe(2);
  abort.abort();
  expect((await other).status).toBe(499);
  expect(signals[1]?.aborted).toBe(true);
});

test("a route, a tenant, headers and a model that the service names itself are in the key and in the call", async () => {
  const models: unknown[] = [];
  const headers: unknown[] = [];
  const { post: send } = await gateway(
    ({ body, header }) => {
      models.push(body["model"]);
      headers.push(header("x-beta"));
      return stream(words("x"));
    },
    {
      options: {
        route: "/chat",
        tenantOf: (request) => (request as IncomingMessage).headers["x-team"] as string | undefined,
        resolveModel: ({ model }) => (model === "auto" ? "big" : String(model)),
        vary: ["x-beta"],
      },
    },
  );
  const cache = async (body: object, more: Record<string, string> = {}, path = "/v1/chat/completions") =>
    (await send(body, more, path)).headers.get("x-vg-cache");
  expect(await cache(ask({ model: "auto" }))).toBe("miss");
  expect(await cache(ask({ model: "big" }), { authorization: "Bearer x" }, "/v2/chat/completions")).toBe("hit");
  expect(await cache(ask({ model: "big" }), { "x-team": "a" })).toBe("miss");
  expect(await cache(ask({ model: "big" }), { "x-beta": "1" })).toBe("miss");
  expect(models).toEqual(["big", "big", "big"]);
  expect(headers).toEqual([undefined, undefined, "1"]);
});

test("two endpoints of one server do not share answers", async () => {
  const { post: send } = await gateway(() => stream(words("x")));
  const cache = async (path: string) => (await send(ask(), {}, path)).headers.get("x-vg-cache");
  expect(await cache("/v1/chat/completions")).toBe("miss");
  expect(await cache("/v1/completions")).toBe("miss");
  expect(await cache("/v1/chat/completions?api-version=2")).toBe("miss");
  expect(await cache("/v1/chat/completions")).toBe("hit");
});

test("the call carries the request's trace", async () => {
  const seen: unknown[] = [];
  const { post: send } = await gateway(({ traceparent }) => {
    seen.push(traceparent);
    return stream(words("x"));
  });
  await send(ask(), { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" });
  expect(seen).toEqual([expect.stringMatching(/^00-4bf92f3577b34da6a3ce929d0e0e4736-[0-9a-f]{16}-01$/)]);
});

test.each([
  [{ vary: ["X-Upper"] }, /vary must be an array of header names in lower case/],
  [{ maxBodyBytes: 0 }, /maxBodyBytes/],
  [{ rout: "/a" }, /Did you mean route\?/],
])("%j is refused when the handler is made", async (options, message) => {
  await expect(handlerOf(() => ({}), options as never)).rejects.toThrow(message);
});

test("what the inferences come to is in the metrics", async () => {
  const { post: send, url } = await gateway(() => stream(words("x")));
  await send(ask());
  await send(ask());
  const metrics = await (await fetch(`${url}/metrics`)).text();
  for (const line of [
    'vg_inference_requests_total{result="hit"} 1',
    'vg_inference_requests_total{result="miss"} 1',
    'vg_inference_not_stored_total{reason="failed"} 0',
    "vg_inference_stored_total 1",
    "vg_inference_flights 0",
    'vg_cache_saved_tokens_total{gen_ai_token_type="input"} 3',
    'vg_cache_saved_tokens_total{gen_ai_token_type="output"} 2',
  ]) {
    expect(metrics).toContain(line);
  }
});

test.each([
  ["host", "other.example.com"],
  ["x-forwarded-host", "other.example.com"],
  ["x-tenant-id", "other"],
  ["cf-access-authenticated-user-email", "other@example.com"],
])("a service that knows its tenants by %s gives none of them another's answer", async (name, value) => {
  let calls = 0;
  const { url } = await gateway(() => stream(words(`answer ${++calls}`)));
  const body = JSON.stringify(ask());
  const send = (headers: Record<string, string>): Promise<string> =>
    new Promise((resolve, reject) => {
      const request = httpRequest(url, { method: "POST", headers }, (response) => {
        response.resume().on("end", () => resolve(String(response.headers["x-vg-cache"])));
      });
      request.on("error", reject).end(body);
    });
  expect(await send({})).toBe("miss");
  expect(await send({ [name]: value })).toBe("miss");
  expect(await send({ [name]: value })).toBe("hit");
  expect(await send({})).toBe("hit");
});

test.each([
  [{ tenantOf: () => Promise.resolve("a") }, /tenantOf must return a string, got an object/],
  [{ tenantOf: () => 7 }, /tenantOf must return a string, got 7/],
  [{ resolveModel: () => Promise.resolve("m") }, /resolveModel must return a string, got an object/],
])(
  "a function that gives no text for the key (%o) fails its requests: nobody shares what should be apart",
  async (options, why) => {
    let calls = 0;
    const { post: send, logs } = await gateway(() => stream(words(`answer ${++calls}`)), { options: options as never });
    expect((await send(ask())).status).toBe(500);
    expect(calls).toBe(0);
    expect(JSON.stringify(logs.find({ level: "error" }))).toMatch(why);
  },
);

test("a resolveModel that changes the body changes it for its own request alone", async () => {
  const bodies: JsonObject[] = [];
  const resolveModel = (body: JsonObject): string => {
    (body["messages"] as unknown[]).push({ role: "system", content: "more" });
    return "resolved";
  };
  const { post: send } = await gateway(
    ({ body }) => {
      bodies.push(body);
      return stream(words("x"));
    },
    { options: { resolveModel } },
  );
  for (let i = 0; i < 4; i++) await (await send(ask({ cache: { "no-cache": true } }))).text();
  expect(bodies.map(({ messages }) => (messages as unknown[]).length)).toEqual([2, 2, 2, 2]);
});

test("every answer says how long its head took, as OpenAI's servers do", async () => {
  const { handler } = await handlerOf(({ body }) => {
    if (body["seed"] === 500) throw new Error("failed");
    return stream(words("said"));
  });
  const url = await serve((request, response) => void handler(request, response));
  for (const body of [ask(), ask(), ask({ stream: true }), ask({ seed: 500 }), []]) {
    const { headers } = await post(url, body);
    expect(headers.get("openai-processing-ms")).toMatch(/^\d+$/);
  }
});
