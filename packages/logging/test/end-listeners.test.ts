import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Writable } from "node:stream";
import { createLogger } from "@vg/logging";
import { afterEach, beforeEach, expect, test, vi } from "vitest";

let before = 0;
const listeners = (): number => process.listenerCount("exit") - before;

beforeEach(() => {
  before = process.listenerCount("exit");
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
});
afterEach(() => void vi.useRealTimers());

/** A stream that takes a line when it is told to. */
function slowStream(): { stream: Writable; take: () => void } {
  const taken: (() => void)[] = [];
  const stream = new Writable({ write: (_chunk, _encoding, done) => void taken.push(done) });
  return { stream, take: () => taken.shift()?.() };
}

test("nothing listens for the end of the process once a stream has taken its lines and they were flushed", async () => {
  const logger = createLogger({ destination: new Writable({ write: (_chunk, _encoding, done) => done() }) });
  logger.info("1");
  expect(listeners()).toBe(1);
  await logger.flush();
  expect(listeners()).toBe(0);
  logger.info("2");
  expect(listeners()).toBe(1);
  await logger.close();
  expect(listeners()).toBe(0);
});

test("without a flush, it ends a second after the last line was taken, also of a line after close", async () => {
  const { stream, take } = slowStream();
  const logger = createLogger({ destination: stream });
  await logger.close();
  logger.info("1");
  vi.advanceTimersByTime(5000);
  expect(listeners()).toBe(1);
  take();
  await new Promise(setImmediate);
  expect(listeners()).toBe(1);
  vi.advanceTimersByTime(1000);
  expect(listeners()).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});

test("a write that gives a promise is listened for until a second after it is settled", async () => {
  let settle = (): void => undefined;
  const destination = { write: () => new Promise<void>((resolve) => (settle = resolve)) };
  createLogger({ destination }).info("1");
  vi.advanceTimersByTime(5000);
  expect(listeners()).toBe(1);
  settle();
  await new Promise(setImmediate);
  vi.advanceTimersByTime(1000);
  expect(listeners()).toBe(0);
});

test("a stream of pino's kind, which does not tell, is listened for until it is flushed in time", async () => {
  const flushes: (() => void)[] = [];
  const destination = { write: () => true, flush: (done: () => void) => void flushes.push(done), flushSync: () => {} };
  const logger = createLogger({ destination });
  logger.info("1");
  vi.advanceTimersByTime(60_000);
  expect(listeners()).toBe(1);
  const tooLong = logger.flush({ deadlineMs: 10 });
  vi.advanceTimersByTime(10);
  await tooLong;
  expect(listeners()).toBe(1);
  const meanwhile = logger.flush();
  logger.info("2");
  flushes.at(-1)?.();
  await meanwhile;
  expect(listeners()).toBe(1);
  const last = logger.flush();
  await Promise.resolve();
  flushes.at(-1)?.();
  await last;
  expect(listeners()).toBe(0);
});

test("a buffer is listened for until a second after its lines were written", () => {
  const folder = mkdtempSync(join(tmpdir(), "vg-logging-"));
  const logger = createLogger({ destination: join(folder, "log"), buffer: { flushIntervalMs: 100 } });
  logger.info("1");
  expect(listeners()).toBe(1);
  vi.advanceTimersByTime(100);
  expect(readFileSync(join(folder, "log"), "utf8")).toContain('"1"');
  expect(listeners()).toBe(1);
  vi.advanceTimersByTime(1000);
  expect([listeners(), vi.getTimerCount()]).toEqual([0, 0]);
  rmSync(folder, { recursive: true });
});
