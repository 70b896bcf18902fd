import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { Client } from "pg";
import { expect, test, vi } from "vitest";
import { startEmbeddedPostgres } from "../src/embedded-postgres.ts";
import { firstOutput, isAlive, kill, processesOn, runScript, testFolder } from "./embedded-postgres-support.ts";

const SLOW_MACHINE = { timeout: 15_000, interval: 20 };

test("a server starts on a free port, answers, and leaves no folder behind", async () => {
  const server = await startEmbeddedPostgres({ database: 'a "quoted" name' });
  const client = new Client(server.dsn);
  await client.connect();
  const { rows } = await client.query("select current_database() as name");
  expect(rows).toEqual([{ name: 'a "quoted" name' }]);
  await client.end();
  await server.stop();
  expect(existsSync(server.dataDir)).toBe(false);
});

test("after a crash the server comes back on the same port with its data", async () => {
  const server = await startEmbeddedPostgres();
  const { dsn } = server;
  const before = new Client(dsn);
  before.on("error", () => undefined);
  await before.connect();
  await before.query("create table kept as select 7 as n");
  await before.query("checkpoint");
  server.signal("SIGKILL");
  await server.exited();
  await server.restart();
  const after = new Client(dsn);
  await after.connect();
  expect((await after.query("select n from kept")).rows).toEqual([{ n: 7 }]);
  await after.end();
  await server.stop();
});

test("a process that is killed takes its server and the data folder with it, also after a restart", async () => {
  const temporary = await testFolder();
  const child = runScript(
    `const server = await startEmbeddedPostgres();
     server.signal("SIGKILL");
     await server.exited();
     await server.restart();
     console.log(server.pid);`,
    temporary,
  );
  const pid = Number(await firstOutput(child));
  expect(isAlive(pid)).toBe(true);
  await kill(child);
  await expect.poll(() => readdir(temporary), SLOW_MACHINE).toEqual([]);
  await expect.poll(() => isAlive(pid), SLOW_MACHINE).toBe(false);
});

test("the guard leaves a process alone that has got the id of a server that ended", async () => {
  const temporary = await testFolder();
  const child = runScript(
    `const { spawn } = await import("node:child_process");
     const { mkdirSync } = await import("node:fs");
     const at = (name) => ${JSON.stringify(temporary)} + "/" + name;
     mkdirSync(at("scratch"));
     const guard = new Guard({ scratch: at("scratch"), dataDir: at("data"), staging: at("staging") });
     const stranger = spawn("sleep", ["60"], { detached: true, stdio: "ignore" });
     guard.watch(stranger);
     console.log(stranger.pid);`,
    temporary,
  );
  const stranger = Number(await firstOutput(child));
  try {
    await kill(child);
    await expect.poll(() => readdir(temporary), SLOW_MACHINE).toEqual([]);
    expect(isAlive(stranger)).toBe(true);
  } finally {
    process.kill(stranger, "SIGKILL");
  }
});

test("a start that fails half-way leaves neither processes nor folders", async () => {
  const temporary = await testFolder();
  vi.stubEnv("TMPDIR", temporary);
  try {
    await expect(startEmbeddedPostgres({ settings: { shared_buffers: "nonsense" } })).rejects.toThrow(
      /ended at its start \(exit code 1\); its last lines were:\n.*shared_buffers/,
    );
    expect(await readdir(temporary)).toEqual([]);
    expect(await processesOn(temporary)).toEqual([]);
  } finally {
    vi.unstubAllEnvs();
  }
});

test.each(["at once", "at the first line of the log", "when it is ready"])(
  "stop() during restart(), %s, leaves no server",
  async (moment) => {
    const temporary = await testFolder();
    vi.stubEnv("TMPDIR", temporary);
    try {
      let onLog: (line: string) => void = () => undefined;
      const server = await startEmbeddedPostgres({ onLog: (line) => onLog(line) });
      server.signal("SIGKILL");
      await server.exited();
      const restart = server.restart();
      const refused = expect(restart).rejects.toThrow("stopped for good");
      expect(server.restart()).toBe(restart);
      const stopped = new Promise<void>((resolve, reject) => {
        const stop = (): void => void server.stop().then(resolve, reject);
        if (moment === "at once") stop();
        onLog = (line) => {
          if (moment === "at the first line of the log" || line.includes("ready to accept connections")) stop();
        };
      });
      await Promise.all([refused, stopped]);
      expect(await readdir(temporary)).toEqual([]);
      expect(await processesOn(temporary)).toEqual([]);
      await expect(server.restart()).rejects.toThrow("stopped for good");
    } finally {
      vi.unstubAllEnvs();
    }
  },
);

test("stop() ends a restart() that waits for the old server's end", async () => {
  const server = await startEmbeddedPostgres();
  const { pid } = server;
  const refused = expect(server.restart()).rejects.toThrow("stopped for good");
  await server.stop();
  await refused;
  expect(isAlive(pid)).toBe(false);
});
