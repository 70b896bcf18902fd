import * as fc from "fast-check";
import { expect, test } from "vitest";
import { UpstreamClosedError, UpstreamQueueFullError } from "../../src/upstream/errors.ts";
import { Scheduler, type Slot } from "../../src/upstream/scheduler.ts";

const never = new AbortController().signal;

function setUp(slots: number, queue: number): { scheduler: Scheduler; clock: { time: number; now(): number } } {
  const clock = {
    time: 0,
    now(): number {
      return this.time;
    },
  };
  return { scheduler: new Scheduler({ slots, queue, clock }), clock };
}

test("slots go out at once while there are any, and then in order of arrival", async () => {
  const { scheduler } = setUp(1, 8);
  const first = await scheduler.acquire(never);
  const order: string[] = [];
  const wait = (name: string): Promise<Slot> =>
    scheduler.acquire(never).then((slot) => {
      order.push(name);
      return slot;
    });
  const b = wait("b");
  const c = wait("c");
  first.release();
  (await b).release();
  (await c).release();
  expect(order).toEqual(["b", "c"]);
  expect(scheduler.stats()).toMatchObject({ in_use: 0, queued: 0, acquire_count: 3, wait_count: 2 });
});

test("beyond the queue a request is refused at once, with the numbers and when to come back", async () => {
  const { scheduler, clock } = setUp(2, 1);
  const first = await scheduler.acquire(never);
  clock.time = 6000;
  first.release();
  await scheduler.acquire(never);
  await scheduler.acquire(never);
  const waiting = scheduler.acquire(never);
  waiting.catch(() => {});
  const refused = await scheduler.acquire(never).catch((error: unknown) => error);
  expect(refused).toBeInstanceOf(UpstreamQueueFullError);
  // Two in line, two slots, 6 s a request.
  expect(refused).toMatchObject({ code: "ERR_VG_UPSTREAM_QUEUE_FULL", retryAfterSeconds: 6 });
  expect((refused as Error).message).toContain("all 2 slots are in use and 1 requests wait");
  expect(scheduler.stats().rejected_count).toBe(1);
});

test("without a queue nobody waits", async () => {
  const { scheduler } = setUp(1, 0);
  await scheduler.acquire(never);
  await expect(scheduler.acquire(never)).rejects.toThrow(UpstreamQueueFullError);
});

test("who leaves the queue leaves nothing behind, and the next one moves up", async () => {
  const { scheduler, clock } = setUp(1, 8);
  const slot = await scheduler.acquire(never);
  const leaver = new AbortController();
  const left = scheduler.acquire(leaver.signal);
  const stays = scheduler.acquire(never);
  clock.time = 30;
  leaver.abort(new Error("gone"));
  await expect(left).rejects.toThrow("gone");
  expect(scheduler.stats()).toMatchObject({ queued: 1, in_use: 1, wait_duration_ms: 30 });
  clock.time = 100;
  slot.release();
  (await stays).release();
  expect(scheduler.stats()).toMatchObject({ queued: 0, in_use: 0, wait_duration_ms: 130 });
});

test("an abort that comes after the slot was given does not take it away", async () => {
  const { scheduler } = setUp(1, 8);
  const first = await scheduler.acquire(never);
  const late = new AbortController();
  const next = scheduler.acquire(late.signal);
  first.release();
  late.abort();
  const slot = await next;
  expect(scheduler.stats().in_use).toBe(1);
  slot.release();
  expect(scheduler.stats().in_use).toBe(0);
});

test("a second release is a bug and says so", async () => {
  const { scheduler } = setUp(1, 0);
  const slot = await scheduler.acquire(never);
  slot.release();
  expect(() => slot.release()).toThrow("bug: a slot was released twice");
});

test("close turns out who waits and refuses who comes; slots in use stay in use", async () => {
  const { scheduler } = setUp(1, 8);
  const slot = await scheduler.acquire(never);
  const waiting = [scheduler.acquire(never), scheduler.acquire(never)];
  scheduler.close();
  for (const wait of waiting) await expect(wait).rejects.toThrow(UpstreamClosedError);
  await expect(scheduler.acquire(never)).rejects.toThrow(UpstreamClosedError);
  expect(scheduler.stats()).toMatchObject({ in_use: 1, queued: 0 });
  slot.release();
  expect(scheduler.stats().in_use).toBe(0);
});

test("in any order of coming, leaving and finishing, it does what a list and a counter do", async () => {
  const command = fc.oneof(
    { weight: 3, arbitrary: fc.constant({ kind: "come" as const }) },
    { weight: 2, arbitrary: fc.nat(20).map((which) => ({ kind: "finish" as const, which })) },
    { weight: 1, arbitrary: fc.nat(20).map((which) => ({ kind: "leave" as const, which })) },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 3 }),
      fc.nat(4),
      fc.array(command, { maxLength: 60 }),
      async (slots, queue, commands) => {
        const { scheduler } = setUp(slots, queue);
        // The model: who runs and who waits, by number.
        let running: number[] = [];
        let waiting: number[] = [];
        const expected = new Map<number, string>();
        // The reality.
        const actual = new Map<number, string>();
        const held = new Map<number, Slot>();
        const leavers = new Map<number, AbortController>();
        let rejected = 0;
        let next = 0;

        for (const step of commands) {
          if (step.kind === "come") {
            const id = next++;
            const leaver = new AbortController();
            leavers.set(id, leaver);
            void scheduler
              .acquire(leaver.signal)
              .then((slot) => held.set(id, slot))
              .then(
                () => actual.set(id, "runs"),
                (error: unknown) => actual.set(id, error instanceof UpstreamQueueFullError ? "refused" : "left"),
              );
            if (running.length < slots) running.push(id);
            else if (waiting.length < queue) waiting.push(id);
            else {
              rejected++;
              expected.set(id, "refused");
            }
          } else if (step.kind === "finish" && running.length > 0) {
            const id = running[step.which % running.length] as number;
            running = running.filter((other) => other !== id);
            expected.set(id, "done");
            held.get(id)?.release();
            actual.set(id, "done");
            const first = waiting.shift();
            if (first !== undefined) running.push(first);
          } else if (step.kind === "leave" && waiting.length > 0) {
            const id = waiting[step.which % waiting.length] as number;
            waiting = waiting.filter((other) => other !== id);
            expected.set(id, "left");
            leavers.get(id)?.abort();
          }
          await new Promise((resolve) => setImmediate(resolve));
          const now = new Map([...expected, ...running.map((id) => [id, "runs"] as const)]);
          expect(new Map([...actual].toSorted(([a], [b]) => a - b))).toEqual(
            new Map([...now].toSorted(([a], [b]) => a - b)),
          );
          expect(scheduler.stats()).toMatchObject({
            in_use: running.length,
            queued: waiting.length,
            rejected_count: rejected,
          });
        }
      },
    ),
  );
});
