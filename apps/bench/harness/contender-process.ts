/**
 * The process of one contender. It answers one request at a time over IPC and ends when its parent does.
 *
 * A process each, so that no contender runs on code that was optimised or deoptimised by another one's objects, and so
 * that the CPU time of a round is the contender's own.
 */
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
  if (request.type === "round") return { type: "measured", measurement: await measure(contender, request.operations) };
  await contender.close?.();
  return { type: "closed" };
}

async function measure(subject: Contender, operations: number): Promise<Measurement> {
  await subject.prepare?.();
  // The garbage of the preparation, and of the round before, is not this round's work.
  globalThis.gc?.();
  const heap = process.memoryUsage().heapUsed;
  const cpu = process.cpuUsage();
  const start = performance.now();
  const result = await subject.run(operations);
  const elapsedMs = performance.now() - start;
  const { user, system } = process.cpuUsage(cpu);
  const heapBytes = process.memoryUsage().heapUsed - heap;
  const left = await subject.after?.();
  return { elapsedMs, cpuMs: (user + system) / 1000, heapBytes, answer: { ...result, ...left } };
}

function reply(message: Reply): void {
  process.send?.(message);
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const cause = error.cause instanceof Error ? ` (cause: ${error.cause.message})` : "";
  return `${error.name}: ${error.message}${cause}`;
}
