import { expect, test } from "vitest";
import { AcquireTimeoutError, ConnectError, PoolClosedError } from "../src/index.ts";
import type { Lease } from "../src/pool/slot.ts";
import { fakePool, settle, type FakeResource } from "./fake-resources.ts";

/** So many open resources, all lent. */
async function lent(fake: ReturnType<typeof fakePool>, count: number): Promise<Lease<FakeResource>[]> {
  const leases: Lease<FakeResource>[] = [];
  while (leases.length < count) leases.push(await fake.lease());
  return leases;
}

test("a maximum that falls closes what is free at once, and what is lent as it returns", async () => {
  const fake = fakePool({ maxOpen: 4, maxIdle: 4 });
  const [first, second, third, fourth] = await lent(fake, 4);
  fourth?.release();
  fake.pool.configure({ maxOpen: 2, maxIdle: 2 });
  expect(fake.pool.getStats()).toMatchObject({ open_connections: 3, in_use: 3, idle: 0, max_open_closed: 1 });
  second?.release();
  expect(fake.pool.getStats()).toMatchObject({ open_connections: 2, in_use: 2, max_open_closed: 2 });
  first?.release();
  third?.release();
  expect(fake.pool.getStats()).toMatchObject({ open_connections: 2, idle: 2, max_open_closed: 2 });
});

test("a maximum that falls calls off dials before it closes anything", async () => {
  const fake = fakePool({ maxOpen: 3 });
  (await fake.lease()).release();
  fake.pool.take();
  const waiting = [fake.pool.acquire(), fake.pool.acquire()];
  fake.pool.configure({ maxOpen: 2 });
  expect(fake.factory.dials.map((dial) => dial.aborted())).toEqual([true, false]);
  expect(fake.pool.getStats()).toMatchObject({ in_use: 1, connecting: 1, pending: 2, max_open_closed: 0 });
  fake.factory.dials[1]?.resolve();
  (await waiting[0])?.release();
  await waiting[1];
});

test("a shared resource that is surplus takes no new holders, so that it comes back", async () => {
  const fake = fakePool({ maxOpen: 2, maxShares: 5 });
  for (const lease of await lent(fake, 2)) lease.release();
  const shares = [fake.pool.takeShared(), fake.pool.takeShared()];
  fake.pool.configure({ maxOpen: 1 });
  const joined = fake.pool.takeShared();
  expect(fake.pool.takeShared()?.resource).toBe(joined?.resource);
  const alone = shares.find((lease) => lease?.resource !== joined?.resource);
  alone?.release();
  expect(fake.pool.getStats()).toMatchObject({ open_connections: 1, max_open_closed: 1 });
});

test("a maximum that rises serves those who wait", async () => {
  const fake = fakePool({ maxOpen: 1 });
  await fake.lease();
  const waiting = fake.pool.acquire();
  expect(fake.factory.dials).toHaveLength(0);
  fake.pool.configure({ maxOpen: 2 });
  await fake.dialed();
  await waiting;
});

test("a maximum of shares that rises serves those who wait for one", async () => {
  const fake = fakePool({ maxOpen: 1 });
  (await fake.lease()).release();
  const first = fake.pool.takeShared();
  const waiting = fake.pool.acquireShared();
  fake.pool.configure({ maxShares: 2 });
  expect((await waiting).resource).toBe(first?.resource);
});

test("a maximum of free connections that falls begins a new trim window", async () => {
  const fake = fakePool({ maxOpen: 4, maxIdle: 4, maxIdleTrimDelayMs: 1_000 });
  for (const lease of await lent(fake, 4)) lease.release();
  await fake.time.advance(5_000);
  fake.pool.configure({ maxIdle: 1 });
  await fake.time.advance(999);
  expect(fake.pool.getStats()).toMatchObject({ idle: 4 });
  await fake.time.advance(1);
  expect(fake.pool.getStats()).toMatchObject({ idle: 1, max_idle_closed: 3 });
  expect(fake.time.armed).toBe(0);
});

test("a new lifetime holds for what is open already, each with the share of it that was drawn for it", async () => {
  const fake = fakePool({ maxLifetimeMs: 100_000 });
  (await fake.lease()).release();
  await fake.time.advance(500);
  fake.pool.configure({ maxLifetimeMs: 1_000 });
  await fake.time.advance(449);
  expect(fake.pool.getStats()).toMatchObject({ idle: 1 });
  await fake.time.advance(1);
  expect(fake.pool.getStats()).toMatchObject({ idle: 0, max_lifetime_closed: 1 });
});

test("a new idle time holds for what is free already", async () => {
  const fake = fakePool();
  (await fake.lease()).release();
  await fake.time.advance(500);
  fake.pool.configure({ maxIdleTimeMs: 600 });
  await fake.time.advance(100);
  expect(fake.pool.getStats()).toMatchObject({ idle: 0, max_idle_time_closed: 1 });
});

test("a minimum of free connections that rises is dialled for, once the pool has been used", async () => {
  const fake = fakePool({ maxOpen: 4, maxIdle: 4 });
  fake.pool.configure({ minIdle: 1 });
  expect(fake.factory.dials).toHaveLength(0);
  (await fake.lease()).release();
  for (const dial of fake.factory.dials.splice(0)) dial.resolve();
  await settle();
  fake.pool.configure({ minIdle: 3 });
  expect(fake.factory.dials).toHaveLength(1);
});

test("warming up dials, a few at a time, until so many are open, and says how many are", async () => {
  const fake = fakePool({ maxOpen: 5, maxIdle: 5, maxConnecting: 2 });
  const held = await fake.lease();
  const warm = fake.pool.warm(4);
  expect(fake.factory.dials).toHaveLength(2);
  for (let count = 0; count < 3; count++) await fake.dialed();
  expect(await warm).toBe(4);
  expect(fake.factory.dials).toHaveLength(0);
  expect(await fake.pool.warm(2)).toBe(4);
  held.release();
  expect(fake.pool.getStats()).toMatchObject({ idle: 4, acquire_count: 1 });
});

test("what a warm-up opens beyond the maximum of free ones is no surplus before it is done", async () => {
  const fake = fakePool({ maxOpen: 3, maxIdle: 1, maxIdleTrimDelayMs: 0 });
  const warm = fake.pool.warm(3);
  for (let count = 0; count < 3; count++) await fake.dialed();
  expect(await warm).toBe(3);
  await fake.time.advance(1);
  expect(fake.pool.getStats()).toMatchObject({ idle: 1, max_idle_closed: 2 });
});

test("warming up ends at its deadline, at its signal, at a refusal with nothing open, and with the pool", async () => {
  const late = fakePool({ maxOpen: 2 });
  const tooLate = late.pool.warm(2, { timeoutMs: 100 }).catch((error: unknown) => error);
  await late.dialed();
  late.factory.dials.shift()?.reject(new Error("too many clients"));
  await settle();
  await late.time.advance(100);
  const error = await tooLate;
  expect(error).toBeInstanceOf(AcquireTimeoutError);
  expect((error as Error).message).toContain("warm(2) was not done after 100 ms (open 1, in_use 0, idle 1, connecting");
  expect((error as Error).message).toContain("last connect error: too many clients");

  const aborted = fakePool();
  const controller = new AbortController();
  const leaving = aborted.pool.warm(2, { signal: controller.signal });
  controller.abort(new Error("gone"));
  await expect(leaving).rejects.toThrow("gone");
  await expect(aborted.pool.warm(2, { signal: controller.signal })).rejects.toThrow("gone");
  await aborted.dialed();
  expect(aborted.pool.getStats()).toMatchObject({ idle: 1 });

  const refused = fakePool({ maxOpen: 1 });
  const refusal = expect(refused.pool.warm(1)).rejects.toThrow(ConnectError);
  refused.factory.dials.shift()?.reject(new Error("wrong password"));
  await refusal;

  const closed = fakePool();
  const ended = expect(closed.pool.warm(1)).rejects.toThrow(PoolClosedError);
  await closed.pool.close(0);
  await ended;
  await expect(closed.pool.warm(1)).rejects.toThrow(PoolClosedError);
});

test("a reset closes what is free at once and what is lent at its release, and calls off dials under way", async () => {
  const fake = fakePool({ maxOpen: 3 });
  const [first, second] = await lent(fake, 2);
  second?.release();
  fake.pool.take();
  const waiting = fake.pool.acquire();
  fake.pool.reset();
  expect(fake.factory.dials.map((dial) => dial.aborted())).toEqual([true, false]);
  first?.release();
  expect(fake.factory.made[0]?.closed).toBe(true);
  expect(fake.pool.getStats()).toMatchObject({ in_use: 1, reset_closed: 1 });
  fake.factory.dials[1]?.resolve();
  expect((await waiting).resource).toBe(fake.factory.made[2]);
  expect(fake.pool.getStats()).toMatchObject({ in_use: 2, broken_closed: 0 });
});

test("after a reset nobody joins a shared resource from before it", async () => {
  const fake = fakePool({ maxOpen: 2, maxShares: 5 });
  (await fake.lease()).release();
  const before = fake.pool.takeShared();
  fake.pool.reset();
  const after = fake.pool.acquireShared();
  await fake.dialed();
  expect((await after).resource).not.toBe(before?.resource);
  before?.release();
  expect(fake.pool.getStats()).toMatchObject({ reset_closed: 1, open_connections: 1 });
});

test("a reset while one is being cleaned closes it after that", async () => {
  const fake = fakePool({ maxOpen: 1 });
  const lease = await fake.lease();
  fake.factory.nextReset = "later";
  lease.release();
  fake.pool.reset();
  fake.factory.resets.shift()?.resolve("clean");
  await settle();
  expect(fake.pool.getStats()).toMatchObject({ open_connections: 0, reset_closed: 1 });
});
