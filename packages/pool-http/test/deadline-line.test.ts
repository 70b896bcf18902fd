import fc from "fast-check";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { DeadlineLine, DeadlineLines, type Limited } from "../src/exchange/deadline-line.ts";

beforeEach(() => void vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] }));
afterEach(() => void vi.useRealTimers());

class Request implements Limited {
  deadline = 0;
  previous: Limited | undefined;
  next: Limited | undefined;
  linked = false;
  keepsAlive = false;
  passedAt: number | undefined;

  passDeadline(): void {
    this.passedAt = performance.now();
  }
}

test("each deadline passes in its time, unless its request has ended; whatever comes and goes between", () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant("begin" as const) }),
    fc.record({ kind: fc.constant("end" as const), which: fc.nat() }),
    fc.record({ kind: fc.constant("wait" as const), ms: fc.integer({ min: 0, max: 150 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const line = new DeadlineLine(100);
      const begun: { request: Request; at: number; endedAt: number | undefined }[] = [];
      for (const one of steps) {
        if (one.kind === "begin") {
          const request = new Request();
          begun.push({ request, at: performance.now(), endedAt: undefined });
          line.add(request, false);
        } else if (one.kind === "wait") {
          vi.advanceTimersByTime(one.ms);
        } else {
          const ended = begun[one.which % Math.max(1, begun.length)];
          if (ended === undefined) continue;
          ended.endedAt ??= performance.now();
          line.remove(ended.request);
        }
      }
      vi.advanceTimersByTime(300);
      for (const { request, at, endedAt } of begun) {
        const due = at + 100;
        if (endedAt !== undefined && endedAt < due) expect(request.passedAt).toBeUndefined();
        else expect(request.passedAt).toBeCloseTo(due, -0.5);
      }
      line.close();
      expect(vi.getTimerCount()).toBe(0);
    }),
  );
});

test("one timer serves any number of requests, and requests that end touch none", () => {
  const line = new DeadlineLine(100);
  for (let n = 0; n < 1_000; n++) {
    const request = new Request();
    line.add(request, false);
    line.remove(request);
    expect(vi.getTimerCount()).toBe(1);
  }
  vi.advanceTimersByTime(100);
  expect(vi.getTimerCount()).toBe(0);
});

test("a request whose end throws holds up none of the others", () => {
  const thrown: unknown[] = [];
  const nextTick = vi.spyOn(process, "nextTick").mockImplementation((callback) => {
    try {
      (callback as () => void)();
    } catch (error) {
      thrown.push(error);
    }
  });
  const line = new DeadlineLine(100);
  const bad = new Request();
  bad.passDeadline = () => {
    throw new Error("of the user's clock");
  };
  const good = new Request();
  line.add(bad, false);
  line.add(good, false);
  vi.advanceTimersByTime(200);
  nextTick.mockRestore();
  expect(good.passedAt).toBe(performance.now() - 100);
  expect(thrown).toMatchObject([{ message: "of the user's clock" }]);
});

test("lines that make room for others leave no timer behind, nor do those of a closed pool", () => {
  const lines = new DeadlineLines();
  const waiting = new Request();
  lines.of(1).add(waiting, false);
  for (let ms = 2; ms < 500; ms++) {
    const line = lines.of(ms);
    const request = new Request();
    line.add(request, false);
    line.remove(request);
  }
  lines.close();
  // Only that of the one who still waits, until it has been told.
  expect(vi.getTimerCount()).toBe(1);
  vi.advanceTimersByTime(10);
  expect([waiting.passedAt !== undefined, vi.getTimerCount()]).toEqual([true, 0]);
});
