import { expect, test } from "vitest";
import { AcquireTimeoutError, ConnectError, LeaseReleasedError, QueueFullError } from "../src/index.ts";
import type { Lease } from "../src/pool/slot.ts";
import { fakePool, settle, type FakeResource } from "./fake-resources.ts";

test("a waiter takes what becomes free first, and the dial that it caused serves the next", async () => {
  const { pool, factory, lease, dialed } = fakePool({ maxOpen: 2 });
  const first = await lease();
  const waiting = pool.acquire();
  expect(factory.dials).toHaveLength(1);
  first.release();
  expect((await waiting).resource).toBe(first.resource);
  await dialed();
  expect(pool.getStats()).toMatchObject({ open_connections: 2, in_use: 1, idle: 1 });
});

test("a burst that a few connections can serve opens only as many as may be dialled at a time", async () => {
  const { pool, factory, lease } = fakePool({ maxOpen: 50, maxConnecting: 1 });
  const open = await lease();
  const served: Promise<void>[] = Array.from({ length: 50 }, () =>
    pool.acquire().then((borrowed) => void setImmediate(() => borrowed.release())),
  );
  open.release();
  await Promise.all(served);
  expect(factory.made).toHaveLength(1);
  expect(factory.dials).toHaveLength(1);
});

test("an aborted waiter's dial is kept for the next one", async () => {
  const { pool, factory, dialed } = fakePool();
  const controller = new AbortController();
  const waiting = pool.acquire({ signal: controller.signal });
  controller.abort(new Error("gone"));
  await expect(waiting).rejects.toThrow("gone");
  await dialed();
  expect(pool.take()?.resource).toBe(factory.made[0]);
});

test("one deadline covers queue, dial and check together", async () => {
  const { pool, time, factory, lease } = fakePool({
    acquireTimeoutMs: 100,
    validateAfterIdleMs: 10,
    validateTimeoutMs: 70,
  });
  (await lease()).release();
  await time.advance(50);
  const waiting = pool.acquire().catch((error: unknown) => error);
  expect(factory.validations).toHaveLength(1);
  await time.advance(70);
  expect(factory.made[0]?.closed).toBe(true);
  expect(factory.dials).toHaveLength(1);
  await time.advance(29);
  expect(pool.waiting).toBe(1);
  await time.advance(1);
  const error = await waiting;
  expect(error).toBeInstanceOf(AcquireTimeoutError);
  expect((error as Error).message).toContain(
    "timeout after 100 ms (acquireTimeoutMs 100; open 0, in_use 0, idle 0, connecting 1, waiting 1)",
  );
});

test("a check that fails costs the waiter another connection, not its turn", async () => {
  const { pool, time, factory, lease } = fakePool({ maxOpen: 2, validateAfterIdleMs: 10 });
  const both = await Promise.all([lease(), lease()]);
  for (const borrowed of both) borrowed.release();
  await time.advance(50);
  const waiting = pool.acquire();
  factory.validations.shift()?.resolve(false);
  await settle();
  factory.validations.shift()?.resolve(true);
  const borrowed = await waiting;
  expect(borrowed.resource.alive).toBe(true);
  expect(pool.getStats()).toMatchObject({ broken_closed: 1, open_connections: 1, in_use: 1 });
});

test("lifetimes are jittered once, by at most 10 % downwards, and end free connections on time", async () => {
  for (const [random, expected] of [
    [0, 1_000],
    [0.999_999, 900],
  ] as const) {
    const { pool, time, lease } = fakePool({ maxLifetimeMs: 1_000, random: () => random });
    (await lease()).release();
    await time.advance(expected - 1);
    expect(pool.getStats()).toMatchObject({ idle: 1, max_lifetime_closed: 0 });
    await time.advance(2);
    expect(pool.getStats()).toMatchObject({ idle: 0, max_lifetime_closed: 1 });
  }
});

test("a connection that is past its life while lent is closed at its release", async () => {
  const { pool, time, lease } = fakePool({ maxLifetimeMs: 1_000 });
  const borrowed = await lease();
  await time.advance(5_000);
  expect(pool.expired).toBe(1);
  expect(pool.getStats().in_use).toBe(1);
  borrowed.release();
  expect(pool.getStats()).toMatchObject({ open_connections: 0, max_lifetime_closed: 1 });
});

test("connections unused for the idle time are closed, down to minIdle", async () => {
  const { pool, time, factory, lease } = fakePool({ maxOpen: 4, maxIdle: 4, minIdle: 1, maxIdleTimeMs: 1_000 });
  const leases = [await lease(), await lease(), await lease()];
  for (const borrowed of leases) borrowed.release();
  await time.advance(1_001);
  expect(pool.getStats()).toMatchObject({ idle: 1, max_idle_time_closed: 2 });
  expect(factory.dials.length).toBeLessThanOrEqual(1);
});

test("only what was surplus for the whole trim window is closed", async () => {
  const { pool, time, lease } = fakePool({ maxOpen: 6, maxIdle: 1, maxIdleTrimDelayMs: 1_000 });
  const leases = [await lease(), await lease(), await lease(), await lease()];
  for (const borrowed of leases) borrowed.release();
  await time.advance(500);
  // In the middle of the window three of the four are needed.
  const burst = [pool.take(), pool.take(), pool.take()];
  for (const borrowed of burst) borrowed?.release();
  await time.advance(500);
  expect(pool.getStats()).toMatchObject({ idle: 4, max_idle_closed: 0 });
  await time.advance(1_000);
  expect(pool.getStats()).toMatchObject({ idle: 1, max_idle_closed: 3 });
});

test("without a trim delay a surplus connection is closed at its release, as Go does", async () => {
  const { pool, lease } = fakePool({ maxIdle: 1, maxIdleTrimDelayMs: 0 });
  const leases = [await lease(), await lease(), await lease()];
  for (const borrowed of leases) borrowed.release();
  expect(pool.getStats()).toMatchObject({ idle: 1, max_idle_closed: 2 });
});

test("minIdle is kept from the first use on", async () => {
  const { pool, factory, dialed, lease } = fakePool({ maxOpen: 4, minIdle: 2 });
  expect(factory.dials).toHaveLength(0);
  await lease();
  expect(factory.dials).toHaveLength(2);
  await dialed();
  await dialed();
  expect(pool.getStats()).toMatchObject({ in_use: 1, idle: 2, connecting: 0 });
});

test("maxUses closes a connection after so many leases", async () => {
  const { pool, lease } = fakePool({ maxUses: 2 });
  (await lease()).release();
  pool.take()?.release();
  expect(pool.getStats()).toMatchObject({ open_connections: 0, max_uses_closed: 1 });
});

test("beyond maxWaiting an acquire is refused at once, but free capacity may always be waited for", async () => {
  const { pool, dialed } = fakePool({ maxOpen: 2, maxWaiting: 1 });
  const accepted = [pool.acquire(), pool.acquire(), pool.acquire()];
  await expect(pool.acquire()).rejects.toThrow(QueueFullError);
  await dialed();
  await dialed();
  await expect(pool.acquire()).rejects.toThrow(
    "as maxWaiting allows, 1 (open 2, in_use 2, idle 0, connecting 0, waiting 1",
  );
  expect(pool.getStats()).toMatchObject({ rejected_count: 2, pending: 1, in_use: 2 });
  (await (accepted[0] as (typeof accepted)[0])).release();
  await Promise.all(accepted);
});

test("a failed dial does not refuse those who may still be served by what is open", async () => {
  const { pool, time, factory, lease } = fakePool({ maxOpen: 2 });
  const held = await lease();
  const waiting = pool.acquire({ timeoutMs: 500 });
  factory.dials.shift()?.reject(new Error("too many clients"));
  await settle();
  expect(pool.waiting).toBe(1);
  held.release();
  expect((await waiting).resource).toBe(held.resource);
  const late = pool.acquire({ timeoutMs: 500 }).catch((error: unknown) => error);
  await time.advance(600);
  const error = await late;
  expect((error as Error).message).toContain("last connect error: too many clients");
  expect((error as Error).cause).toMatchObject({ message: "too many clients" });
});

test("while nothing can be opened, one probe at a time dials, with a growing pause, and success ends it", async () => {
  const { pool, time, factory, dialed } = fakePool({ maxOpen: 10, random: () => 1 });
  const pauses: number[] = [];
  for (let attempt = 0; attempt < 8; attempt++) {
    const waiting = [pool.acquire(), pool.acquire()].map((promise) => promise.catch((error: unknown) => error));
    const since = time.now();
    while (factory.dials.length === 0) await time.advance(1);
    pauses.push(time.now() - since);
    if (attempt > 0) expect(factory.dials).toHaveLength(1);
    for (const dial of factory.dials.splice(0)) dial.reject(new Error("refused"));
    expect(await waiting[1]).toBeInstanceOf(ConnectError);
  }
  // The first attempt dials for both waiters; each of the two failures counts.
  expect(pauses).toEqual([0, 50, 100, 200, 400, 800, 1_000, 1_000]);
  const waiting = pool.acquire();
  await time.advance(1_000);
  await dialed();
  (await waiting).release();
  expect(pool.getStats()).toMatchObject({ create_error_count: 9, create_count: 1, connecting: 0 });
});

test("a dial that never ends is given up after its own deadline, and a late success is closed", async () => {
  const { pool, time, factory } = fakePool({ createTimeoutMs: 200 });
  const waiting = pool.acquire().catch((error: unknown) => error);
  await time.advance(200);
  expect(await waiting).toBeInstanceOf(ConnectError);
  expect(factory.dials[0]?.aborted()).toBe(true);
  expect(pool.connecting).toBe(0);
  factory.dials[0]?.resolve();
  await settle();
  expect(factory.made[0]?.closed).toBe(true);
  expect(pool.getStats()).toMatchObject({ open_connections: 0, create_count: 0, create_error_count: 1 });
});

test("a reset that never ends is given up: the connection is closed as dirty and its slot is free", async () => {
  const { pool, time, factory, lease } = fakePool({ maxOpen: 1 });
  const borrowed = await lease();
  factory.nextReset = "later";
  borrowed.release();
  expect(pool.getStats()).toMatchObject({ in_use: 1, release_count: 0 });
  await time.advance(1_000);
  expect(pool.getStats()).toMatchObject({ in_use: 0, release_count: 1, dirty_closed: 1, open_connections: 0 });
});

test("a second release is an error and releases nobody else's lease", async () => {
  const { pool, lease } = fakePool({ maxOpen: 1 });
  const first = await lease();
  first.release();
  const second = pool.take();
  expect(() => first.release()).toThrow(LeaseReleasedError);
  expect(second?.released).toBe(false);
  expect(pool.inUse).toBe(1);
});

test("waits are counted when they end, however they end, and only if there was one", async () => {
  const { pool, time, lease } = fakePool({ maxOpen: 1 });
  const borrowed = await lease();
  const timedOut = pool.acquire({ timeoutMs: 40 }).catch(() => undefined);
  const served = pool.acquire();
  await time.advance(60);
  await timedOut;
  borrowed.release();
  (await served).release();
  pool.take()?.release();
  expect(pool.getStats()).toMatchObject({
    acquire_count: 3,
    wait_count: 3,
    wait_duration_ms: 100,
    avg_wait_time_ms: 100 / 3,
    wait_p99_ms: 60,
    use_p99_ms: 60,
    timeout_count: 1,
  });
});

test("who borrows while a removal is announced gets nothing that is about to be closed", async () => {
  const borrowed: (Lease<FakeResource> | undefined)[] = [];
  let borrowing = false;
  const { pool, time, lease } = fakePool(
    { maxOpen: 4, maxIdle: 0, maxIdleTrimDelayMs: 1_000 },
    {
      removed: () => {
        if (borrowing) borrowed.push(pool.take());
      },
    },
  );
  const leases = [await lease(), await lease(), await lease(), await lease()];
  for (const each of leases) each.release();
  // The first window began with one free connection, so only one was surplus for all of it.
  await time.advance(1_000);
  borrowing = true;
  await time.advance(1_000);
  expect(borrowed).toEqual([undefined, undefined, undefined]);
  expect(pool.getStats()).toMatchObject({ idle: 0, in_use: 0, open_connections: 0, max_idle_closed: 4 });
});

test("a waiter that is handed a connection is told of after the one who released it", async () => {
  const events: string[] = [];
  const { pool, lease } = fakePool(
    { maxOpen: 1 },
    { acquired: () => void events.push("acquired"), released: () => void events.push("released") },
  );
  const first = await lease();
  const waiting = pool.acquire();
  first.release();
  (await waiting).release();
  expect(events).toEqual(["acquired", "released", "acquired", "released"]);
});

test("a reset that throws closes the connection and costs no slot", async () => {
  const { pool, factory, lease } = fakePool({ maxOpen: 1 });
  const borrowed = await lease();
  factory.nextReset = "throws";
  borrowed.release();
  expect(pool.getStats()).toMatchObject({ in_use: 0, open_connections: 0, broken_closed: 1, release_count: 1 });
});

test("a check that is silent for 250 ms no longer holds up its waiter: a dial begins beside it", async () => {
  const { pool, time, factory, lease, dialed } = fakePool({ maxOpen: 2, validateAfterIdleMs: 10 });
  (await lease()).release();
  await time.advance(50);
  const waiting = pool.acquire();
  await time.advance(249);
  expect(factory.dials).toHaveLength(0);
  await time.advance(1);
  expect(factory.dials).toHaveLength(1);
  await dialed();
  expect((await waiting).resource).toBe(factory.made[1]);
  expect(pool.getStats()).toMatchObject({ open_connections: 2, in_use: 1, idle: 1, wait_count: 2 });
  await time.advance(750);
  expect(pool.getStats()).toMatchObject({ open_connections: 1, in_use: 1, broken_closed: 1 });
});

test("where there is no room for a dial, a silent check has the next connection checked", async () => {
  const { pool, time, factory, lease } = fakePool({ maxOpen: 2, validateAfterIdleMs: 10 });
  const both = [await lease(), await lease()];
  for (const each of both) each.release();
  await time.advance(50);
  const waiting = pool.acquire();
  expect(factory.validations).toHaveLength(1);
  await time.advance(250);
  expect(factory.dials).toHaveLength(0);
  expect(factory.validations).toHaveLength(2);
  // Late, but first: it serves the waiter all the same.
  factory.validations[0]?.resolve(true);
  expect((await waiting).resource).toBe(both[1]?.resource);
  factory.validations[1]?.resolve(true);
  await settle();
  expect(pool.getStats()).toMatchObject({ open_connections: 2, in_use: 1, idle: 1, broken_closed: 0 });
});

test("a free connection that only had to be checked is no wait", async () => {
  const { pool, time, factory, lease } = fakePool({ validateAfterIdleMs: 10 });
  (await lease()).release();
  for (let round = 0; round < 5; round++) {
    await time.advance(50);
    const waiting = pool.acquire();
    await time.advance(3);
    factory.validations.shift()?.resolve(true);
    (await waiting).release();
  }
  // The one wait is that for the dial.
  expect(pool.getStats()).toMatchObject({ acquire_count: 6, wait_count: 1, wait_duration_ms: 0, validate_count: 5 });
});

test("close() cuts the goodbyes that have not been answered at its deadline, and kills nobody by it", async () => {
  const { pool, factory, time, lease } = fakePool();
  (await lease()).release();
  const closes: boolean[] = [];
  let answer = (): void => undefined;
  factory.close = (_resource, hard) => {
    closes.push(hard);
    if (!hard) return new Promise<void>((resolve) => (answer = resolve));
    answer();
    return Promise.resolve();
  };
  const closed = pool.close(100);
  await time.advance(99);
  expect(closes).toEqual([false]);
  await time.advance(1);
  expect(closes).toEqual([false, true]);
  expect(await closed).toMatchObject({ durationMs: 100, killed: [], rejectedWaiters: 0 });
  expect(pool.state).toBe("closed");
});
