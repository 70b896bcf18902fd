/** The embedded upstream in a process of its own, so that its work does not compete with the gateway's event loop. */
import { type ChildProcess, fork } from "node:child_process";
import { delimiter } from "node:path";
import { fileURLToPath } from "node:url";
import { UpstreamClosedError, UpstreamConfigError, UpstreamStartError } from "./errors.ts";
import type { Fault } from "./faults.ts";
import type { UpstreamOptions } from "./options.ts";
import type { UpstreamStats } from "./server.ts";

/** What the parent sends. */
export type ParentMessage =
  | { type: "set_fault"; id: number; fault: Fault }
  | { type: "stats"; id: number }
  | { type: "close"; deadlineMs: number };

/** What the child sends. */
export type ChildMessage =
  | { type: "ready"; baseUrl: string; port: number }
  | { type: "failed"; message: string }
  | { type: "reply"; id: number; result: unknown }
  | { type: "refused"; id: number; message: string };

interface SpawnUpstreamOptions extends Omit<UpstreamOptions, "documents" | "timing"> {
  /** Files and folders to learn from; default: the project's own pages. */
  documentPaths?: readonly string[];
  /** How long the start may take; default 30 000. */
  startTimeoutMs?: number;
}

export interface UpstreamProcess extends AsyncDisposable {
  readonly baseUrl: string;
  readonly port: number;
  readonly pid: number;
  /** Resolves when the process has ended, for whatever reason. */
  readonly exited: Promise<{ code: number | null; signal: NodeJS.Signals | null }>;
  /** @throws UpstreamConfigError for a bad fault, UpstreamClosedError when the process has ended */
  setFault(fault: Fault): Promise<void>;
  /** @throws UpstreamClosedError when the process has ended */
  stats(): Promise<UpstreamStats>;
  /**
   * Lets running requests finish for `deadlineMs` (default 5000), then ends the process. Stop whatever sends requests
   * first. Idempotent.
   */
  close(options?: { deadlineMs?: number }): Promise<void>;
}

const START_TIMEOUT_MS = 30_000;
const CLOSE_DEADLINE_MS = 5000;
/** A process that has not ended this long after its deadline is killed. */
const KILL_GRACE_MS = 2000;

/**
 * Forks `main.ts` and waits until it is ready. The process ends with this one, however this one ends.
 *
 * @throws UpstreamStartError when it does not become ready; the message says why
 */
export async function spawnUpstream(options: SpawnUpstreamOptions = {}): Promise<UpstreamProcess> {
  const child = fork(fileURLToPath(new URL("./main.ts", import.meta.url)), [], {
    env: { ...process.env, ...environmentOf(options) },
    // The flags of this process (a debugger's port, a loader) are not for the child.
    execArgv: [],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    // A process group of its own: Ctrl-C is for this process, which still drains requests into that one.
    detached: true,
  });
  const startTimeoutMs = options.startTimeoutMs ?? START_TIMEOUT_MS;
  const { baseUrl, port } = await ready(child, startTimeoutMs);
  return new ForkedUpstream(child, baseUrl, port);
}

class ForkedUpstream implements UpstreamProcess {
  readonly baseUrl: string;
  readonly port: number;
  readonly pid: number;
  readonly exited: UpstreamProcess["exited"];
  readonly #child: ChildProcess;
  /** Questions that the child has not answered. */
  readonly #open = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>();
  #lastId = 0;
  #closing: Promise<void> | undefined;

  constructor(child: ChildProcess, baseUrl: string, port: number) {
    this.#child = child;
    this.baseUrl = baseUrl;
    this.port = port;
    this.pid = child.pid as number;
    this.exited = new Promise((resolve) => child.once("exit", (code, signal) => resolve({ code, signal })));
    child.once("exit", () => {
      for (const { reject } of this.#open.values()) reject(endedError());
      this.#open.clear();
    });
    child.on("message", (message: ChildMessage) => {
      if (message.type !== "reply" && message.type !== "refused") return;
      const question = this.#open.get(message.id);
      this.#open.delete(message.id);
      if (message.type === "reply") question?.resolve(message.result);
      else question?.reject(new UpstreamConfigError(message.message));
    });
  }

  async setFault(fault: Fault): Promise<void> {
    await this.#ask((id) => ({ type: "set_fault", id, fault }));
  }

  async stats(): Promise<UpstreamStats> {
    return Object.freeze((await this.#ask((id) => ({ type: "stats", id }))) as UpstreamStats);
  }

  close({ deadlineMs = CLOSE_DEADLINE_MS }: { deadlineMs?: number } = {}): Promise<void> {
    this.#closing ??= this.#close(deadlineMs);
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(deadlineMs: number): Promise<void> {
    if (this.#child.connected) this.#child.send({ type: "close", deadlineMs } satisfies ParentMessage, () => {});
    const kill = setTimeout(() => this.#child.kill("SIGKILL"), deadlineMs + KILL_GRACE_MS);
    await this.exited;
    clearTimeout(kill);
  }

  #ask(message: (id: number) => ParentMessage): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (!this.#child.connected) {
        reject(endedError());
        return;
      }
      const id = ++this.#lastId;
      this.#open.set(id, { resolve, reject });
      this.#child.send(message(id), (error) => {
        if (error === null) return;
        this.#open.delete(id);
        reject(endedError(error));
      });
    });
  }
}

function ready(child: ChildProcess, timeoutMs: number): Promise<{ baseUrl: string; port: number }> {
  return new Promise((resolve, reject) => {
    const fail = (why: string): void => {
      settle();
      child.kill("SIGKILL");
      reject(new UpstreamStartError(`The embedded upstream did not start: ${why}`));
    };
    const onMessage = (message: ChildMessage): void => {
      if (message.type === "failed") fail(message.message);
      if (message.type !== "ready") return;
      settle();
      resolve(message);
    };
    const onError = (error: Error): void => fail(error.message);
    const onExit = (code: number | null, signal: NodeJS.Signals | null): void =>
      fail(`its process ended with ${signal ?? `code ${code}`}. What it wrote to stderr says why.`);
    const timer = setTimeout(() => fail(`it was not ready after ${timeoutMs} ms.`), timeoutMs);
    const settle = (): void => {
      clearTimeout(timer);
      child.off("message", onMessage).off("error", onError).off("exit", onExit);
      // A later failure to kill or to send must not be an uncaught error; "exit" tells the rest.
      child.on("error", () => {});
    };
    child.on("message", onMessage).on("error", onError).on("exit", onExit);
  });
}

/** Of the options that are given; of others, what this process's own environment says holds. */
function environmentOf(options: SpawnUpstreamOptions): Record<string, string> {
  const settings = {
    PORT: options.port?.toString(),
    SLOTS: options.slots?.toString(),
    QUEUE: options.queue?.toString(),
    PREFILL_MS_PER_TOKEN: options.prefillMsPerToken?.toString(),
    DECODE_MS_PER_TOKEN: options.decodeMsPerToken?.toString(),
    MODELS: options.models?.join(","),
    API_KEY: options.apiKey,
    DOCUMENTS: options.documentPaths?.join(delimiter),
  };
  return Object.fromEntries(
    Object.entries(settings).flatMap(([name, value]) =>
      value === undefined ? [] : [[`EMBEDDED_UPSTREAM_${name}`, value] as const],
    ),
  );
}

function endedError(cause?: Error): UpstreamClosedError {
  return new UpstreamClosedError("The embedded upstream's process has ended. Start another one.", { cause });
}
