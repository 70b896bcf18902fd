import { Hono } from "hono";
import express from "express";
import { fastify } from "fastify";
import { createPooledServer, type BaseServer, type InferenceHandler } from "@vg/pooled-server";
import { captureLogs } from "@vg/logging/testing";
import { expect, onTestFinished, test } from "vitest";
import { ask, chunk, eventsOf, handStream, postRaw, stream, words } from "../support/inference.ts";

const PATH = "/v1/chat/completions";

/** The endpoint as each framework mounts it. */
const frameworks: [string, (handler: () => InferenceHandler) => BaseServer | Promise<BaseServer>][] = [
  ["node:http", (handler) => (request, response) => handler()(request, response)],
  [
    "Express 5",
    (handler) =>
      express()
        .use(express.json())
        .post(PATH, (request, response) => handler()(request, response)),
  ],
  [
    "Express 5 without a parser",
    (handler) => express().post(PATH, (request, response) => handler()(request, response)),
  ],
  [
    "Fastify 5",
    async (handler) => {
      const app = fastify();
      app.post(PATH, (request, reply) => {
        reply.hijack();
        return handler()(request.raw, reply.raw, request.body);
      });
      await app.ready();
      return app as BaseServer;
    },
  ],
  ["Hono", (handler) => new Hono().post(PATH, (context) => handler().fetch(context.req.raw))],
];

test.each(frameworks)("in %s: miss, hit, stream, error, and a client that leaves", async (_name, mount) => {
  const upstream = handStream();
  const signals: AbortSignal[] = [];
  let handler: InferenceHandler | undefined;
  const logs = captureLogs();
  const base = await mount(() => handler as InferenceHandler);
  const server = await createPooledServer(base, {
    logger: logs.logger,
    rateLimitPerSecond: 0,
    shutdownTimeoutMs: 2_000,
  });
  onTestFinished(async () => void (await server.close()));
  handler = server.inference.completions(({ body, signal }) => {
    signals.push(signal);
    if (body["seed"] === 404) throw Object.assign(new Error("no such model"), { status: 404 });
    return body["seed"] === 1 ? upstream.chunks : stream(words("in a framework"));
  });
  const { url } = await server.listen(0);
  const post = (body: unknown): Promise<Response> =>
    fetch(`${url}${PATH}`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify(body),
    });

  const miss = await post(ask({ temperature: 0 }));
  expect([miss.status, miss.headers.get("cache-status")]).toEqual([200, "vg; fwd=uri-miss; stored"]);
  expect(await miss.json()).toMatchObject({ choices: [{ message: { content: "in a framework" } }] });
  const hit = await post(ask({ temperature: 0, stream: true }));
  expect([hit.headers.get("content-type"), hit.headers.get("x-vg-cache")]).toEqual([
    "text/event-stream; charset=utf-8",
    "hit",
  ]);
  expect(hit.headers.get("x-request-id")).toMatch(/^[\w-]+$/);
  expect(eventsOf(await hit.text()).at(-1)).toBe("[DONE]");
  const refused = await post(ask({ seed: 404 }));
  expect([refused.status, await refused.json()]).toMatchObject([404, { error: { message: "no such model" } }]);

  let got = "";
  const leaves = postRaw(url, ask({ seed: 1, stream: true }), (text) => (got += text));
  upstream.push(chunk({ content: "half" }));
  await expect.poll(() => got).toContain("half");
  leaves.leave();
  await expect.poll(() => signals.at(-1)?.aborted).toBe(true);
  await expect.poll(() => logs.find({ message: "http_request", status_code: 499 })).toBeDefined();
  expect(server.inference.getStats()).toMatchObject({ flights: 0, waiters: 0, hits: 1, upstream_aborts: 1 });
});
