/** Servers and the load, each in a process of its own, as the measuring process sees them. */
import { fork, type ChildProcess } from "node:child_process";
import { fileURLToPath } from "node:url";
import { atExit } from "../../../scripts/lib/cleanup.ts";
import { numberField } from "../harness/values.ts";
import type { LoadResult, LoadTask } from "./load-process.ts";
import type { ServerTask, ServerUse } from "./server-process.ts";

const TIMEOUT_MS = 60_000;

/** A child that answers each message with one. */
class Partner implements AsyncDisposable {
  readonly #what: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;

  constructor(module: string, what: string, argument?: object) {
    this.#what = what;
    this.#child = fork(fileURLToPath(new URL(module, import.meta.url)), argument ? [JSON.stringify(argument)] : [], {
      // Without the options of the parent (a --test run has some).
      execArgv: [],
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const forget = atExit(() => this.#child.kill("SIGKILL"));
    this.#exited = new Promise((resolve) => {
      this.#child.once("exit", () => {
        forget();
        resolve();
      });
    });
  }

  send(message: object): void {
    this.#child.send(message);
  }

  /** Its next message. Rejects when it ends without one. */
  async reply(): Promise<unknown> {
    let stop = (): void => undefined;
    try {
      return await new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => reject(new Error(`${this.#what}: no answer within ${TIMEOUT_MS / 1000} s`)),
          TIMEOUT_MS,
        );
        const ended = (code: number | null): void =>
          reject(new Error(`${this.#what}: its process ended (exit code ${code})`));
        this.#child.once("message", resolve).once("error", reject).once("exit", ended);
        stop = () => {
          clearTimeout(timer);
          this.#child.off("message", resolve).off("error", reject).off("exit", ended);
        };
      });
    } finally {
      stop();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) this.#child.kill("SIGKILL");
    await this.#exited;
  }
}

/** A server that listens. */
export class RunningServer implements AsyncDisposable {
  readonly #partner: Partner;
  readonly port: number;

  private constructor(partner: Partner, port: number) {
    this.#partner = partner;
    this.port = port;
  }

  static async start(task: ServerTask): Promise<RunningServer> {
    const partner = new Partner("./server-process.ts", task.name, task);
    try {
      return new RunningServer(partner, numberField(await partner.reply(), "port"));
    } catch (error) {
      await partner[Symbol.asyncDispose]();
      throw error;
    }
  }

  async cpuMicros(): Promise<number> {
    this.#partner.send({});
    return ((await this.#partner.reply()) as ServerUse).cpuMicros;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#partner[Symbol.asyncDispose]();
  }
}

/** What puts the load on a server. */
export class Load implements AsyncDisposable {
  readonly #partner: Partner = new Partner("./load-process.ts", "the load");

  async run(task: LoadTask): Promise<LoadResult> {
    this.#partner.send(task);
    return (await this.#partner.reply()) as LoadResult;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#partner[Symbol.asyncDispose]();
  }
}
