import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdir, readdir, stat, symlink, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { Client } from "pg";
import { expect, test } from "vitest";
import { startEmbeddedPostgres } from "../src/embedded-postgres.ts";
import { firstOutput, isAlive, kill, runScript, testFolder } from "./embedded-postgres-support.ts";

const SLOW_MACHINE = { timeout: 15_000, interval: 5 };

test("a relative data folder below missing ones serves a second start, also through a symbolic link", async () => {
  const folder = await testFolder();
  const dataDir = join(folder, "not yet", "there");
  const first = await startEmbeddedPostgres({ dataDir: relative(process.cwd(), dataDir) });
  expect(first.dataDir).toBe(dataDir);
  await query(first.dsn, "create table kept as select 7 as n");
  await first.stop();

  await symlink(join(folder, "not yet"), join(folder, "link"));
  const second = await startEmbeddedPostgres({ dataDir: join(folder, "link", "there") });
  expect(second.dataDir).toBe(dataDir);
  expect(await query(second.dsn, "select n from kept")).toEqual([{ n: 7 }]);
  await second.stop();
  expect(await readdir(join(folder, "not yet"))).toEqual(["there"]);
});

test("a folder with somebody's files is refused and left as it was", async () => {
  const dataDir = await testFolder();
  await writeFile(join(dataDir, "thesis.txt"), "years of work");
  const before = await stat(dataDir);
  await expect(startEmbeddedPostgres({ dataDir })).rejects.toThrow(
    `The dataDir ${dataDir} is not empty and holds no database cluster`,
  );
  const after = await stat(dataDir);
  expect([after.uid, after.gid, after.mode, after.mtimeMs]).toEqual([
    before.uid,
    before.gid,
    before.mode,
    before.mtimeMs,
  ]);
  expect(await readdir(dataDir)).toEqual(["thesis.txt"]);
});

test("a cluster that was made elsewhere is refused", async () => {
  const dataDir = await testFolder();
  await writeFile(join(dataDir, "PG_VERSION"), "18\n");
  await expect(startEmbeddedPostgres({ dataDir })).rejects.toThrow("was not made here (it has no file vg-password)");
});

test.runIf(process.getuid?.() === 0)("as root, a folder below a closed one is refused before it is made", async () => {
  const closed = await testFolder();
  await chmod(closed, 0o700);
  await expect(startEmbeddedPostgres({ dataDir: join(closed, "new", "data") })).rejects.toThrow(
    `"nobody", who may not enter ${closed}`,
  );
  expect(await readdir(closed)).toEqual([]);
});

test("a database that is missing from kept data is created", async () => {
  const dataDir = join(await testFolder(), "data");
  for (const database of ["one", "two", "one"]) {
    const server = await startEmbeddedPostgres({ dataDir, database });
    expect(await query(server.dsn, "select current_database() as name")).toEqual([{ name: database }]);
    await server.stop();
  }
  await expect(startEmbeddedPostgres({ dataDir, database: "" })).rejects.toThrow('"" could not be created: ERROR');
});

test("a second server on the same folder is told so in the first line, and the first one goes on", async () => {
  const folder = await testFolder();
  const dataDir = join(folder, "data");
  const first = await startEmbeddedPostgres({ dataDir });
  const told = `Another PostgreSQL server (process ${first.pid}) uses the data folder ${dataDir}; stop it`;
  for (const options of [{ dataDir }, { dataDir, database: "other" }]) {
    const error = await startEmbeddedPostgres(options).catch((reason: unknown) => reason);
    expect((error as Error).message.split("\n")[0]).toContain(told);
  }
  expect(await query(first.dsn, "select 1 as n")).toEqual([{ n: 1 }]);
  await first.stop();
  expect(await readdir(folder)).toEqual(["data"]);
});

test("two first starts on one folder at once: one serves, the other is told", async () => {
  const folder = await testFolder();
  const dataDir = join(folder, "data");
  const starts = await Promise.allSettled([startEmbeddedPostgres({ dataDir }), startEmbeddedPostgres({ dataDir })]);
  const servers = starts.flatMap((start) => (start.status === "fulfilled" ? [start.value] : []));
  for (const server of servers) expect(await query(server.dsn, "select 1 as n")).toEqual([{ n: 1 }]);
  for (const server of servers) await server.stop();
  expect(servers).toHaveLength(1);
  expect(String(starts.find((start) => start.status === "rejected")?.reason)).toContain("Another PostgreSQL server");
  expect(await readdir(folder)).toEqual(["data"]);
});

test("a process that is killed with kept data leaves the data and no scratch folder", async () => {
  const folder = await testFolder();
  const temporary = await testFolder();
  const dataDir = join(folder, "data");
  const child = runScript(
    `const server = await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)} });
     console.log(server.pid);`,
    temporary,
  );
  const pid = Number(await firstOutput(child));
  await kill(child);
  await expect.poll(() => readdir(temporary), SLOW_MACHINE).toEqual([]);
  await expect.poll(() => isAlive(pid), SLOW_MACHINE).toBe(false);
  const server = await startEmbeddedPostgres({ dataDir });
  expect(await query(server.dsn, "select 1 as n")).toEqual([{ n: 1 }]);
  await server.stop();
});

test("a process that is killed while it makes the cluster leaves a folder that the next start can use", async () => {
  const folder = await testFolder();
  const temporary = await testFolder();
  const dataDir = join(folder, "data");
  const child = runScript(`await startEmbeddedPostgres({ dataDir: ${JSON.stringify(dataDir)} });`, temporary);
  const stagingBegun = async (): Promise<boolean> => {
    const [staging] = await readdir(folder);
    return staging !== undefined && (await readdir(join(folder, staging))).includes("PG_VERSION");
  };
  await expect.poll(stagingBegun, SLOW_MACHINE).toBe(true);
  await kill(child);
  await expect.poll(() => readdir(temporary), SLOW_MACHINE).toEqual([]);
  await expect.poll(() => readdir(folder), SLOW_MACHINE).toEqual([]);
  const server = await startEmbeddedPostgres({ dataDir });
  expect(await query(server.dsn, "select 1 as n")).toEqual([{ n: 1 }]);
  await server.stop();
});

test("what a machine that went down left beside the data folder is removed; what is in use or not ours stays", async () => {
  const folder = await testFolder();
  const ended = spawn("true");
  await once(ended, "exit");
  const abandoned = [`data.vg-init-${ended.pid}-abc123-1`, `data.vg-init-${process.pid}-abc123-1`];
  const others = [`data.vg-init-${process.ppid}-abc123-1`, "data.vg-init-notes"];
  for (const name of [...abandoned, ...others]) await mkdir(join(folder, name));
  const server = await startEmbeddedPostgres({ dataDir: join(folder, "data") });
  await server.stop();
  expect((await readdir(folder)).toSorted()).toEqual(["data", ...others].toSorted());
});

async function query(dsn: string, text: string): Promise<unknown[]> {
  const client = new Client(dsn);
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}
