/**
 * The process of one contender. It answers one request at a time over IPC and ends when its parent does.
 *
 * A process each, so that no contender runs on code that was optimised or deoptimised by another one's objects, and so
 * that the CPU time of a round is the contender's own.
 */
import { GCProfiler } from "node:v8";
import type { Contender, ContenderModule, Measurement, Reply, Request } from "./contender.ts";

let contender: Contender | undefined;

process.on("disconnect", () => process.exit(0));
process.on("message", (request: Request) => {
  answer(request).then(reply, (error: unknown) => reply({ type: "failed", message: describe(error) }));
});

async function answer(request: Request): Promise<Reply> {
  if (request.type === "create") {
    const module: ContenderModule = await import(request.module);
    contender = await module.createContender(request.contender, request.parameters);
    return { type: "created" };
  }
  if (contender === undefined) throw new Error(`${request.type} before create`);
  if (request.type === "verify") return { type: "verified", answer: (await contender.verify?.()) ?? null };
  if (request.type === "round") {
    return { type: "measured", measurement: await measure(contender, request.operations, request.allocations) };
  }
  if (request.type === "time") {
    if (contender.timeCalls === undefined) throw new Error("it can't time single calls");
    return { type: "timed", times: await contender.timeCalls(request.calls) };
  }
  await contender.close?.();
  return { type: "closed" };
}

async function measure(subject: Contender, operations: number, allocations: boolean): Promise<Measurement> {
  await subject.prepare?.();
  // Only where bytes are counted. A forced collection throws away optimised code, and a short round after it measures the
  // compiler; and as much garbage as a round finds, it leaves.
  if (allocations) globalThis.gc?.();
  const heap = allocations ? new HeapMeter() : undefined;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const result = await subject.run(operations);
  const elapsedMs = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  const heapBytes = heap?.stop();
  const left = await subject.after?.();
  const measurement: Measurement = { elapsedMs, cpuMs: (user + system) / 1000, answer: { ...result, ...left } };
  return heapBytes === undefined ? measurement : { ...measurement, heapBytes };
}

/** What is allocated on V8's heap from its making on: the growth of the heap, and what collections took back meanwhile. */
class HeapMeter {
  readonly #profiler = new GCProfiler();
  readonly #before: number;

  constructor() {
    this.#profiler.start();
    this.#before = process.memoryUsage().heapUsed;
  }

  stop(): number {
    let bytes = process.memoryUsage().heapUsed - this.#before;
    for (const { beforeGC, afterGC } of this.#profiler.stop()?.statistics ?? []) {
      bytes += beforeGC.heapStatistics.usedHeapSize - afterGC.heapStatistics.usedHeapSize;
    }
    return bytes;
  }
}

function reply(message: Reply): void {
  process.send?.(message);
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? ` (cause: ${error.cause.message})` : "";
  return `${error.name}: ${error.message}${cause}`;
}
