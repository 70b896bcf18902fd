import { randomBytes } from "node:crypto";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { HttpPool, type HttpLeakMessage, type HttpPoolOptions, type HttpResponse } from "../src/index.ts";
import { faultServer, httpServer, turns } from "./support/fault-server.ts";

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

type Line = { level: string; message: string; [field: string]: unknown };

/** A pool and what it has logged; `line` waits for one. */
function watched(options: HttpPoolOptions) {
  const lines: Line[] = [];
  let wake = () => {};
  const at = (level: string) => (fields: object, message: string) => {
    lines.push({ level, message, ...fields });
    wake();
  };
  const logger = { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  const line = async (level: string): Promise<Line> => {
    for (;;) {
      const found = lines.find((one) => one.level === level);
      if (found !== undefined) return found;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  };
  return { pool: new HttpPool({ logger, name: "upstream", ...options }), lines, line };
}

const HEAD = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const openEnded = () => faultServer((socket) => socket.write(`${HEAD}4\r\npart\r\n`));

test("a stream that nobody reads is reported once, with its request, its age and the place of the call", async () => {
  await using server = await openEnded();
  const { pool, lines, line } = watched({ leakThresholdMs: 20 });
  const messages: HttpLeakMessage[] = [];
  const listener = (message: unknown) => void messages.push(message as HttpLeakMessage);
  subscribe("vg:pool-http:leak", listener);
  const response = await pool.get(`${server.url}/a?token=hunter2`, { stream: true });
  const warning = await line("warn");
  unsubscribe("vg:pool-http:leak", listener);
  expect(warning).toMatchObject({
    message: "a streamed response has not been read for longer than leakThresholdMs and holds its connection",
    pool: "upstream",
    request: `GET ${server.url}/a?…`,
  });
  expect(warning["unread_ms"]).toBeGreaterThanOrEqual(20);
  expect(warning["called_at"]).toMatch(/^at .*leaks\.test\.ts:\d+:\d+/);
  expect(warning["called_at"]).not.toContain("/src/");
  expect(pool.getStats().leak_count).toBe(1);
  expect(messages).toMatchObject([{ pool: "upstream", origin: server.url, path: "/a", collected: false }]);
  expect(messages[0]?.calledAt).toContain("leaks.test.ts");
  expect(JSON.stringify([lines, messages])).not.toContain("hunter2");
  await response.discard();
  expect(await line("info")).toMatchObject({
    message: "a streamed response that was reported as unread has ended unread",
  });
  expect(lines.filter(({ level }) => level === "warn").length).toBe(1);
  await pool.close();
});

test("one that is read after all is told of as well", async () => {
  await using server = await faultServer((socket) => {
    socket.write(`${HEAD}4\r\npart\r\n`);
    finish = () => socket.write("0\r\n\r\n");
  });
  let finish = () => {};
  const { pool, line } = watched({ leakThresholdMs: 20 });
  const response = await pool.get(server.url, { stream: true });
  await line("warn");
  const text = response.text();
  expect(await line("info")).toMatchObject({
    message: "a streamed response that was reported as unread was read after all",
  });
  finish();
  expect(await text).toBe("part");
  await pool.close();
});

test("a compressed stream is no different: unread until somebody reads what comes out", async () => {
  const wire = gzipSync(randomBytes(400_000));
  await using server = await faultServer((socket) => {
    socket.write(`HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: ${wire.length}\r\n\r\n`);
    socket.write(wire);
  });
  const { pool, line } = watched({ leakThresholdMs: 20 });
  const response = await pool.get(server.url, { stream: true });
  expect((await line("warn"))["called_at"]).toContain("leaks.test.ts");
  expect((await response.bytes()).length).toBe(400_000);
  expect((await line("info")).message).toContain("was read after all");
  await pool.close();
});

test("what a pool's end does to it is told, too", async () => {
  await using server = await openEnded();
  const { pool, lines, line } = watched({ leakThresholdMs: 20 });
  const response = await pool.get(server.url, { stream: true });
  await line("warn");
  pool.destroy();
  expect(lines.at(-1)?.message).toBe("a streamed response that was reported as unread has ended unread");
  expect(response.status).toBe(200);
});

test("a reader that stops in the middle is reported, and one that only waits for the server is not", async () => {
  const large = Buffer.alloc(4 * 1024 * 1024);
  await using server = await httpServer((request, response) => {
    if (request.url === "/large") response.end(large);
    else response.write("part");
  });
  const { pool, lines, line } = watched({ leakThresholdMs: 20 });
  const waiting = await pool.get(`${server.url}/waiting`, { stream: true });
  waiting.body.on("data", () => {});
  const stopped = await pool.get(`${server.url}/large`, { stream: true });
  for await (const _chunk of stopped.body.iterator({ destroyOnReturn: false })) break;
  expect(await line("warn")).toMatchObject({ request: `GET ${server.url}/large` });
  expect(lines.filter(({ level }) => level === "warn").length).toBe(1);
  pool.destroy();
});

test("what holds no connection is no leak: a small body that has come, and every body in memory", async () => {
  await using server = await httpServer((request, response) => {
    if (request.url === "/leak") response.write("part");
    else response.end("small");
  });
  const { pool, lines, line } = watched({ leakThresholdMs: 4 });
  const responses: HttpResponse[] = [];
  for (let i = 0; i < 3; i++) responses.push(await pool.get(server.url, { stream: true }), await pool.get(server.url));
  // One that is a leak, and came after them, is reported after them.
  await pool.get(`${server.url}/leak`, { stream: true });
  expect(await line("warn")).toMatchObject({ request: `GET ${server.url}/leak` });
  expect([lines.length, pool.getStats().leak_count, responses.length]).toEqual([1, 1, 6]);
  pool.destroy();
});

test("a response that was garbage-collected unread is reported, and its connection freed", async () => {
  await using server = await openEnded();
  const { pool, lines, line } = watched({});
  // In a function of its own, so that nothing here holds the response.
  await (async () => void (await pool.get(server.url, { stream: true })))();
  expect(pool.getStats()).toMatchObject({ open_connections: 1, in_flight: 1 });
  while (lines.length === 0) {
    collectGarbage();
    await turns(2);
  }
  expect(await line("warn")).toMatchObject({
    message: "a streamed response was garbage-collected unread; its connection is freed",
    request: `GET ${server.url}/`,
  });
  await server.socketsDownTo(0);
  await turns(2);
  expect(pool.getStats()).toMatchObject({ leak_count: 1, open_connections: 0, in_flight: 0, canceled_count: 1 });
  await pool.close();
});

test("so is a response of fetch", async () => {
  await using server = await openEnded();
  const { pool, lines, line } = watched({});
  await (async () => void (await pool.fetch(server.url)))();
  while (lines.length === 0) {
    collectGarbage();
    await turns(2);
  }
  expect((await line("warn")).message).toContain("garbage-collected unread");
  await server.socketsDownTo(0);
  await pool.close();
});

test("a body that somebody holds without its response is left alone by the garbage collector", async () => {
  let finish = () => {};
  await using server = await faultServer((socket) => {
    socket.write(`${HEAD}4\r\npart\r\n`);
    finish = () => socket.write("0\r\n\r\n");
  });
  const { pool } = watched({});
  const body = await (async () => (await pool.get(server.url, { stream: true })).body)();
  for (let i = 0; i < 5; i++) {
    collectGarbage();
    await turns(2);
  }
  finish();
  const chunks: unknown[] = [];
  for await (const chunk of body) chunks.push(chunk);
  expect([String(chunks[0]), pool.getStats().leak_count]).toEqual(["part", 0]);
  await pool.close();
});
