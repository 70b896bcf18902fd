/**
 * Half a minute of clients that ask, leave and read slowly, in front of a model server that answers, refuses, breaks off and
 * hangs: nobody ever gets a stranger's answer or half of one as a whole, every request is counted once, and nothing is left.
 */
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, request, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { createPooledServer, type InferenceHandler } from "@vg/pooled-server";

const RUN_MS = 30_000;
const CLIENTS = 150;
const PROMPTS = 40;
const TENANTS = 3;

const pick = <T>(...of: T[]): T => of[Math.floor(Math.random() * of.length)] as T;
const below = (n: number): number => Math.floor(Math.random() * n);
const frame = (value: object): string => `data: ${JSON.stringify(value)}\n\n`;
const delta = (content: string, finish: string | null = null): object => ({
  object: "chat.completion.chunk",
  choices: [{ index: 0, delta: { content }, finish_reason: finish }],
});
const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 };

/** Says who asked and what, in one of the ways in which a model server may, well or badly. */
async function answer(said: string, response: ServerResponse): Promise<void> {
  const way = Math.random();
  await delay(below(20));
  if (way < 0.05) return void response.writeHead(pick(400, 429, 500, 503)).end("{}");
  if (way < 0.08) return void response.destroy();
  if (way < 0.1) return void response.writeHead(200, { "content-type": "text/html" }).end("<html>");
  if (way < 0.4) {
    const choices = [{ index: 0, message: { role: "assistant", content: said }, finish_reason: "stop" }];
    response.writeHead(200, { "content-type": "application/json" });
    return void response.end(JSON.stringify({ object: "chat.completion", choices, usage }));
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const letter of said) {
    response.write(frame(delta(letter)));
    if (Math.random() < 0.3) await delay(below(5));
    if (Math.random() < 0.004) return void response.destroy();
    if (Math.random() < 0.002) return void response.end(frame({ error: { message: "overheated" } }));
    if (Math.random() < 0.002) return void response.end("data: {broken\n\n");
  }
  response.end(`${frame(delta("", "stop"))}${frame({ choices: [], usage })}data: [DONE]\n\n`);
}

const model = createServer((incoming, response) => {
  response.on("error", () => undefined);
  void (async () => {
    let text = "";
    for await (const part of incoming as AsyncIterable<Buffer>) text += String(part);
    const { prompt } = JSON.parse(text) as { prompt: string };
    await answer(`${String(incoming.headers["x-tenant"])}/${prompt}`, response);
  })().catch(() => response.destroy());
});
await once(model.listen(0, "127.0.0.1"), "listening");
const modelUrl = `http://127.0.0.1:${(model.address() as AddressInfo).port}/`;

const handlers: InferenceHandler[] = [];
const server = await createPooledServer((incoming, response) => handlers[0]?.(incoming, response), {
  logLevel: "silent",
  rateLimitPerSecond: 0,
  inferenceCacheMode: "always",
  inferenceCacheTtlMs: 300,
  httpMaxConnsPerHost: 1_000,
});
handlers.push(
  server.inference.completions(({ body, signal, header }) =>
    server.httpPool.do({
      method: "POST",
      url: modelUrl,
      headers: { "x-tenant": header("authorization") ?? "" },
      body: JSON.stringify(body),
      signal,
      stream: true,
      maxRetries: 0,
    }),
  ),
);
const { url } = await server.listen(0);

const seen = { whole: 0, broken: 0, refused: 0, left: 0 };

/** One request of one client; leaves in the middle of every tenth. */
function ask(): Promise<void> {
  const said = `t${below(TENANTS)}/p${below(PROMPTS)}`;
  const [tenant, prompt] = said.split("/") as [string, string];
  const stream = Math.random() < 0.6;
  const leaves = Math.random() < 0.1;
  return new Promise((resolve, reject) => {
    const directive = Math.random() < 0.1 ? pick("no-cache", "no-store", "max-age=0", "no-cache, no-store") : undefined;
    const headers = { authorization: tenant, ...(directive === undefined ? {} : { "cache-control": directive }) };
    const sent = request(`${url}/`, { method: "POST", agent: false, headers });
    let text = "";
    sent.on("response", (response) => {
      response.setEncoding("utf8").on("data", (part: string) => {
        text += part;
        if (Math.random() < 0.01) {
          response.pause();
          setTimeout(() => response.resume(), 10);
        }
      });
      response.on("end", () => {
        try {
          check(said, stream, response.statusCode ?? 0, text);
          resolve();
        } catch (error) {
          reject(error as Error);
        }
      });
    });
    sent.on("error", (error) => (leaves ? undefined : reject(error)));
    sent.on("close", () => {
      if (leaves) seen.left++;
      if (leaves) resolve();
    });
    sent.end(JSON.stringify({ model: "m", prompt, messages: [], stream }));
    if (leaves) setTimeout(() => sent.destroy(), below(30));
  });
}

function check(said: string, stream: boolean, status: number, text: string): void {
  if (status !== 200) {
    seen.refused++;
    assert.ok("error" in (JSON.parse(text) as object), `an error has its form, not ${text}`);
    return;
  }
  if (!stream) {
    seen.whole++;
    const { choices } = JSON.parse(text) as { choices: { message: { content: string } }[] };
    assert.equal(choices[0]?.message.content, said);
    return;
  }
  const events = text.split("\n\n").filter((event) => event !== "");
  const done = events.at(-1) === "data: [DONE]";
  const chunks = events
    .filter((event) => event !== "data: [DONE]")
    .map((event) => JSON.parse(event.slice(6)) as { error?: object; choices?: { delta: { content?: string } }[] });
  const content = chunks.map(({ choices }) => choices?.[0]?.delta.content ?? "").join("");
  assert.equal(
    chunks.some(({ error }) => error !== undefined),
    !done,
    "a stream ends with [DONE] or with an error",
  );
  if (done) seen.whole++;
  else seen.broken++;
  assert.ok(done ? content === said : said.startsWith(content), `${content} is none of ${said}`);
}

const end = performance.now() + RUN_MS;
let asked = 0;
await Promise.all(
  Array.from({ length: CLIENTS }, async () => {
    while (performance.now() < end) {
      asked++;
      await ask();
    }
  }),
);
// What was left is ended within a moment.
for (let i = 0; i < 100 && server.inference.getStats().flights > 0; i++) await delay(20);
const stats = server.inference.getStats();
assert.deepEqual([stats.flights, stats.waiters], [0, 0], "nothing is in flight any more");
const counted = stats.hits + stats.misses + stats.collapsed + stats.bypassed;
assert.ok(counted <= asked && counted >= asked - seen.left, `${asked} requests, ${counted} counted, ${seen.left} left`);
assert.equal(stats.upstream_calls, stats.misses + stats.bypassed + stats.promotions);
assert.ok(seen.whole > 1_000 && seen.broken > 10 && seen.refused > 10 && seen.left > 100, JSON.stringify(seen));
await server.close();
model.closeAllConnections();
model.close();
console.log(`${asked} requests: ${JSON.stringify(seen)}, ${JSON.stringify(stats)}`);
