import fc from "fast-check";
import { expect, test } from "vitest";
import { Closers } from "../src/lifecycle/closers.ts";
import { Deadline } from "../src/lifecycle/deadline.ts";
import { runPhases, type Findings, type ShutdownPhase } from "../src/lifecycle/shutdown.ts";
import { fakeTime } from "./support/fake-time.ts";

const hang = (): Promise<never> => new Promise(() => undefined);

/** Runs them with the time standing still until the test moves it. */
function start(phases: readonly ShutdownPhase[], deadlineMs: number) {
  const time = fakeTime();
  const deadline = new Deadline(deadlineMs, time.clock);
  const found: Findings = { stuck: [], phases: [] };
  let endedAt: number | undefined;
  const done = runPhases(phases, deadline, time.clock, found).then(() => (endedAt = time.clock.now()));
  return { time, deadline, found, done, endedAt: () => endedAt };
}

test("a phase that hangs takes its share and no more, is named, and is told that its time is up", async () => {
  let toldAt: number | undefined;
  const budgets: number[] = [];
  const { time, found, endedAt } = start(
    [
      {
        name: "hung",
        weight: 3,
        run: ({ signal, deadlineMs }) => {
          budgets.push(deadlineMs);
          signal.addEventListener("abort", () => (toldAt = time.clock.now()));
          return hang();
        },
      },
      { name: "next", weight: 1, run: ({ deadlineMs }) => void budgets.push(deadlineMs) },
    ],
    1_000,
  );
  await time.advance(1_000);
  expect(budgets).toEqual([700, 225]);
  expect(toldAt).toBe(700);
  expect(endedAt()).toBe(750);
  expect(found.stuck).toEqual(["hung: not finished after 750 ms"]);
  expect(found.phases).toEqual([
    { name: "hung", duration_ms: 750, budget_ms: 750, clean: false },
    { name: "next", duration_ms: 0, budget_ms: 250, clean: true },
  ]);
});

test("what one phase does not need goes to those after it", async () => {
  const budgets: number[] = [];
  const run = ({ deadlineMs }: { deadlineMs: number }): void => void budgets.push(deadlineMs);
  const { done } = start(
    [
      { name: "a", weight: 9, run },
      { name: "b", weight: 1, run },
    ],
    1_000,
  );
  await done;
  expect(budgets).toEqual([850, 950]);
});

test("a phase that fails, sync or async, with an error or with anything, is named and stops nothing", async () => {
  const { found, done } = start(
    [
      {
        name: "sync",
        weight: 1,
        run: () => {
          throw new Error("disk full");
        },
      },
      // oxlint-disable-next-line prefer-promise-reject-errors -- what users do
      { name: "async", weight: 1, run: () => Promise.reject("no reason") },
      { name: "lost", weight: 1, run: () => ["3 rows"] },
      { name: "fine", weight: 1, run: () => "not a list" },
    ],
    1_000,
  );
  await done;
  expect(found.stuck).toEqual(["sync: disk full", "async: no reason", "lost: 3 rows"]);
});

test("a phase that kills at its deadline has the time to say what", async () => {
  const { time, found, done } = start(
    [
      {
        name: "pool",
        weight: 1,
        run: ({ signal }) =>
          new Promise((resolve) => signal.addEventListener("abort", () => resolve(["connection 7"]))),
      },
    ],
    100,
  );
  await time.advance(100);
  await done;
  expect(found.stuck).toEqual(["pool: connection 7"]);
});

test("bringing the deadline forward wakes the phase that runs and cuts short those to come", async () => {
  const { time, deadline, found, endedAt } = start(
    ["a", "b", "c"].map((name) => ({ name, weight: 1, run: hang })),
    30_000,
  );
  await time.advance(100);
  expect(endedAt()).toBeUndefined();
  deadline.atMost(5_000);
  deadline.atMost(60_000);
  expect(deadline.leftMs).toBe(5_000);
  deadline.atMost(0);
  await time.advance(100);
  expect(endedAt()).toBeLessThanOrEqual(100 + 3 * 50);
  expect(found.stuck.map((stuck) => stuck.split(":")[0])).toEqual(["a", "b", "c"]);
});

test("however long the phases take, the whole ends by the deadline, but for the moment that each gets to kill in", async () => {
  const phase = fc.record({
    weight: fc.integer({ min: 0, max: 100 }),
    takesMs: fc.constantFrom(0, 5, 50, 400, Infinity),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(phase, { minLength: 1, maxLength: 6 }),
      fc.constantFrom(0, 10, 200, 1_000),
      async (phases, deadlineMs) => {
        const order: number[] = [];
        const { time, found, endedAt } = start(
          phases.map(({ weight, takesMs }, i) => ({
            name: String(i),
            weight: weight + (i === phases.length - 1 ? 1 : 0),
            run: () => {
              order.push(i);
              return takesMs === Infinity ? hang() : new Promise((resolve) => setTimeout(resolve, takesMs));
            },
          })),
          deadlineMs,
        );
        const mostMs = deadlineMs + 25 * phases.length;
        await time.advance(mostMs);
        expect(endedAt()).toBeLessThanOrEqual(mostMs);
        expect(order).toEqual(phases.map((_, i) => i));
        expect(found.phases.every(({ clean, duration_ms, budget_ms }) => clean || duration_ms >= budget_ms - 1)).toBe(
          true,
        );
      },
    ),
    { numRuns: 60 },
  );
});

test("closers share their phase's time evenly, the last one first, and one that comes late is called too", async () => {
  const time = fakeTime();
  const closers = new Closers(time.clock);
  const order: string[] = [];
  closers.add("first", (deadlineMs) => void order.push(`first ${deadlineMs}`));
  closers.add("hung", (deadlineMs) => {
    order.push(`hung ${deadlineMs}`);
    closers.add("late", () => void order.push("late"));
    return hang();
  });
  closers.add("off", () => void order.push("off"))();
  closers.add("last", (deadlineMs, { signal }) => void order.push(`last ${deadlineMs} ${signal.aborted}`));
  const deadline = new Deadline(900, time.clock);
  const done = closers.run({ deadline, deadlineMs: 900, signal: new AbortController().signal });
  await time.advance(900);
  expect(await done).toEqual(["hung: not finished after 450 ms"]);
  expect(order).toEqual(["last 270 false", "hung 405", "first 405", "late"]);
  expect(() => closers.add("too late", () => undefined)).toThrow(
    'onClose("too late"): what was to be closed has been closed already',
  );
});
