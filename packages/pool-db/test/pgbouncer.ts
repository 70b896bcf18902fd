import { execFile, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { EmbeddedPostgres } from "@vg/internal/embedded-postgres";
import pg from "pg";
import { until } from "./support.ts";

const said: unknown = await promisify(execFile)("pgbouncer", ["--version"]).then(
  ({ stdout }) => stdout,
  () => undefined,
);

/** Major and minor version of the PgBouncer on the PATH; `undefined` where there is none. */
export const pgBouncerVersion: readonly [number, number] | undefined = read(said);

function read(version: unknown): readonly [number, number] | undefined {
  const [, major, minor] = /PgBouncer (\d+)\.(\d+)/.exec(String(version)) ?? [];
  return major === undefined ? undefined : [Number(major), Number(minor)];
}

/** Since 1.21 PgBouncer can carry prepared statements from one server connection to another. */
export const carriesStatements: boolean =
  pgBouncerVersion !== undefined && (pgBouncerVersion[0] > 1 || pgBouncerVersion[1] >= 21);

export interface PgBouncer {
  readonly dsn: string;
  stop(): Promise<void>;
}

/** A real PgBouncer before the server, with so many connections to it. */
export async function startPgBouncer(
  server: EmbeddedPostgres,
  { mode, size, statements = 0 }: { mode: "transaction" | "session"; size: number; statements?: number },
): Promise<PgBouncer> {
  const port = await freePort();
  const folder = await mkdtemp(join(tmpdir(), "vg-pgbouncer-"));
  const file = join(folder, "pgbouncer.ini");
  const target = `host=${server.host} port=${server.port} user=${server.user} password=${server.password}`;
  const settings = [
    "[databases]",
    `* = ${target} dbname=postgres`,
    "[pgbouncer]",
    "listen_addr = 127.0.0.1",
    `listen_port = ${port}`,
    "unix_socket_dir =",
    "auth_type = any",
    `pool_mode = ${mode}`,
    `default_pool_size = ${size}`,
    "max_client_conn = 200",
    ...(carriesStatements ? [`max_prepared_statements = ${statements}`] : []),
  ];
  await writeFile(file, settings.join("\n"));
  // It refuses to run as root, and reads its file as the user that it becomes.
  await chmod(folder, 0o755);
  const asNobody = process.getuid?.() === 0 ? ["-u", "nobody"] : [];
  const child: ChildProcess = spawn("pgbouncer", [...asNobody, file], { stdio: ["ignore", "ignore", "pipe"] });
  const ended = once(child, "exit");
  const kill = (): boolean => child.kill("SIGKILL");
  // It must not outlive the tests, however they end.
  process.once("exit", kill);
  let log = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => (log += text));
  const dsn = `postgres://anybody@127.0.0.1:${port}/postgres`;
  await until("PgBouncer answers", async () => {
    if (child.exitCode !== null) throw new Error(`PgBouncer ended: ${log}`);
    const client = new pg.Client(dsn);
    client.on("error", () => undefined);
    return client.connect().then(
      () => client.end().then(() => true),
      () => false,
    );
  });
  return {
    dsn,
    async stop() {
      kill();
      process.off("exit", kill);
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return typeof address === "object" && address !== null ? address.port : 0;
}
