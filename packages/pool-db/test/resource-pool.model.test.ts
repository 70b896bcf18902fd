import fc from "fast-check";
import { expect, test } from "vitest";
import type { Lease } from "../src/pool/slot.ts";
import type { ResourcePoolStats } from "../src/pool/pool-stats.ts";
import { fakePool, settle, type FakeResource } from "./fake-resources.ts";

/**
 * Any order of calls, answers, failures and time is played against the pool, and after each step the whole state is
 * compared with what must hold in every state.
 */
type Step =
  | { do: "acquire"; timeoutMs: number; shared: boolean }
  | { do: "abort" | "lose"; which: number }
  | { do: "release"; which: number; how: "clean" | "dirty" | "broken" | "later" | "throws" | "discard" }
  | { do: "dial" | "validate" | "reset"; which: number; ok: boolean }
  | { do: "wait"; ms: number }
  | { do: "configure"; maxOpen: number; maxIdle: number; maxShares: number; maxLifetimeMs: number }
  | { do: "warm"; target: number }
  | { do: "reset pool" };

const which = fc.nat(20);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("acquire" as const),
      timeoutMs: fc.constantFrom(50, 500, 5_000),
      shared: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("abort" as const, "lose" as const), which }) },
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("release" as const),
      which,
      how: fc.constantFrom(
        "clean" as const,
        "clean" as const,
        "dirty" as const,
        "broken" as const,
        "later" as const,
        "throws" as const,
        "discard" as const,
      ),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("dial" as const), which, ok: fc.boolean() }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constantFrom("validate" as const, "reset" as const), which, ok: fc.boolean() }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.constantFrom(1, 40, 400, 3_000) }) },
  {
    weight: 1,
    arbitrary: fc.oneof(
      fc.record({
        do: fc.constant("configure" as const),
        maxOpen: fc.integer({ min: 1, max: 4 }),
        maxIdle: fc.integer({ min: 0, max: 4 }),
        maxShares: fc.constantFrom(1, 2, 4),
        maxLifetimeMs: fc.constantFrom(1_500, Infinity),
      }),
      fc.record({ do: fc.constant("warm" as const), target: fc.integer({ min: 1, max: 4 }) }),
      fc.record({ do: fc.constant("reset pool" as const) }),
    ),
  },
);

const settings = fc.record({
  maxOpen: fc.integer({ min: 1, max: 4 }),
  maxConnecting: fc.integer({ min: 1, max: 3 }),
  maxIdleTrimDelayMs: fc.constantFrom(0, 100),
  validateAfterIdleMs: fc.constantFrom(0, 300, Infinity),
  maxLifetimeMs: fc.constantFrom(1_500, Infinity),
  maxIdleTimeMs: fc.constantFrom(1_000, Infinity),
  maxUses: fc.constantFrom(2, Infinity),
  maxShares: fc.constantFrom(1, 2, 4),
  maxShareAgeMs: fc.constantFrom(0, 100, Infinity),
  minIdle: fc.constantFrom(0, 1),
  createTimeoutMs: fc.constantFrom(200, 10_000),
  leakThresholdMs: fc.constantFrom(300, Infinity),
  /** Whether dials fail for want of room, so that nobody is refused for it. */
  full: fc.boolean(),
  /** How many of a step's events are answered with a call of the pool. */
  reentrantCalls: fc.constantFrom(0, 3),
});

type Given = typeof settings extends fc.Arbitrary<infer T> ? T : never;

function harness(given: Given) {
  const { reentrantCalls, full, ...limits } = given;
  /** The limits in force; some change on the way. */
  const inForce = { ...limits };
  let callsLeft: number = 0;
  /** What a listener may do: borrow and give back at once, or wait in the line. */
  const callBack = (): void => {
    if (callsLeft-- <= 0) return;
    const shared = callsLeft % 2 === 0;
    const lease = shared ? pool.takeShared() : pool.take();
    if (lease === undefined) {
      acquire(50, shared);
      return;
    }
    asked++;
    got({ lease, shared });
    release(held.length - 1);
  };
  const fake = fakePool(
    { ...limits, maxIdle: Math.min(given.maxOpen, 2), minIdle: Math.min(given.minIdle, given.maxOpen) },
    {
      created: callBack,
      acquired: callBack,
      released: callBack,
      removed: callBack,
      idleLost: callBack,
      createFailed: callBack,
    },
  );
  const { pool, factory } = fake;
  factory.full = full;
  const held: { lease: Lease<FakeResource>; shared: boolean }[] = [];
  const waiting: { id: number; shared: boolean; controller: AbortController }[] = [];
  /** For each resource: since when its present holder has had its turn, and whether it was released as unusable. */
  const turnSince = new Map<FakeResource, number>();
  const condemned = new Set<FakeResource>();
  /** Open when the pool was reset; and lent when its maximum fell, so that they may be closed when they return. */
  const outdated = new Set<FakeResource>();
  const surplus = new Set<FakeResource>();
  let warming = 0;
  let asked = 0;
  let lastServed = -1;
  let before: ResourcePoolStats = pool.getStats();
  let failing = false;

  const holdersOf = (resource: FakeResource) => held.filter(({ lease }) => lease.resource === resource);

  function got(holder: (typeof held)[0]): void {
    const { resource } = holder.lease;
    const others = holdersOf(resource);
    expect(resource.alive).toBe(true);
    expect(outdated.has(resource)).toBe(false);
    if (others.length === 0) turnSince.set(resource, fake.time.now());
    else {
      // Nobody is lent what another has, unless all of them are content to share it.
      expect(holder.shared && others.every(({ shared }) => shared)).toBe(true);
      expect(others.length).toBeLessThan(inForce.maxShares);
      expect(condemned.has(resource)).toBe(false);
      expect(fake.time.now() - (turnSince.get(resource) as number)).toBeLessThanOrEqual(given.maxShareAgeMs);
    }
    held.push(holder);
  }

  function release(index: number, discard?: Error): void {
    const [holder] = held.splice(index, 1);
    if (holder === undefined) return;
    const { resource } = holder.lease;
    if (discard !== undefined) condemned.add(resource);
    turnSince.set(resource, fake.time.now());
    holder.lease.release(discard);
  }

  function acquire(timeoutMs: number, shared: boolean): void {
    const waiter = { id: asked++, shared, controller: new AbortController() };
    waiting.push(waiter);
    const leave = (): void => void waiting.splice(waiting.indexOf(waiter), 1);
    const bounds = { timeoutMs, signal: waiter.controller.signal };
    (shared ? pool.acquireShared(bounds) : pool.acquire(bounds)).then((lease) => {
      leave();
      // First come, first served.
      expect(waiter.id).toBeGreaterThan(lastServed);
      lastServed = waiter.id;
      got({ lease, shared });
    }, leave);
  }

  async function play(action: Step): Promise<void> {
    callsLeft = reentrantCalls;
    const pick = <T>(list: T[], index: number): T | undefined =>
      list.length === 0 ? undefined : list.splice(index % list.length, 1)[0];
    if (action.do === "acquire") acquire(action.timeoutMs, action.shared);
    else if (action.do === "abort") waiting[action.which % Math.max(1, waiting.length)]?.controller.abort();
    else if (action.do === "wait") await fake.time.advance(action.ms);
    else if (action.do === "configure") {
      const { do: _, ...changes } = action;
      if (changes.maxOpen < inForce.maxOpen) for (const { lease } of held) surplus.add(lease.resource);
      Object.assign(inForce, changes);
      pool.configure(changes);
    } else if (action.do === "warm") {
      warming++;
      const settled = (): void => void warming--;
      pool.warm(action.target, { timeoutMs: 500 }).then((open) => {
        expect(open).toBeGreaterThanOrEqual(Math.min(action.target, inForce.maxOpen));
        settled();
      }, settled);
    } else if (action.do === "reset pool") {
      for (const resource of factory.made) if (resource.alive) outdated.add(resource);
      pool.reset();
    } else if (action.do === "dial") {
      const dial = pick(factory.dials, action.which);
      if (action.ok) dial?.resolve();
      else dial?.reject(new Error("refused"));
    } else if (action.do === "validate") pick(factory.validations, action.which)?.resolve(action.ok);
    else if (action.do === "reset") pick(factory.resets, action.which)?.resolve(action.ok ? "clean" : "dirty");
    else if (action.do === "release") {
      factory.nextReset = action.how === "discard" ? "clean" : action.how;
      release(action.which % Math.max(1, held.length), action.how === "discard" ? new Error("unusable") : undefined);
      factory.nextReset = "clean";
    } else {
      const alive = factory.made.filter((resource) => resource.alive);
      const resource = alive[action.which % Math.max(1, alive.length)];
      if (resource !== undefined) {
        resource.alive = false;
        resource.lost(new Error("connection reset"));
      }
    }
    await settle();
  }

  const neverExpires = (): boolean => inForce.maxLifetimeMs === Infinity;

  const hasRoom = (resource: FakeResource): boolean => {
    const holders = holdersOf(resource);
    const age = fake.time.now() - (turnSince.get(resource) as number);
    const young = age <= given.maxShareAgeMs;
    if ([condemned, outdated, surplus].some((closing) => closing.has(resource))) return false;
    return young && holders.length < inForce.maxShares && holders.every(({ shared }) => shared);
  };

  function check(): void {
    const stats = pool.getStats();
    expect(stats.open_connections).toBe(stats.in_use + stats.idle);
    const { maxOpen } = inForce;
    // Over a maximum that has fallen there is only what is lent.
    if (stats.in_use <= maxOpen) expect(stats.open_connections + stats.connecting).toBeLessThanOrEqual(maxOpen);
    else expect(stats).toMatchObject({ idle: 0, connecting: 0 });
    expect(stats.connecting).toBeLessThanOrEqual(given.maxConnecting);
    expect(stats.acquire_count - stats.release_count).toBe(stats.in_use);
    // A holder whose resource died does not count any more; one whose resource is being reset still does.
    const inHand = new Set(held.map(({ lease }) => lease.resource).filter(({ alive }) => alive));
    expect(inHand.size).toBeLessThanOrEqual(stats.in_use);
    expect(stats.pending).toBe(waiting.length);
    expect(factory.made.filter((resource) => resource.alive).length).toBe(stats.open_connections);
    // Nobody waits beside something free, and nobody waits without an end to it.
    if (stats.pending > 0 && given.validateAfterIdleMs === Infinity) expect(stats.idle).toBe(0);
    if (stats.pending > 0) expect(fake.time.armed).toBe(1);
    if (waiting[0]?.shared === true && neverExpires() && given.maxUses === Infinity) {
      expect([...inHand].filter(hasRoom)).toEqual([]);
    }
    // Who waits has something on its way, or everything is in use; only after a failed dial there may be a pause.
    if (stats.create_count > before.create_count) failing = false;
    if (stats.create_error_count > before.create_error_count) failing = true;
    if (stats.pending > 0 && !failing) {
      expect(stats.connecting + stats.idle > 0 || stats.in_use >= maxOpen).toBe(true);
    }
    if (warming > 0 && !failing) {
      expect(stats.connecting + stats.idle > 0 || stats.in_use >= maxOpen).toBe(true);
    }
    // Who has to share has another resource on its way.
    if (pool.state === "open" && !failing && [...inHand].some((resource) => holdersOf(resource).length > 1)) {
      expect(stats.connecting + stats.idle > 0 || stats.in_use >= maxOpen).toBe(true);
    }
    const { acquire_count, pipelined_count } = stats;
    const ended = acquire_count + pipelined_count + stats.timeout_count + stats.canceled_count + stats.rejected_count;
    expect(ended + stats.pending).toBeLessThanOrEqual(asked);
    for (const [name, value] of Object.entries(stats)) {
      if (/_count$|_closed$/.test(name)) expect(value).toBeGreaterThanOrEqual(before[name as keyof ResourcePoolStats]);
    }
    before = stats;
  }

  /** From now on no listener calls back. */
  const calm = (): void => {
    callsLeft = 0;
  };

  return { ...fake, inForce, held, waiting, play, check, calm };
}

test("in every order of events the pool's books balance, nobody is overtaken, and nothing is lent twice", async () => {
  await fc.assert(
    fc.asyncProperty(settings, fc.array(step, { maxLength: 60, size: "max" }), async (given, steps) => {
      const run = harness(given);
      run.check();
      for (const action of steps) {
        await run.play(action);
        run.check();
      }
    }),
    { numRuns: 300 },
  );
});

test("whatever happened, every slot comes back: afterwards the pool can lend its maximum again", async () => {
  await fc.assert(
    fc.asyncProperty(settings, fc.array(step, { maxLength: 40, size: "max" }), async (given, steps) => {
      const run = harness(given);
      const { pool, factory, held, waiting } = run;
      for (const action of steps) await run.play(action);
      run.calm();
      for (const { controller } of waiting) controller.abort();
      // Who leaves may have stood in the way of the next.
      await settle();
      for (const { lease } of held.splice(0)) lease.release();
      // What hangs now hangs for ever, and has to be given up by the pool's own deadlines.
      for (const hung of [factory.dials, factory.validations, factory.resets]) hung.length = 0;
      await run.time.advance(15_000);
      // From now on the far end is healthy.
      const answerAll = async (): Promise<void> => {
        for (const dial of factory.dials.splice(0)) dial.resolve();
        for (const validation of factory.validations.splice(0)) validation.resolve(true);
        await settle();
      };
      await answerAll();
      await run.time.advance(2_000);
      await answerAll();
      const leases = Promise.all(
        Array.from({ length: run.inForce.maxOpen }, () => pool.acquire({ timeoutMs: 60_000 })),
      );
      let served = 0;
      void leases.then((all) => {
        served = all.length;
      });
      for (let round = 0; round < 50; round++) {
        await answerAll();
        await run.time.advance(100);
      }
      expect(served).toBe(run.inForce.maxOpen);
      expect(pool.getStats()).toMatchObject({ in_use: run.inForce.maxOpen, pending: 0, connecting: 0 });
      for (const lease of await leases) lease.release();
    }),
    { numRuns: 200 },
  );
});

test("whenever it is closed, close ends by its deadline, with nothing open and nobody waiting", async () => {
  await fc.assert(
    fc.asyncProperty(
      settings,
      fc.array(step, { maxLength: 40, size: "max" }),
      fc.array(step, { maxLength: 10, size: "max" }),
      async (given, steps, after) => {
        const run = harness(given);
        for (const action of steps) await run.play(action);
        const closing = run.pool.close(1_000);
        let closed = false;
        void closing.then(() => {
          closed = true;
        });
        for (const action of after) await run.play(action);
        await run.time.advance(1_000);
        await settle();
        expect(closed).toBe(true);
        const stats = run.pool.getStats();
        expect(stats).toMatchObject({ open_connections: 0, connecting: 0, pending: 0, in_use: 0 });
        expect(stats.acquire_count).toBe(stats.release_count);
        expect(run.waiting).toEqual([]);
        for (const dial of run.factory.dials.splice(0)) dial.resolve();
        await settle();
        expect(run.factory.made.every((resource) => resource.closed || !resource.alive)).toBe(true);
        expect(run.time.armed).toBe(0);
      },
    ),
    { numRuns: 200 },
  );
});
