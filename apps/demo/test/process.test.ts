import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, onTestFinished, test } from "vitest";

const main = fileURLToPath(new URL("../src/main.ts", import.meta.url));

interface Run {
  child: ChildProcess;
  output: () => string;
  url: () => Promise<string>;
  ended: Promise<{ code: number | null; signal: string | null }>;
}

/** The demo as its command starts it, but from source and with a temporary folder of its own. */
async function run(env: Record<string, string>): Promise<Run & { folder: string }> {
  const folder = await mkdtemp(join(tmpdir(), "demo-"));
  // The database's user must be able to pass through it.
  await chmod(folder, 0o755);
  let output = "";
  const child = spawn(process.execPath, ["--conditions=@vg/source", main], {
    env: { PATH: process.env["PATH"], TMPDIR: folder, PORT: "0", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (text) => (output += text));
  const ended = once(child, "close").then(() => ({ code: child.exitCode, signal: child.signalCode as string | null }));
  onTestFinished(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill("SIGKILL");
    await ended;
    await rm(folder, { recursive: true, force: true });
  });
  const url = async () => {
    await expect.poll(() => output, { timeout: 30_000, interval: 50 }).toMatch(/listens on http:\/\/\S+/);
    return /listens on (http:\/\/\S+)/.exec(output)?.[1] as string;
  };
  return { child, output: () => output, url, ended, folder };
}

test.each(["SIGINT", "SIGTERM"] as const)("%s ends the service cleanly and leaves nothing behind", async (signal) => {
  const demo = await run({});
  const url = await demo.url();
  const answer = await fetch(`${url}/v2/chat/completions`, {
    method: "POST",
    body: JSON.stringify({ messages: [{ role: "user", content: "hello" }], max_tokens: 5 }),
  });
  expect(answer.status).toBe(200);
  expect((await readdir(demo.folder)).length).toBeGreaterThan(0);
  demo.child.kill(signal);
  expect(await demo.ended).toEqual({ code: 0, signal: null });
  expect(await readdir(demo.folder)).toEqual([]);
  expect(demo.output()).toContain('"state":"closed"');
});

test("a signal in the middle of the start still leaves nothing behind", async () => {
  const demo = await run({});
  await expect.poll(() => readdir(demo.folder), { timeout: 30_000, interval: 5 }).not.toEqual([]);
  demo.child.kill("SIGINT");
  expect((await demo.ended).signal).toBeNull();
  expect(await readdir(demo.folder)).toEqual([]);
});

test("a second signal does not wait", async () => {
  const demo = await run({ EMBEDDED_UPSTREAM_DECODE_MS_PER_TOKEN: "1000" });
  const url = await demo.url();
  const open = fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    body: JSON.stringify({ messages: [{ role: "user", content: "hello" }] }),
  }).catch(() => undefined);
  await expect.poll(async () => (await fetch(`${url}/metrics`)).text()).toContain("http_server_active_requests 1");
  demo.child.kill("SIGINT");
  await expect.poll(() => demo.output(), { timeout: 10_000 }).toContain('"state":"draining"');
  demo.child.kill("SIGINT");
  expect(await demo.ended).toEqual({ code: 130, signal: null });
  await open;
  // The guard of the database outlives the process for a moment, to clean up behind it.
  await expect.poll(() => readdir(demo.folder), { timeout: 15_000, interval: 100 }).toEqual([]);
});

test("a busy port is said in one sentence, and what had been started is stopped", async () => {
  const busy = createServer();
  await once(busy.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => void busy.close());
  const { port } = busy.address() as AddressInfo;
  const demo = await run({ PORT: String(port) });
  expect((await demo.ended).code).toBe(1);
  expect(demo.output()).toContain(`VaultGemma LocalAI cannot start: Cannot listen on 127.0.0.1:${port} (EADDRINUSE)`);
  expect(demo.output()).not.toContain("    at ");
  expect(await readdir(demo.folder)).toEqual([]);
});

test.each<[Record<string, string>, string]>([
  [{ HOST: "0.0.0.0" }, "HOST=0.0.0.0 opens the service to the network: set API_KEY too"],
  [{ PORT: "http" }, 'PORT must be a whole number from 0 to 65535, got "http"'],
  [{ DB_MAX_OPEN_CONNS: "-1" }, "DB_MAX_OPEN_CONNS must be a whole number from 1 to 100000"],
  [{ UPSTREAM_BASE_URL: "localhost:11434" }, "UPSTREAM_BASE_URL must be an http(s) URL"],
  [{ UPSTREAM_MODEL: "sql=llama3" }, "UPSTREAM_MODEL must be a model's name, or pairs"],
  [{ POSTGRES_DSN: "mysql://user:hunter2@host/db" }, "cannot start: PooledServer:"],
])("%j is refused at the start by the variable's name", async (env, message) => {
  const demo = await run(env);
  expect((await demo.ended).code).toBe(1);
  expect(demo.output()).toContain(message);
  expect(demo.output()).not.toContain("hunter2");
  expect(demo.output()).not.toContain("    at ");
  expect(await readdir(demo.folder)).toEqual([]);
});
