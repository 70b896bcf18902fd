import { spawn, type ChildProcess } from "node:child_process";
import { createServer } from "node:net";
import { join } from "node:path";
import { explained, serverEnvironment, whileOldBackendsEnd } from "./binaries.ts";
import { USER } from "./data-folder.ts";
import type { EmbeddedPostgres, EmbeddedPostgresOptions, Setup } from "./options.ts";
import { removeFolders } from "./places.ts";

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 10_000;

/** The server process on a data folder that is ready for it; owns the guard and the scratch folder once it has started. */
export class Server implements EmbeddedPostgres {
  readonly host = "127.0.0.1";
  readonly user = USER;
  readonly password: string;
  readonly dataDir: string;
  port: number;
  readonly #setup: Setup;
  readonly #options: EmbeddedPostgresOptions;
  #process: ChildProcess | undefined;
  #ended: Promise<void> = Promise.resolve();
  #restarting: Promise<void> | undefined;
  /** Once set, no process is started any more. */
  #stopping: Promise<void> | undefined;

  constructor(setup: Setup, password: string, options: EmbeddedPostgresOptions) {
    this.#setup = setup;
    this.#options = options;
    this.password = password;
    this.dataDir = setup.dataDir;
    this.port = options.port ?? 0;
  }

  get pid(): number {
    return this.#process?.pid ?? 0;
  }

  get dsn(): string {
    const database = encodeURIComponent(this.#options.database ?? "postgres");
    return `postgres://${USER}:${this.password}@${this.host}:${this.port}/${database}`;
  }

  async start(): Promise<void> {
    const fixed = this.port !== 0;
    // Between finding a free port and PostgreSQL's bind, somebody else may take it.
    for (let attempt = 1; ; attempt++) {
      if (!fixed) this.port = await freePort();
      try {
        return await whileOldBackendsEnd(() => this.#launch());
      } catch (error) {
        if (fixed || attempt === 5 || !/could not bind|Address already in use/.test(String(error))) throw error;
      }
    }
  }

  signal(name: NodeJS.Signals): void {
    this.#process?.kill(name);
  }

  async exited(): Promise<void> {
    this.#process?.ref();
    await this.#ended;
  }

  restart(): Promise<void> {
    this.#restarting ??= this.#restart().finally(() => {
      this.#restarting = undefined;
    });
    return this.#restarting;
  }

  async #restart(): Promise<void> {
    await this.exited();
    await whileOldBackendsEnd(() => this.#launch());
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    await this.#endProcess();
    // A restart may have waited for that end; it finds that it must not go on.
    await this.#restarting?.catch(() => undefined);
    // The guard last: should this process end before that, it removes the rest.
    await removeFolders(this.#setup.scratch);
    await this.#setup.guard.end();
  }

  async #endProcess(): Promise<void> {
    const child = this.#process;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    // SIGINT is PostgreSQL's fast shutdown; a frozen server first has to be woken to hear it.
    child.kill("SIGINT");
    child.kill("SIGCONT");
    const timer = setTimeout(() => child.kill("SIGKILL"), STOP_TIMEOUT_MS);
    await this.exited();
    clearTimeout(timer);
  }

  /** Starts the process and waits until it accepts connections; where that fails, until it has ended. */
  async #launch(): Promise<void> {
    this.#refuseWhenStopped();
    const { native, dataDir, identity, kept, guard } = this.#setup;
    const settings = {
      listen_addresses: this.host,
      port: String(this.port),
      unix_socket_directories: "",
      lc_messages: "C",
      // A temporary database is gone with the machine anyway; a kept one is as durable as PostgreSQL makes it.
      ...(kept ? {} : { fsync: "off", full_page_writes: "off" }),
      ...this.#options.settings,
    };
    const args = ["-D", dataDir, ...Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`])];
    const child = spawn(join(native, "bin", "postgres"), args, {
      detached: true,
      cwd: dataDir,
      stdio: ["ignore", "ignore", "pipe"],
      env: serverEnvironment(native),
      ...identity,
    });
    guard.watch(child);
    this.#process = child;
    this.#ended = new Promise((resolve) => {
      child.once("exit", () => resolve());
      child.once("error", () => resolve());
    });
    try {
      await this.#ready(child);
    } catch (error) {
      child.kill("SIGKILL");
      await this.#ended;
      this.#refuseWhenStopped(error);
      throw error;
    }
    child.unref();
    this.#refuseWhenStopped();
  }

  #refuseWhenStopped(cause?: unknown): void {
    if (this.#stopping !== undefined) throw new Error("The embedded PostgreSQL was stopped for good", { cause });
  }

  #ready(child: ChildProcess): Promise<void> {
    return new Promise((resolve, reject) => {
      const recent: string[] = [];
      const fail = (what: string, cause?: unknown): void => {
        clearTimeout(timer);
        reject(explained(`The embedded PostgreSQL ${what}`, recent.join("\n"), this.dataDir, cause));
      };
      const timer = setTimeout(() => fail(`was not ready after ${START_TIMEOUT_MS / 1000} s`), START_TIMEOUT_MS);
      child.once("error", (error) => fail("could not be started", error));
      // Not "exit": its last words may still be in the pipe.
      const endedEarly = (code: number | null, signal: NodeJS.Signals | null): void =>
        fail(`ended at its start (${signal ?? `exit code ${code}`})`);
      child.once("close", endedEarly);
      eachLine(child.stderr as NodeJS.ReadableStream, (line) => {
        this.#options.onLog?.(line);
        recent.push(line);
        if (recent.length > 8) recent.shift();
        if (line.includes("database system is ready to accept connections")) {
          clearTimeout(timer);
          child.off("close", endedEarly);
          resolve();
        }
      });
      // The pipe must go on being read, but must not keep this process alive.
      (child.stderr as unknown as { unref?(): void }).unref?.();
    });
  }
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
