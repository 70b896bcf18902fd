import { fork, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterEach, expect, test } from "vitest";
import {
  type Fault,
  spawnUpstream,
  UpstreamClosedError,
  UpstreamConfigError,
  type UpstreamProcess,
  UpstreamStartError,
} from "../../src/upstream/index.ts";
import { chat, type Completion, json } from "./support/client.ts";

const entry = fileURLToPath(new URL("../../src/upstream/main.ts", import.meta.url));
const readme = fileURLToPath(new URL("../../../../CONTRIBUTING.md", import.meta.url));
const fast = { prefillMsPerToken: 0, decodeMsPerToken: 0, documentPaths: [readme] };
const processes: (UpstreamProcess | ChildProcess)[] = [];

function keep<T extends UpstreamProcess | ChildProcess>(started: T): T {
  processes.push(started);
  return started;
}

afterEach(async () => {
  for (const started of processes.splice(0)) {
    if ("close" in started) await started.close({ deadlineMs: 0 });
    else started.kill("SIGKILL");
  }
});

async function ready(child: ChildProcess): Promise<{ baseUrl: string }> {
  const [message] = (await once(child, "message")) as [{ type: string; baseUrl: string }];
  expect(message.type).toBe("ready");
  return message;
}

test("it serves from a process of its own, with the options given", async () => {
  const upstream = keep(await spawnUpstream({ ...fast, models: ["phi-3"], slots: 2, queue: 5 }));
  expect(upstream.pid).not.toBe(process.pid);
  const completion = await json<Completion>(await chat(upstream, { model: "phi-3" }));
  expect(completion.choices[0]?.message.content).toMatch(/pool/u);
  expect(await upstream.stats()).toMatchObject({ request_count: 1, success_count: 1, slots: 2, queue_capacity: 5 });
  await upstream.close();
  expect(await upstream.exited).toEqual({ code: 0, signal: null });
  await expect(upstream.stats()).rejects.toThrow(UpstreamClosedError);
  await upstream.close();
});

test("faults are set from the parent, and bad ones refused there", async () => {
  const upstream = keep(await spawnUpstream(fast));
  await upstream.setFault({ kind: "status", status: 418, count: 1 });
  expect((await chat(upstream)).status).toBe(418);
  expect((await chat(upstream)).status).toBe(200);
  await expect(upstream.setFault({ kind: "nothing" } as unknown as Fault)).rejects.toThrow(UpstreamConfigError);
});

test("a start that fails says why", async () => {
  const start = spawnUpstream({ ...fast, slots: 0 });
  await expect(start).rejects.toThrow(UpstreamStartError);
  await expect(start).rejects.toThrow("slots must be a whole number from 1 to 1024, got 0");
});

test("it ends when its parent does", async () => {
  const child = keep(fork(entry, [], { execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] }));
  await ready(child);
  const ended = once(child, "exit");
  child.disconnect();
  expect(await ended).toEqual([0, null]);
});

test("forked, it leaves SIGINT and SIGTERM to its parent, whose disconnecting ends it", async () => {
  const child = keep(fork(entry, [], { execArgv: [], stdio: ["ignore", "ignore", "inherit", "ipc"] }));
  const { baseUrl } = await ready(child);
  child.kill("SIGINT");
  child.kill("SIGTERM");
  expect((await chat({ baseUrl })).status).toBe(200);
  const ended = once(child, "exit");
  child.disconnect();
  expect(await ended).toEqual([0, null]);
});

test("by hand, it takes its options from the command line, says where it listens, and ends on SIGINT", async () => {
  const child = keep(
    spawn(process.execPath, [entry, "--decode-ms-per-token", "0", "--models", "a,b", "--document", readme], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, EMBEDDED_UPSTREAM_API_KEY: "by-hand" },
    }),
  );
  const [line] = (await once(child.stdout as NodeJS.ReadableStream, "data")) as [Buffer];
  const baseUrl = /http:\S+\/v1/u.exec(line.toString())?.[0] ?? "";
  expect((await fetch(`${baseUrl}/models`)).status).toBe(401);
  const headers = { authorization: "Bearer by-hand" };
  const { data } = (await (await fetch(`${baseUrl}/models`, { headers })).json()) as { data: { id: string }[] };
  expect(data.map(({ id }) => id)).toEqual(["vg-demo-ngram", "a", "b"]);
  const ended = once(child, "exit");
  child.kill("SIGINT");
  expect(await ended).toEqual([0, null]);
});
