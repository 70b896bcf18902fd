/** When the event loop was blocked, timers ring before what has arrived meanwhile is seen. */
import { expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";
import { faultServer, rejection, reply } from "./support/fault-server.ts";

const LIMIT_MS = 40;

/** Blocks it for longer than any limit here. */
function block(): void {
  const until = performance.now() + 2 * LIMIT_MS;
  while (performance.now() < until);
}

test("a connection that stands is none that never came, though connectTimeoutMs passed while the event loop was blocked", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool({ connectTimeoutMs: LIMIT_MS, maxRetries: 0 });
  const sent = pool.get(server.url);
  // The kernel answers the dial while nobody here can hear it.
  await new Promise<void>((resolve) => process.nextTick(resolve));
  block();
  expect((await sent).status).toBe(200);
});

test.each([
  ["timeoutMs", { timeoutMs: LIMIT_MS }],
  ["attemptTimeoutMs", { attemptTimeoutMs: LIMIT_MS }],
  ["timeoutMs of a stream", { timeoutMs: LIMIT_MS, stream: true }],
])("an answer that has come is an answer, though %s passed while the event loop was blocked", async (_what, limit) => {
  await using server = await faultServer((socket) => {
    socket.write(reply(200, "in time"));
    block();
  });
  await using pool = new HttpPool({ maxRetries: 0 });
  expect(await (await pool.get(server.url, limit)).text()).toBe("in time");
});

test("what has not come when the event loop is free again has not come in time", async () => {
  await using server = await faultServer(() => block());
  await using pool = new HttpPool({ maxRetries: 0 });
  for (const limit of [{ timeoutMs: LIMIT_MS }, { attemptTimeoutMs: LIMIT_MS }]) {
    expect(await rejection(pool.get(server.url, limit))).toMatchObject({ code: "ERR_VG_HTTP_TIMEOUT" });
  }
});
