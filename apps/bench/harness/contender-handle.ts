import { fork, type ChildProcess } from "node:child_process";
import { atExit } from "../../../scripts/lib/cleanup.ts";
import type { Answer, CallTimes, Measurement, Parameters, Reply, Request } from "./contender.ts";

const PROCESS = new URL("./contender-process.ts", import.meta.url);
/** A contender that says nothing for this long has failed. */
const ANSWER_TIMEOUT_MS = 60_000;

/** The harness's end of a contender's process. Every method rejects once the process has ended. */
export class ContenderHandle {
  readonly name: string;
  readonly #process: ChildProcess;
  readonly #exited: Promise<void>;
  #pending: { resolve(reply: Reply): void; reject(error: Error): void } | undefined;

  private constructor(name: string) {
    this.name = name;
    this.#process = fork(PROCESS, [], {
      // Without its options of the parent (a --test run has some); with a collector that can be called.
      execArgv: ["--expose-gc"],
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    // A contender that is busy does not notice that its channel has closed.
    const forget = atExit(() => this.#process.kill("SIGKILL"));
    this.#process.on("message", (reply: Reply) => this.#pending?.resolve(reply));
    this.#process.on("error", (error) => this.#pending?.reject(error));
    this.#exited = new Promise((resolve) => {
      this.#process.once("exit", (code, signal) => {
        forget();
        this.#pending?.reject(new Error(`its process ended (${signal ?? `exit code ${code}`})`));
        resolve();
      });
    });
  }

  /** Starts a process and makes the contender in it. Rejects when the contender cannot be made. */
  static async start(name: string, module: URL, contender: string, parameters: Parameters): Promise<ContenderHandle> {
    const handle = new ContenderHandle(name);
    try {
      await handle.#ask({ type: "create", module: module.href, contender, parameters });
      return handle;
    } catch (error) {
      await handle.kill();
      throw error;
    }
  }

  async verify(): Promise<Answer | null> {
    const reply = await this.#ask({ type: "verify" });
    return reply.type === "verified" ? reply.answer : null;
  }

  /** With `allocations`, the measurement has them, and its times are longer for it. */
  async round(operations: number, allocations = false): Promise<Measurement> {
    const reply = await this.#ask({ type: "round", operations, allocations });
    if (reply.type !== "measured") throw new Error(`unexpected answer ${reply.type}`);
    return reply.measurement;
  }

  async timeCalls(calls: number): Promise<CallTimes> {
    const reply = await this.#ask({ type: "time", calls });
    if (reply.type !== "timed") throw new Error(`unexpected answer ${reply.type}`);
    return reply.times;
  }

  /** Lets the contender close what it holds, then ends its process. */
  async close(): Promise<void> {
    await this.#ask({ type: "close" }).catch(() => undefined);
    await this.kill();
  }

  async kill(): Promise<void> {
    this.#process.kill("SIGKILL");
    await this.#exited;
  }

  async #ask(request: Request): Promise<Reply> {
    if (!this.#process.connected) throw new Error("its process has ended");
    let timer: NodeJS.Timeout | undefined;
    try {
      const reply = await new Promise<Reply>((resolve, reject) => {
        this.#pending = { resolve, reject };
        timer = setTimeout(
          () => reject(new Error(`no answer to ${request.type} within ${ANSWER_TIMEOUT_MS / 1000} s`)),
          ANSWER_TIMEOUT_MS,
        );
        this.#process.send(request);
      });
      if (reply.type === "failed") throw new Error(reply.message);
      return reply;
    } finally {
      clearTimeout(timer);
      this.#pending = undefined;
    }
  }
}
