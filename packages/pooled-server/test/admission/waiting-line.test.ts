import { expect, test } from "vitest";
import { ConcurrencyGate, NO_PLACE, type Admittee } from "../../src/admission/concurrency-gate.ts";

function setup(queueDepth: number = 10) {
  let now = 0;
  const served: string[] = [];
  const gate = new ConcurrencyGate({ limit: 1, queueDepth, queueDeadlineMs: 1_000, clock: { now: () => now } });
  const enter = (name: string): Admittee => {
    const request: Admittee = { placeSince: NO_PLACE, waiter: undefined };
    const outcome = gate.enter(request, now);
    if (outcome === undefined) served.push(name);
    else if (outcome instanceof Promise) {
      void outcome.then((refusal) => served.push(refusal === undefined ? name : `${name}: ${refusal.reason}`));
    } else served.push(`${name}: ${refusal(outcome)}`);
    return request;
  };
  const refusal = ({ reason }: { reason: string }): string => reason;
  return { gate, served, enter, advance: (ms: number) => void (now += ms) };
}

test("in a short burst places go to those who came first", async () => {
  const { gate, served, enter, advance } = setup();
  const [a, b, c] = [enter("a"), enter("b"), enter("c")];
  for (const request of [a, b, c]) {
    advance(100);
    gate.leave(request, "answered", "");
    await Promise.resolve();
  }
  expect(served).toEqual(["a", "b", "c"]);
});

test("under overload places go to those who came last, and the rest is refused at its deadline", async () => {
  const { gate, served, enter, advance } = setup();
  const a = enter("a");
  enter("b");
  advance(300);
  const c = enter("c");
  advance(300);
  gate.leave(a, "answered", "");
  await Promise.resolve();
  expect(served).toEqual(["a", "c"]);
  advance(399);
  gate.expireWaiters();
  await Promise.resolve();
  expect(served).toEqual(["a", "c"]);
  advance(1);
  gate.expireWaiters();
  gate.leave(c, "answered", "");
  await Promise.resolve();
  expect(served).toEqual(["a", "c", "b: queue_timeout"]);
});

test("a line that is full refuses at once, and one of no length always", () => {
  const short = setup(1);
  for (const name of ["a", "b", "c"]) short.enter(name);
  expect(short.served).toEqual(["a", "c: queue_full"]);
  const none = setup(0);
  for (const name of ["a", "b"]) none.enter(name);
  expect(none.served).toEqual(["a", "b: queue_full"]);
});

test("who leaves the line makes room in it, and gets no place later", async () => {
  const { gate, served, enter } = setup(1);
  const a = enter("a");
  const b = enter("b");
  gate.leave(b, "abandoned", "");
  enter("c");
  gate.leave(a, "answered", "");
  await Promise.resolve();
  expect(served.filter((name) => !name.startsWith("b"))).toEqual(["a", "c"]);
  expect([gate.inFlight, gate.leftQueue, b.placeSince]).toEqual([1, 1, NO_PLACE]);
});

test("the refused are told to come back when those before them will have been served", () => {
  const { gate, enter, advance } = setup(10);
  // Each place is held for 4 s in the mean.
  for (let i = 0; i < 200; i++) {
    const request = enter("x");
    advance(4_000);
    gate.leave(request, "answered", "");
  }
  for (let i = 0; i < 11; i++) enter("y");
  const outcome = gate.enter({ placeSince: NO_PLACE, waiter: undefined }, 0);
  expect(outcome).toMatchObject({ status: 503, reason: "queue_full", retryAfterSeconds: 44 });
});
