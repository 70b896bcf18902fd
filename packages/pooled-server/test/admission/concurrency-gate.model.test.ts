import fc from "fast-check";
import { expect, test } from "vitest";
import { AdaptiveLimit, type HowEnded } from "../../src/admission/adaptive-limit.ts";
import { ConcurrencyGate, NO_PLACE, type Admittee } from "../../src/admission/concurrency-gate.ts";
import type { Outcome } from "../../src/admission/waiting-line.ts";

const QUEUE_DEPTH = 4;
const QUEUE_DEADLINE_MS = 100;

class Request implements Admittee {
  placeSince = NO_PLACE;
  waiter: Admittee["waiter"] = undefined;
  /** What the gate said, in the end. */
  outcomes: Outcome[] = [];
  gone = false;
}

type Step =
  | { type: "enter" }
  | { type: "leave"; which: number; how: HowEnded }
  | { type: "leave again"; which: number }
  | { type: "advance"; ms: number };

const steps = fc.array(
  fc.oneof(
    { weight: 4, arbitrary: fc.constant<Step>({ type: "enter" }) },
    {
      weight: 4,
      arbitrary: fc.record({
        type: fc.constant("leave" as const),
        which: fc.nat(30),
        how: fc.constantFrom<HowEnded>("answered", "timed_out", "abandoned", "other"),
      }),
    },
    fc.record({ type: fc.constant("leave again" as const), which: fc.nat(30) }),
    // A clock that jumps, ahead and back.
    fc.record({ type: fc.constant("advance" as const), ms: fc.integer({ min: -150, max: 250 }) }),
  ),
  { maxLength: 120 },
);

const limits: (["adaptive", { min: number; max: number }] | ["fixed", number])[] = [
  ["fixed", 1],
  ["fixed", 3],
  ["fixed", 0],
  ["adaptive", { min: 1, max: 3 }],
  ["adaptive", { min: 2, max: 100 }],
];

test.each(limits)(
  "whatever the order of coming, ending, leaving and waiting too long, every place is given back once (%s %o)",
  async (_kind, limit) => {
    await fc.assert(
      fc.asyncProperty(steps, async (sequence) => {
        let now = 1_000;
        const clock = { now: () => now };
        const gate = new ConcurrencyGate({
          limit: typeof limit === "number" ? limit : new AdaptiveLimit(limit, now),
          queueDepth: QUEUE_DEPTH,
          queueDeadlineMs: QUEUE_DEADLINE_MS,
          clock,
        });
        const requests: Request[] = [];
        const leave = (request: Request, how: HowEnded): void => {
          gate.leave(request, how, "/route");
          request.gone = true;
        };
        const check = (): void => {
          const holding = requests.filter((request) => request.placeSince !== NO_PLACE);
          const waiting = requests.filter((request) => request.waiter !== undefined);
          expect(gate.inFlight).toBe(holding.length);
          expect(gate.queueLength).toBe(waiting.length);
          expect(gate.queueLength).toBeLessThanOrEqual(QUEUE_DEPTH);
          for (const request of requests) {
            expect(request.outcomes.length).toBeLessThanOrEqual(1);
            if (request.gone) expect([request.placeSince, request.waiter]).toEqual([NO_PLACE, undefined]);
          }
          // Nobody waits while there is room.
          if (waiting.length > 0) expect(gate.inFlight).toBeGreaterThanOrEqual(gate.limit);
          if (typeof limit === "number" && limit > 0) expect(gate.inFlight).toBeLessThanOrEqual(limit);
        };
        for (const step of sequence) {
          if (step.type === "enter") {
            const request = new Request();
            requests.push(request);
            const outcome = gate.enter(request, now);
            if (outcome instanceof Promise) void outcome.then((settled) => request.outcomes.push(settled));
            else request.outcomes.push(outcome);
          } else if (step.type === "advance") {
            now += step.ms;
            gate.expireWaiters();
          } else {
            const request = requests[step.which % Math.max(1, requests.length)];
            if (request === undefined) continue;
            if (step.type === "leave") leave(request, step.how);
            else for (let i = 0; i < 3; i++) leave(request, "answered");
          }
          await Promise.resolve();
          check();
        }
        for (const request of requests) leave(request, "answered");
        now += 2 * QUEUE_DEADLINE_MS + 1_000;
        gate.expireWaiters();
        await Promise.resolve();
        expect([gate.inFlight, gate.queueLength]).toEqual([0, 0]);
        expect(requests.map(({ outcomes }) => outcomes.length)).toEqual(requests.map(() => 1));
        // Every one of them is in the books once.
        const { admitted, queueFull, queueTimeouts, leftQueue, queued } = gate;
        expect(admitted + queueFull + queueTimeouts + leftQueue).toBe(requests.length);
        expect(gate.waits.count + leftQueue).toBe(queued);
      }),
      { numRuns: 300 },
    );
  },
);
