/**
 * The load of one round: so many connections, each of which sends its request again as soon as it has its answer. It
 * speaks HTTP over bare sockets, so that the client costs little beside the server. Every answer is checked: its status, and
 * that its body is the right one.
 */
import { createConnection, type Socket } from "node:net";
import { percentile } from "../harness/statistics.ts";
import { INCOMPLETE, wrongAnswer } from "./answers.ts";

export interface LoadTask {
  port: number;
  connections: number;
  durationMs: number;
  path: string;
  headers: Record<string, string>;
  body: string;
  /** What must come back, byte by byte. */
  answer: string;
  /**
   * Never to sleep during the round. To wake a process that sleeps on the other core takes the server longer than to send
   * it an answer, and the more often, the slower the server is. Only where that core has nothing else to do.
   */
  awake: boolean;
}

export interface LoadResult {
  requests: number;
  seconds: number;
  p50Ms: number;
  p99Ms: number;
  cpuMicros: number;
  /** Of what was wrong, the first. */
  failure?: string;
}

class Caller {
  readonly #task: LoadTask;
  readonly #request: Buffer;
  readonly #socket: Socket;
  readonly #latencies: number[];
  readonly #fail: (reason: string) => void;
  #sentAt = 0;
  #received: Buffer = Buffer.alloc(0);
  stopped = false;

  constructor(task: LoadTask, request: Buffer, latencies: number[], fail: (reason: string) => void) {
    this.#task = task;
    this.#request = request;
    this.#latencies = latencies;
    this.#fail = fail;
    this.#socket = createConnection({ port: task.port, host: "127.0.0.1", noDelay: true });
    this.#socket.on("connect", () => this.#send());
    this.#socket.on("data", (chunk) => this.#take(chunk));
    this.#socket.on("error", (error) => fail(error.message));
    this.#socket.on("close", () => {
      if (!this.stopped) fail("the server closed the connection");
    });
  }

  stop(): void {
    this.stopped = true;
    this.#socket.destroy();
  }

  #send(): void {
    this.#sentAt = performance.now();
    this.#socket.write(this.#request);
  }

  #take(chunk: Buffer): void {
    if (this.stopped) return;
    const received = this.#received.length === 0 ? chunk : Buffer.concat([this.#received, chunk]);
    const wrong = wrongAnswer(received, this.#task.answer);
    if (wrong === INCOMPLETE) {
      this.#received = received;
      return;
    }
    this.#received = Buffer.alloc(0);
    if (wrong !== undefined) return this.#fail(wrong);
    this.#latencies.push(performance.now() - this.#sentAt);
    this.#send();
  }
}

async function run(task: LoadTask): Promise<LoadResult> {
  const head = [`POST ${task.path} HTTP/1.1`, "host: 127.0.0.1", "content-type: application/json"];
  for (const [name, value] of Object.entries(task.headers)) head.push(`${name}: ${value}`);
  head.push(`content-length: ${Buffer.byteLength(task.body)}`);
  const request = Buffer.from(`${head.join("\r\n")}\r\n\r\n${task.body}`);
  const latencies: number[] = [];
  let failure: string | undefined;
  const start = performance.now();
  const cpu = process.cpuUsage();
  const callers: Caller[] = [];
  let isOver = false;
  const stayAwake = (): void => {
    if (!isOver) setImmediate(stayAwake);
  };
  if (task.awake) stayAwake();
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, task.durationMs);
    const fail = (reason: string): void => {
      failure ??= reason;
      clearTimeout(timer);
      resolve();
    };
    for (let i = 0; i < task.connections; i++) callers.push(new Caller(task, request, latencies, fail));
  });
  const seconds = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  isOver = true;
  for (const caller of callers) caller.stop();
  return {
    requests: latencies.length,
    seconds,
    p50Ms: percentile(latencies, 0.5),
    p99Ms: percentile(latencies, 0.99),
    cpuMicros: user + system,
    ...(failure === undefined ? {} : { failure }),
  };
}

process.on("message", (task: LoadTask) => {
  void run(task).then((result) => process.send?.(result));
});
process.once("disconnect", () => process.exit());
