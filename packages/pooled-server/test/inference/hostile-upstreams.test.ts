import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { Readable } from "node:stream";
import type { JsonObject } from "@vg/pooled-server";
import { expect, onTestFinished, test } from "vitest";
import { ask, chunk, eventsOf, gateway, usageChunk, words, type TestGateway } from "../support/inference.ts";

/** A model server of the test's own. */
async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  const server = createServer((request, response) => {
    request.resume();
    answer(request, response);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1/chat/completions`;
}

const sse = (...events: unknown[]): string =>
  events.map((event) => `data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`).join("");
const said = chunk({ content: "hi" });
const stopped = chunk({}, "stop");

/** A gateway in front of a server that answers so. */
async function inFrontOf(
  answer: (response: ServerResponse) => void,
  options?: Parameters<typeof gateway>[1],
): Promise<TestGateway> {
  const url = await serve((_request, response) => answer(response));
  return await gateway(
    ({ body, signal }) => fetch(url, { method: "POST", body: JSON.stringify(body), signal }),
    options,
  );
}

const eventStream = (body: string) => (response: ServerResponse) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.end(body);
};

test.each<[string, (response: ServerResponse) => void, RegExp]>([
  ["ends without [DONE]", eventStream(sse(said, stopped)), /\[DONE\] is missing/],
  ["ends within an event", eventStream(`${sse(said)}data: {"choi`), /\[DONE\] is missing/],
  ["sends an event that is not JSON", eventStream(sse(said, "{broken", "[DONE]")), /not JSON/],
  ["sends an event that is no object", eventStream(sse(said, "7", "[DONE]")), /no JSON object/],
  ["sends an error as a chunk", eventStream(sse(said, { error: { message: "overheated" } })), /^overheated$/],
  ["sends an error event", eventStream(`${sse(said)}event: error\ndata: {"message":"too hot"}\n\n`), /^too hot$/],
  [
    "cuts the connection",
    (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(sse(said), () => response.destroy());
    },
    /connection broke/,
  ],
  [
    "sends bytes that are not UTF-8",
    (response) => {
      response.writeHead(200, { "content-type": "text/event-stream" });
      response.write(sse(said));
      // What came in the same bytes as garbage is garbage, too.
      setTimeout(() => response.end(Buffer.from([0xff, 0xfe, 0x0a])), 20);
    },
    /not UTF-8/,
  ],
])(
  "an upstream that %s breaks every waiter's answer in the same way, and nothing is stored",
  async (_name, answer, words_) => {
    const { post, server, logs } = await inFrontOf(answer);
    const [stream, again, whole] = await Promise.all([
      post(ask({ stream: true })),
      post(ask({ stream: true })),
      post(ask()),
    ]);
    const events = eventsOf(await stream.text());
    expect(stream.status).toBe(200);
    expect(JSON.parse(events[0] as string)).toEqual(said);
    expect((JSON.parse(events.at(-1) as string) as { error: { message: string } }).error.message).toMatch(words_);
    expect(events).not.toContain("[DONE]");
    if (server.inference.getStats().upstream_calls === 1) expect(eventsOf(await again.text())).toEqual(events);
    else await again.text();
    expect(whole.status).toBe(502);
    expect(await whole.json()).toMatchObject({ error: { type: "api_error", code: "upstream_error", param: null } });
    expect(server.inferenceCache.size).toBe(0);
    expect(server.inference.getStats()).toMatchObject({ stored: 0, flights: 0, waiters: 0 });
    // On the wire a stream was a 200; log and metrics say how it ended.
    await expect.poll(() => logs.find({ message: "http_request", status_code: 502 })).toBeDefined();
    expect(logs.find({ message: "The inference failed" })).toBeDefined();
  },
);

test.each<[string, (response: ServerResponse) => void, number, object]>([
  [
    "refuses in OpenAI's form",
    (response) => {
      response.writeHead(429, { "content-type": "application/json", "retry-after": "7" });
      response.end(
        '{"error":{"message":"slow down","type":"requests","code":"rate_limit_exceeded","param":null,"x":1}}',
      );
    },
    429,
    { error: { message: "slow down", type: "requests", code: "rate_limit_exceeded", param: null, x: 1 } },
  ],
  [
    "fails with a page",
    (response) => void response.writeHead(503, { "content-type": "text/html" }).end("<html>nginx 1.2.3</html>"),
    503,
    { error: { message: "The upstream failed with status 503.", type: "api_error", code: "upstream_error" } },
  ],
  [
    "redirects",
    (response) => void response.writeHead(304).end(),
    502,
    { error: { message: "The upstream failed with status 304." } },
  ],
  [
    "answers with a page",
    (response) => void response.writeHead(200, { "content-type": "text/html" }).end("<html>"),
    502,
    { error: { message: /neither JSON nor an event stream/ } },
  ],
  [
    "answers with half a document",
    (response) => void response.writeHead(200, { "content-type": "application/json" }).end('{"choices":['),
    502,
    { error: { message: "The upstream's answer is not valid JSON." } },
  ],
  [
    "answers with an error as a document",
    (response) =>
      void response.writeHead(200, { "content-type": "application/json" }).end('{"error":{"message":"no","code":17}}'),
    502,
    { error: { message: "no", code: "17" } },
  ],
  ["answers with nothing", eventStream(sse("[DONE]")), 502, { error: { message: "The upstream's answer is empty." } }],
])("an upstream that %s is a status before anything of a stream is sent", async (_name, answer, status, document) => {
  const { post, server } = await inFrontOf(answer);
  for (const stream of [false, true]) {
    const response = await post(ask({ stream }));
    expect(response.status).toBe(status);
    expect(response.headers.get("content-type")).toContain("application/json");
    expect(response.headers.get("cache-status")).toMatch(/^vg; fwd=uri-miss/);
    if (status === 429) expect(response.headers.get("retry-after")).toBe("7");
    const { error } = document as { error: { message: string | RegExp } };
    const got = (await response.json()) as { error: { message: string } };
    expect(got).toMatchObject({ error: { ...error, message: expect.stringMatching(error.message) as string } });
  }
  expect(server.inference.getStats()).toMatchObject({ upstream_calls: 2, upstream_errors: 2, stored: 0 });
});

test("an answer without end is cut at its limit, the call is ended, and nothing of it stays", async () => {
  let closed = 0;
  const url = await serve((_request, response) => {
    response.on("close", () => closed++);
    response.setHeader("content-type", "text/event-stream");
    const endless = Readable.from(
      (function* () {
        for (;;) yield sse(said);
      })(),
    );
    response.on("close", () => endless.destroy());
    endless.pipe(response);
  });
  const { post, server } = await gateway(({ signal }) => fetch(url, { method: "POST", signal }), {
    config: { inference: { maxAnswerBytes: 100_000 } },
  });
  const events = eventsOf(await (await post(ask({ stream: true }))).text());
  expect(JSON.parse(events.at(-1) as string)).toMatchObject({ error: { code: "answer_too_long" } });
  expect((await post(ask())).status).toBe(502);
  await expect.poll(() => closed).toBe(2);
  expect(server.inference.getStats()).toMatchObject({ flights: 0, stored: 0 });
});

test("what comes after [DONE] is not looked at; comments, empty events and null are nothing", async () => {
  const body = `: keepalive\n\n\n\n${sse("null", said)}retry: 10\n\n${sse(stopped, "[DONE]", "garbage")}`;
  const { post } = await inFrontOf(eventStream(body));
  expect(eventsOf(await (await post(ask({ stream: true }))).text())).toEqual([
    JSON.stringify(said),
    JSON.stringify(stopped),
    "[DONE]",
  ]);
});

test("a document for who wants a stream, and a stream for who wants a document", async () => {
  const document = {
    id: "d",
    object: "chat.completion",
    created: 5,
    model: "m",
    choices: [{ index: 0, message: { role: "assistant", content: "whole" }, finish_reason: "stop" }],
    usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
  };
  const spelled = JSON.stringify(document, undefined, 1);
  const { post } = await inFrontOf(
    (response) => void response.writeHead(200, { "content-type": "application/json; charset=utf-8" }).end(spelled),
  );
  const events = eventsOf(await (await post(ask({ stream: true, stream_options: { include_usage: true } }))).text());
  const chunks = events.slice(0, -1).map((event) => JSON.parse(event) as Record<string, never>);
  expect(events.at(-1)).toBe("[DONE]");
  expect(chunks.map(({ object }) => object)).toEqual(Array.from({ length: 3 }, () => "chat.completion.chunk"));
  expect(chunks[0]).toMatchObject({ id: "d", choices: [{ delta: { role: "assistant", content: "whole" } }] });
  expect(chunks[2]).toMatchObject({ choices: [], usage: document.usage });
  // To the letter, as the upstream spelled it.
  expect(await (await post(ask())).text()).toBe(spelled);

  const streaming = await inFrontOf(eventStream(sse(...words("a stream"), "[DONE]")));
  const whole = (await (await streaming.post(ask())).json()) as Record<string, unknown>;
  expect(whole).toMatchObject({
    object: "chat.completion",
    choices: [{ message: { content: "a stream" }, finish_reason: "stop" }],
  });
});

test("an upstream that cannot be reached is a 502 in words, not its address", async () => {
  const { post, logs } = await gateway(() => fetch("http://127.0.0.1:1/v1"));
  const response = await post(ask());
  expect(response.status).toBe(502);
  const { error } = (await response.json()) as { error: { code: string; message: string } };
  expect(error).toMatchObject({ code: "upstream_unreachable" });
  expect(JSON.stringify(error)).not.toContain("127.0.0.1");
  expect(logs.find({ message: "The inference failed" })).toBeDefined();
});

test("an upstream that breaks off what the HTTP pool reads was reached, and is not said to be out of reach", async () => {
  const url = await serve((_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(sse(said), () => response.destroy());
  });
  const { post, server } = await gateway(() => server.httpPool.do({ method: "POST", url, body: "{}", stream: true }));
  const [, last] = eventsOf(await (await post(ask({ stream: true }))).text());
  expect(JSON.parse(last ?? "")).toMatchObject({
    error: { code: "upstream_error", message: "The model server's connection broke before its answer was complete." },
  });
});

test("the HTTP pool's responses and failures are understood, and so are errors that carry a status", async () => {
  const url = await serve((_request, response) => eventStream(sse(...words("pooled"), "[DONE]"))(response));
  let answer: () => unknown = () => undefined;
  const { post, server } = await gateway(() => answer() as never);
  answer = () => server.httpPool.do({ method: "POST", url, body: "{}", stream: true });
  expect((await post(ask({ seed: 1 }))).status).toBe(200);
  const slow = await serve(() => undefined);
  answer = () => server.httpPool.do({ method: "POST", url: slow, body: "{}", timeoutMs: 50 });
  const late = await post(ask({ seed: 2 }));
  expect([late.status, ((await late.json()) as { error: object }).error]).toMatchObject([
    504,
    { code: "upstream_timeout" },
  ]);
  answer = () => Promise.reject(Object.assign(new Error("bad"), { status: 422, error: { message: "no such field" } }));
  const refused = await post(ask({ seed: 3 }));
  expect([refused.status, await refused.json()]).toMatchObject([422, { error: { message: "no such field" } }]);
  answer = () => Promise.reject(new Error("password=hunter2"));
  const broken = await post(ask({ seed: 4 }));
  expect(broken.status).toBe(500);
  expect(await broken.text()).not.toContain("hunter2");
});

test("an event without data keeps a connection open, and is nothing", async () => {
  const { post } = await inFrontOf(eventStream(`data:\n\ndata: \n\n${sse(said, stopped, "[DONE]")}`));
  expect(eventsOf(await (await post(ask({ stream: true }))).text())).toEqual([
    JSON.stringify(said),
    JSON.stringify(stopped),
    "[DONE]",
  ]);
});

test("a document that counts nothing (usage: null) has no chunk without a choice as a stream", async () => {
  const document = { id: "1", choices: [{ index: 0, message: { content: "hi" }, finish_reason: "stop" }], usage: null };
  const { post } = await gateway(() => document);
  for (let i = 0; i < 2; i++) {
    const events = eventsOf(await (await post(ask({ stream: true }))).text()).slice(0, -1);
    expect(events.map((event) => (JSON.parse(event) as { choices: unknown[] }).choices.length)).toEqual([1, 1]);
  }
});

test("a usage that is sent twice is left out of a hit twice, too", async () => {
  const { post } = await inFrontOf(eventStream(sse(said, stopped, usageChunk, usageChunk, "[DONE]")));
  const live = await (await post(ask({ stream: true }))).text();
  const again = await post(ask({ stream: true }));
  expect([again.headers.get("x-vg-cache"), await again.text()]).toEqual(["hit", live]);
});

test("chunk objects that end before each choice asked for has begun are not stored", async () => {
  const { post, server } = await gateway(() => Readable.from([said, stopped]));
  await (await post(ask({ n: 2 }))).text();
  expect(server.inferenceCache.size).toBe(0);
  expect(server.inference.getStats().not_stored.finish_reason).toBe(1);
  await (await post(ask({ n: 1 }))).text();
  expect(server.inferenceCache.size).toBe(1);
});

test("an upstream may say as a date when to come back", async () => {
  const { post } = await inFrontOf((response) => {
    response.writeHead(429, { "retry-after": new Date(Date.now() + 30_000).toUTCString() }).end();
  });
  const response = await post(ask());
  expect(response.status).toBe(429);
  expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(25);
  expect(Number(response.headers.get("retry-after"))).toBeLessThanOrEqual(30);
});

test.each(["data: [DONE]", "data:[DONE]\n", "data: [DONE]\r\n"])(
  "a last event without its empty line (%j) ends a stream all the same",
  async (end) => {
    const { post, server } = await inFrontOf(eventStream(sse(said, stopped) + end));
    expect((await post(ask())).status).toBe(200);
    expect(server.inferenceCache.size).toBe(1);
  },
);

test.each(["data: [DON", ": [DONE]", "data: x\ndata: [DONE]", 'data: {"choices":[]}', "[DONE]"])(
  "another rest of a stream (%j) shows that it was cut",
  async (end) => {
    const { post, server } = await inFrontOf(eventStream(sse(said, stopped) + end));
    expect((await post(ask())).status).toBe(502);
    expect(server.inferenceCache.size).toBe(0);
  },
);

test("chunks that are one object, changed for each, are not taken for so many of the last one", async () => {
  const { post } = await gateway(async function* () {
    const reused = structuredClone(said) as { choices: [{ delta: { content: string }; finish_reason: string | null }] };
    for (const [i, content] of ["a", "b", "c"].entries()) {
      reused.choices[0].delta.content = content;
      reused.choices[0].finish_reason = i === 2 ? "stop" : null;
      yield await Promise.resolve(reused as unknown as JsonObject);
    }
  } as never);
  for (const result of ["miss", "hit"]) {
    const response = await post(ask());
    expect(response.headers.get("x-vg-cache")).toBe(result);
    expect(await response.json()).toMatchObject({ choices: [{ message: { content: "abc" } }] });
  }
});

test("a mark of the byte order in front of a document or a stream is nothing", async () => {
  const document = JSON.stringify({ choices: [{ index: 0, message: { content: "hi" }, finish_reason: "stop" }] });
  for (const [type, body] of [
    ["application/json", document],
    ["text/event-stream", sse(said, stopped, "[DONE]")],
  ] as const) {
    const { post } = await inFrontOf((response) =>
      response.writeHead(200, { "content-type": type }).end(`\ufeff${body}`),
    );
    expect(await (await post(ask())).json()).toMatchObject({ choices: [{ message: { content: "hi" } }] });
  }
});
