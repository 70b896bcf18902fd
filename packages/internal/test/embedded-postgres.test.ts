import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { dirname } from "node:path";
import { once } from "node:events";
import { Client } from "pg";
import { expect, test } from "vitest";
import { startEmbeddedPostgres } from "../src/embedded-postgres.ts";

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

test("a process that is killed takes its server and the data folder with it", async () => {
  const script = `
    const { startEmbeddedPostgres } = await import(${JSON.stringify(import.meta.resolve("../src/embedded-postgres.ts"))});
    const server = await startEmbeddedPostgres();
    console.log(JSON.stringify({ pid: server.pid, dataDir: server.dataDir }));
    setInterval(() => {}, 1000);
  `;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [line] = (await once(child.stdout.setEncoding("utf8"), "data")) as [string];
  const { pid, dataDir } = JSON.parse(line) as { pid: number; dataDir: string };
  expect(() => process.kill(pid, 0)).not.toThrow();
  child.kill("SIGKILL");
  await once(child, "exit");
  await expect.poll(() => existsSync(dirname(dataDir)), { timeout: 15_000, interval: 100 }).toBe(false);
  expect(() => process.kill(pid, 0)).toThrow("ESRCH");
});
