/** Tracers tell by AsyncLocalStorage whose request it is, on undici's channels as on ours. */
import { AsyncLocalStorage } from "node:async_hooks";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { expect, test } from "vitest";
import { HttpPool, type HttpAttemptMessage, type HttpRequestStartMessage } from "../src/index.ts";
import { faultServer, reply } from "./support/fault-server.ts";

const CALLERS = ["A", "B", "C"];

/** Every message of a channel, by its path and the context in which it came. */
function listen(name: string, pathOf: (message: unknown) => string, storage: AsyncLocalStorage<string>) {
  const seen: string[] = [];
  const listener = (message: unknown) => void seen.push(`${pathOf(message)} ${storage.getStore()}`);
  subscribe(name, listener);
  return { seen, [Symbol.dispose]: () => void unsubscribe(name, listener) };
}

const undiciPath = (message: unknown) => (message as { request: { path: string } }).request.path;
const expected = (times: number) => CALLERS.flatMap((id) => Array<string>(times).fill(`/${id} ${id}`));

test("each retry is created in the context of its own caller, over a shared connection and over many", async () => {
  for (const maxConnsPerHost of [1, 3]) {
    const storage = new AsyncLocalStorage<string>();
    const asked = new Map<string, number>();
    await using server = await faultServer((socket, { line }) => {
      const count = (asked.get(line) ?? 0) + 1;
      asked.set(line, count);
      socket.write(reply(count < 3 ? 503 : 200));
    });
    await using pool = new HttpPool({ maxConnsPerHost, retryBaseMs: 1 });
    using created = listen("undici:request:create", undiciPath, storage);
    await Promise.all(CALLERS.map((id) => storage.run(id, () => pool.get(`${server.url}/${id}`))));
    expect(created.seen.toSorted()).toEqual(expected(3));
  }
});

test("so is each resend of a request whose connection was dead, and a streamed one", async () => {
  const storage = new AsyncLocalStorage<string>();
  await using server = await faultServer((socket, { onConnection }) =>
    onConnection === 0 ? socket.write(reply(200)) : socket.resetAndDestroy(),
  );
  await using pool = new HttpPool({ maxRetries: 0 });
  await storage.run("warm-up", () => Promise.all(CALLERS.map(() => pool.get(server.url))));
  using created = listen("undici:request:create", undiciPath, storage);
  const get = async (id: string) => (await pool.get(`${server.url}/${id}`, { stream: id === "C" })).text();
  await Promise.all(CALLERS.map((id) => storage.run(id, () => get(id))));
  expect(pool.getStats().stale_resends).toBe(3);
  expect(created.seen.toSorted()).toEqual(expected(2));
});

test("our own channels publish starts and attempts in it, and the caller goes on in it", async () => {
  const storage = new AsyncLocalStorage<string>();
  await using server = await faultServer((socket, { number }) => socket.write(reply(number < 3 ? 503 : 200)));
  await using pool = new HttpPool({ maxConnsPerHost: 1, retryBaseMs: 1 });
  using started = listen("vg:pool-http:request:start", (m) => (m as HttpRequestStartMessage).path, storage);
  using attempted = listen("vg:pool-http:attempt", (m) => (m as HttpAttemptMessage).path, storage);
  const after = await Promise.all(
    CALLERS.map((id) =>
      storage.run(id, async () => {
        const response = await pool.get(`${server.url}/${id}`);
        return `/${new URL(response.url).pathname.slice(1)} ${storage.getStore()}`;
      }),
    ),
  );
  expect(started.seen.toSorted()).toEqual(expected(1));
  expect(attempted.seen.toSorted()).toEqual(expected(2));
  expect(after).toEqual(expected(1));
});

test("what a limit ends, on a timer that many requests share, is never told in the context of another caller", async () => {
  const storage = new AsyncLocalStorage<string>();
  await using server = await faultServer((socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\npart"));
  await using pool = new HttpPool({ bodyGapTimeoutMs: 20, maxRetries: 0 });
  const strangers: string[] = [];
  const stream = async (id: string): Promise<void> => {
    const { body } = await pool.get(server.url, { stream: true });
    await new Promise<void>((resolve) => {
      body.once("error", () => {
        const store = storage.getStore();
        if (store !== undefined && store !== id) strangers.push(`${id} in ${store}`);
        resolve();
      });
      body.resume();
    });
  };
  await Promise.all(CALLERS.map((id) => storage.run(id, () => stream(id))));
  expect(strangers).toEqual([]);
});
