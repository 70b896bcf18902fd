import { createServer, type AddressInfo } from "node:net";
import { once } from "node:events";
import { expect, test, vi } from "vitest";
import { startUpstream, UpstreamConfigError, UpstreamStartError } from "../../src/upstream/index.ts";
import { chat, type Completion, json, serve } from "./support/client.ts";
import { ManualTiming } from "./support/manual-timing.ts";

test("close lets running requests finish, turns out those that wait, and takes no more", async () => {
  const timing = new ManualTiming();
  const server = await serve({ timing, slots: 1, decodeMsPerToken: 10 });
  const running = chat(server, { max_tokens: 1 });
  await vi.waitFor(() => expect(timing.sleeping).toBe(1), { interval: 1 });
  const waiting = chat(server);
  await vi.waitFor(() => expect(server.stats().queued).toBe(1), { interval: 1 });

  const closed = server.close();
  const refused = await waiting;
  expect(refused.status).toBe(503);
  expect(await json(refused)).toMatchObject({ error: { code: "shutting_down" } });
  await expect(chat(server)).rejects.toThrow();
  timing.advance(10);
  expect((await json<Completion>(await running)).choices[0]?.finish_reason).toBe("length");
  expect(await closed).toEqual({ killed: 0 });
});

test("close breaks off what still runs at its deadline and says how much that was", async () => {
  const timing = new ManualTiming();
  const server = await serve({ timing });
  server.setFault({ kind: "hang" });
  const hung = Promise.allSettled([chat(server), chat(server)]);
  await vi.waitFor(() => expect(server.stats().in_use).toBe(2), { interval: 1 });
  const closed = server.close({ deadlineMs: 300 });
  timing.advance(300);
  expect((await hung).map(({ status }) => status)).toEqual(["rejected", "rejected"]);
  expect(await closed).toEqual({ killed: 2 });
  expect(server.stats()).toMatchObject({ in_use: 0, active_requests: 0, cancelled_count: 2 });
});

test("close is idempotent, and an idle kept-alive connection does not hold it up", async () => {
  const server = await serve();
  await (await chat(server)).text();
  const first = server.close();
  expect(server.close()).toBe(first);
  await first;
  await server[Symbol.asyncDispose]();
  expect(server.baseUrl).toBe(`http://127.0.0.1:${server.port}/v1`);
});

test("healthz says how busy it is", async () => {
  const server = await serve();
  const response = await fetch(`http://127.0.0.1:${server.port}/healthz`);
  expect(await response.json()).toEqual({ status: "ok", model: "vg-demo-ngram", in_use: 0, queued: 0 });
});

test("the statistics are a frozen snapshot", async () => {
  const server = await serve();
  const before = server.stats();
  expect(Object.isFrozen(before)).toBe(true);
  await (await chat(server)).text();
  expect(before.request_count).toBe(0);
  expect(server.stats().request_count).toBe(1);
});

test("a port that is taken is refused with its number", async () => {
  const holder = createServer().listen(0, "127.0.0.1");
  await once(holder, "listening");
  const { port } = holder.address() as AddressInfo;
  const failure = await startUpstream({ port }).catch((error: unknown) => error);
  holder.close();
  expect(failure).toBeInstanceOf(UpstreamStartError);
  expect((failure as Error).message).toContain(String(port));
  expect((failure as Error).cause).toMatchObject({ code: "EADDRINUSE" });
});

test.each([
  [{ port: 70_000 }, "port must be a whole number from 0 to 65535, got 70000"],
  [{ slots: 0 }, "slots must be"],
  [{ slots: 1.5 }, "slots must be"],
  [{ queue: -1 }, "queue must be"],
  [{ prefillMsPerToken: -1 }, "prefillMsPerToken must be"],
  [{ decodeMsPerToken: Number.NaN }, "decodeMsPerToken must be"],
  [{ decodeMsPerToken: "4" }, "decodeMsPerToken must be"],
  [{ documents: "text" }, "documents must be an array"],
  [{ models: [""] }, "models must not hold an empty id"],
  [{ apiKey: "" }, "apiKey must be"],
  [{ host: "0.0.0.0" }, 'unknown option "host"'],
])("a bad option is refused: %o", async (options, message) => {
  const start = startUpstream(options as object);
  await expect(start).rejects.toThrow(UpstreamConfigError);
  await expect(start).rejects.toThrow(message);
});
