import { once } from "node:events";
import { Hono } from "hono";
import type { InferenceHandler } from "@vg/pooled-server";
import { expect, test } from "vitest";
import { ask, gateway } from "../support/inference.ts";
import { listen } from "../support/server.ts";
import { POST, wire } from "../support/wire.ts";

const PATH = "/v1/chat/completions";
const never = (): Promise<never> => new Promise(() => undefined);
const TOO_LARGE = `${POST("Transfer-Encoding: chunked", PATH)}7d0\r\n${"x".repeat(2_000)}\r\n0\r\n\r\n`;

test.each([
  ["hangs", never],
  [
    "heeds its signal",
    ({ signal }: { signal: AbortSignal }) => once(signal, "abort").then(() => Promise.reject(signal.reason)),
  ],
])("a client whose time is up while the call %s gets 504, not the log's 499", async (_name, forward) => {
  const { post, logs } = await gateway(forward as () => Promise<never>, { config: { requestTimeoutMs: 30 } });
  for (const stream of [false, true]) {
    const response = await post(ask({ stream }));
    expect(response.status).toBe(504);
    expect(await response.json()).toMatchObject({ error: { code: "timeout", type: "api_error" } });
  }
  await expect.poll(() => logs.filter({ message: "http_request", status_code: 504 })).toHaveLength(2);
});

test("a client that sends too much in chunks gets 413, and one that sends too slowly 408", async () => {
  const { url, server } = await gateway(never, {
    config: { maxBodyBytes: 1_000, bodyGraceMs: 40, minBodyBytesPerSecond: 500 },
  });
  const big = await wire(url);
  big.send(TOO_LARGE);
  expect(await big.closed).toMatch(/^HTTP\/1\.1 413 [^]*"code":"payload_too_large"/);
  const slow = await wire(url);
  slow.send(`${POST("Content-Length: 100", PATH)}{`);
  expect(await slow.closed).toMatch(/^HTTP\/1\.1 408 [^]*"code":"timeout"/);
  expect(server.inference.getStats().upstream_calls).toBe(0);
});

test("the same holds for fetch", async () => {
  const app = new Hono();
  const { server, url } = await listen(app, {
    requestTimeoutMs: 50,
    inferenceCacheMode: "always",
    maxBodyBytes: 1_000,
  });
  const chat: InferenceHandler = server.inference.completions(never);
  app.post(PATH, (c) => chat.fetch(c.req.raw));
  const late = await fetch(url + PATH, { method: "POST", body: JSON.stringify(ask()) });
  expect([late.status, await late.json()]).toMatchObject([504, { error: { code: "timeout" } }]);
  const big = await wire(url);
  big.send(TOO_LARGE);
  expect(await big.closed).toMatch(/^HTTP\/1\.1 413 /);
});

test("a handler that begins when its client has left in the middle of the body comes to an end", async () => {
  const ended: unknown[] = [];
  const { server, url } = await listen(async (request, response) => {
    request.resume();
    await new Promise((resolve) => request.on("error", () => undefined).on("close", resolve));
    await chat(request, response);
    ended.push("ended");
  });
  const chat: InferenceHandler = server.inference.completions(never);
  const client = await wire(url);
  client.send(`${POST("Content-Length: 100", PATH)}{`);
  await expect.poll(() => server.getAdmissionStats().in_flight).toBe(1);
  client.socket.destroy();
  await expect.poll(() => ended).toEqual(["ended"]);
});
