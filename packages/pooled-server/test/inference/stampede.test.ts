import { Agent, request } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import type { JsonObject } from "@vg/pooled-server";
import { expect, onTestFinished, test } from "vitest";
import { ask, chunk, eventsOf, gateway, handStream, postRaw, stream, usageChunk, words } from "../support/inference.ts";
import { gate } from "../support/server.ts";

/** One POST on a connection of its own. */
function post(
  url: string,
  body: unknown,
  agent: Agent,
): Promise<{ headers: NodeJS.Dict<string | string[]>; body: Buffer }> {
  return new Promise((resolve, reject) => {
    const sent = request(`${url}/v1/chat/completions`, { method: "POST", agent }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(parts) }));
      response.on("error", reject);
    });
    sent.on("error", reject);
    sent.end(JSON.stringify(body));
  });
}

function connections(): Agent {
  const agent = new Agent({ maxSockets: Infinity });
  onTestFinished(() => agent.destroy());
  return agent;
}

test("1,000 identical prompts at once are one upstream call, and the streams of all are equal byte for byte", async () => {
  const upstream = handStream();
  let calls = 0;
  const { server, url } = await gateway(() => {
    calls++;
    return upstream.chunks;
  });
  const agent = connections();
  // The order of fields is not the question, and nor is a name in metadata.
  const bodies = [ask({ stream: true }), { stream: true, metadata: { a: 1 }, messages: ask()["messages"], model: "m" }];
  const answers = Array.from({ length: 1_000 }, (_, i) => post(url, bodies[i % 2], agent));
  await expect.poll(() => server.inference.getStats().waiters, { timeout: 20_000 }).toBe(1_000);
  for (const piece of words("one answer for everybody, however many they are")) {
    upstream.push(piece);
    await delay(1);
  }
  upstream.end();
  const got = await Promise.all(answers);
  expect(calls).toBe(1);
  expect(new Set(got.map(({ body }) => body.toString("base64"))).size).toBe(1);
  const [first] = got;
  expect(eventsOf(first?.body.toString() ?? "").at(-1)).toBe("[DONE]");
  const shared = got.filter(({ headers }) => headers["cache-status"] === "vg; fwd=uri-miss; collapsed");
  expect(shared).toHaveLength(999);
  expect(server.inference.getStats()).toMatchObject({
    misses: 1,
    collapsed: 999,
    upstream_calls: 1,
    stored: 1,
    flights: 0,
    waiters: 0,
    saved_prompt_tokens: 999 * 3,
    saved_completion_tokens: 999 * 2,
  });
  // What is stored is the same stream, once more.
  const later = await post(url, bodies[0], agent);
  expect(later.body.equals(first?.body ?? Buffer.alloc(0))).toBe(true);
  expect(later.headers["x-vg-cache"]).toBe("hit");
  expect(calls).toBe(1);
});

test("streams and documents share a call; who comes late reads from the start, and who wants the usage gets it", async () => {
  const upstream = handStream();
  const { server, url } = await gateway(() => upstream.chunks);
  const agent = connections();
  const [hello, world, stop] = [chunk({ content: "hello " }), chunk({ content: "world" }), chunk({}, "stop")];
  const early = post(url, ask({ stream: true }), agent);
  await expect.poll(() => server.inference.getStats().waiters).toBe(1);
  upstream.push(hello, world);
  await expect.poll(() => server.inference.getStats().flights).toBe(1);
  const whole = post(url, ask(), agent);
  const counted = post(url, ask({ stream: true, stream_options: { include_usage: true } }), agent);
  await expect.poll(() => server.inference.getStats().waiters).toBe(3);
  upstream.push(stop, usageChunk);
  upstream.end();
  const plain = [hello, world, stop].map((piece) => JSON.stringify(piece));
  expect(eventsOf((await early).body.toString())).toEqual([...plain, "[DONE]"]);
  expect(eventsOf((await counted).body.toString())).toEqual([...plain, JSON.stringify(usageChunk), "[DONE]"]);
  const document = JSON.parse((await whole).body.toString()) as Record<string, unknown>;
  expect(document).toMatchObject({ object: "chat.completion", usage: usageChunk["usage"] });
  expect(document["choices"]).toEqual([
    { index: 0, message: { role: "assistant", content: "hello world" }, finish_reason: "stop" },
  ]);
});

test("tenants never share a call or an answer", async () => {
  let calls = 0;
  const { post: send } = await gateway(() => stream(words(`answer ${++calls}`)));
  const contentFor = async (headers: Record<string, string>): Promise<string> =>
    ((await (await send(ask(), headers)).json()) as { choices: { message: { content: string } }[] }).choices[0]?.message
      .content ?? "";
  const who = [
    {},
    { authorization: "Bearer a" },
    { authorization: "Bearer b" },
    { "x-api-key": "Bearer a" },
    { cookie: "session=1" },
    { cookie: "session=2" },
    { "x-forwarded-user": "ann" },
  ] as Record<string, string>[];
  const first = await Promise.all(who.map(contentFor));
  expect(new Set(first).size).toBe(who.length);
  expect(await Promise.all(who.map(contentFor))).toEqual(first);
  expect(calls).toBe(who.length);
});

test("only so many may wait for one call; the rest are told to come back", async () => {
  const upstream = handStream();
  const { server, post: send } = await gateway(() => upstream.chunks, { config: { inference: { maxWaiters: 2 } } });
  const first = send(ask());
  await expect.poll(() => server.inference.getStats().waiters).toBe(1);
  const second = send(ask());
  await expect.poll(() => server.inference.getStats().waiters).toBe(2);
  const third = await send(ask());
  expect([third.status, third.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await third.json()).toMatchObject({ error: { code: "too_many_waiters", type: "api_error" } });
  upstream.push(...words("done"));
  upstream.end();
  expect([(await first).status, (await second).status]).toEqual([200, 200]);
  expect(server.inference.getStats()).toMatchObject({ crowded: 1, collapsed: 1 });
});

test("options of streams, which upstreams refuse elsewhere, are not sent along with a call that others may share", async () => {
  const bodies: JsonObject[] = [];
  const { post: send } = await gateway(({ body }) => {
    bodies.push(body);
    return stream(words("x"));
  });
  await (await send(ask({ stream_options: { include_usage: true } }))).text();
  await (await send(ask({ stream: true, m: 1, stream_options: { include_obfuscation: false } }))).text();
  expect(bodies.map((body) => body["stream_options"])).toEqual([
    undefined,
    { include_obfuscation: false, include_usage: true },
  ]);
});

test("a call that is refused for what is not in the key is not the answer of those who did not say that", async () => {
  const bodies: JsonObject[] = [];
  const mayAnswer = gate();
  const { post: send, server } = await gateway(async ({ body }) => {
    bodies.push(body);
    await mayAnswer.opened;
    if (body["metadata"] !== undefined) throw Object.assign(new Error("metadata is too large"), { status: 400 });
    return stream(words("x"));
  });
  const refused = send(ask({ metadata: { a: "too large" } }));
  await expect.poll(() => server.inference.getStats().waiters).toBe(1);
  const alike = send(ask({ metadata: { a: "too large" } }));
  const others = [send(ask()), send(ask({ user: "u" }))];
  await expect.poll(() => server.inference.getStats().waiters).toBe(4);
  mayAnswer.open();
  expect([(await refused).status, (await alike).status]).toEqual([400, 400]);
  expect((await Promise.all(others)).map(({ status }) => status)).toEqual([200, 200]);
  expect(bodies).toHaveLength(2);
  // Each is counted once: who asked again, as what it was then.
  expect(server.inference.getStats()).toMatchObject({ misses: 2, collapsed: 2 });
});

test("where another one's call took the place of the leader's, it is that one's words which may have been refused", async () => {
  const bodies: JsonObject[] = [];
  const mayFail = gate();
  const {
    post: send,
    url,
    server,
  } = await gateway(async ({ body }) => {
    bodies.push(body);
    if (bodies.length === 1) {
      await mayFail.opened;
      throw new Error("broken");
    }
    if (body["metadata"] !== undefined) throw Object.assign(new Error("metadata is too large"), { status: 400 });
    return stream(words("x"));
  });
  const waiters = async (count: number): Promise<void> =>
    await expect.poll(() => server.inference.getStats().waiters).toBe(count);
  const leader = postRaw(url, ask());
  await waiters(1);
  const next = send(ask({ metadata: { a: "too large" } }));
  await waiters(2);
  const other = send(ask());
  await waiters(3);
  leader.leave();
  await waiters(2);
  mayFail.open();
  expect([(await next).status, (await other).status]).toEqual([400, 200]);
  expect(bodies.map(({ metadata }) => metadata !== undefined)).toEqual([false, true, false]);
});

test("a prompt that is refused whatever else is said takes two calls, however many ask with words of their own", async () => {
  const mayAnswer = gate();
  const { post: send, server } = await gateway(async () => {
    await mayAnswer.opened;
    throw Object.assign(new Error("no such model"), { status: 404 });
  });
  const all = Array.from({ length: 30 }, (_, i) => send(ask({ user: `user ${i}` })));
  await expect.poll(() => server.inference.getStats().waiters).toBe(30);
  mayAnswer.open();
  expect((await Promise.all(all)).map(({ status }) => status)).toEqual(all.map(() => 404));
  expect(server.inference.getStats().upstream_calls).toBe(2);
});

test("an onOutcome that throws fails its own request, and leaves nothing for others to wait for", async () => {
  const { server } = await gateway(() => stream(words("x")));
  const asked = { body: ask(), route: "/" };
  const thrown = server.inference.complete(asked, () => stream(words("never")), {
    onOutcome: () => {
      throw new Error("onOutcome");
    },
  });
  await expect(thrown).rejects.toThrow("onOutcome");
  expect(server.inference.getStats()).toMatchObject({ flights: 0, upstream_calls: 0 });
  const answer = await server.inference.complete(asked, () => stream(words("x")));
  expect(answer.cache).toBe("miss");
  await answer.document();
});
