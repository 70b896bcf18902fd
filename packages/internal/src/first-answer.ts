import type { Duplex } from "node:stream";

type Method = (this: never, ...args: unknown[]) => unknown;
type Methods = Record<"write" | "end", Method>;

const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})/;
/** As long as the part of it that is looked at. */
const STATUS_BYTES = 12;

/**
 * For a connection that node:http has handed over: its answer is what somebody writes to it first. Calls `told` then, once,
 * with the status of that; 0 where it is no HTTP. Methods that others put there, before or after, stay.
 */
export function onFirstAnswer(socket: Duplex, told: (status: number) => void): void {
  const methods = socket as unknown as Methods;
  let isWaiting = true;
  for (const name of ["write", "end"] as const) {
    const plain = methods[name];
    const watching: Method = function (...args) {
      const [chunk] = args;
      if (isWaiting && chunk !== undefined && chunk !== null && typeof chunk !== "function") {
        isWaiting = false;
        told(Number(STATUS_LINE.exec(beginningOf(chunk))?.[1] ?? 0));
      }
      if (!isWaiting && methods[name] === watching) methods[name] = plain;
      return plain.apply(this, args);
    };
    methods[name] = watching;
  }
}

function beginningOf(chunk: unknown): string {
  if (typeof chunk === "string") return chunk;
  return ArrayBuffer.isView(chunk)
    ? Buffer.from(chunk.buffer, chunk.byteOffset, Math.min(chunk.byteLength, STATUS_BYTES)).toString("latin1")
    : "";
}
