import { expect, test } from "vitest";
import type { Lease } from "../src/pool/slot.ts";
import { fakePool, settle, type FakeResource } from "./fake-resources.ts";

/** A pool with one open resource, free, and no room for another. */
async function poolOfOne(settings: Parameters<typeof fakePool>[0] = {}) {
  const fake = fakePool({ maxOpen: 1, maxShares: 3, ...settings });
  (await fake.lease()).release();
  return fake;
}

/** Shares of a pool that must have them at once. */
function share({ pool }: Pick<ReturnType<typeof fakePool>, "pool">): Lease<FakeResource> {
  const lease = pool.takeShared();
  if (lease === undefined) throw new Error("there is no share to be had");
  return lease;
}

test("a shared acquire takes a free resource first, and joins others only when there is none", async () => {
  const fake = fakePool({ maxOpen: 2, maxShares: 2 });
  for (const lease of [await fake.lease(), await fake.lease()]) lease.release();
  const holders = [share(fake), share(fake), share(fake), share(fake)].map(({ resource }) => resource.id);
  expect(new Set(holders.slice(0, 2)).size).toBe(2);
  expect(holders.toSorted((a, b) => a - b)).toEqual([0, 0, 1, 1]);
  expect(fake.pool.takeShared()).toBeUndefined();
  expect(fake.pool.getStats()).toMatchObject({ acquire_count: 4, in_use: 2, pipelined_count: 2, pending: 0 });
});

test("a newcomer joins the resource with the fewest holders", async () => {
  const fake = fakePool({ maxOpen: 2, maxShares: 3 });
  for (const lease of [await fake.lease(), await fake.lease()]) lease.release();
  const [first, second, third] = [share(fake), share(fake), share(fake)];
  expect(third.resource).toBe(first.resource);
  expect(share(fake).resource).toBe(second.resource);
  first.release();
  expect(share(fake).resource).toBe(third.resource);
});

test("with maxShares 1 a shared acquire is like any other", async () => {
  const fake = await poolOfOne({ maxShares: 1 });
  const first = share(fake);
  expect(fake.pool.takeShared()).toBeUndefined();
  const waiting = fake.pool.acquireShared();
  first.release();
  expect((await waiting).resource).toBe(first.resource);
  expect(fake.pool.getStats()).toMatchObject({ pipelined_count: 0, acquire_count: 3 });
});

test("an exclusive lease is never joined, and never made of a shared resource", async () => {
  const fake = await poolOfOne();
  const alone = fake.pool.take();
  expect(fake.pool.takeShared()).toBeUndefined();
  alone?.release();
  share(fake);
  expect(fake.pool.take()).toBeUndefined();
});

test("nobody joins behind something slow, until it is the next one's turn", async () => {
  const fake = await poolOfOne({ maxShareAgeMs: 100 });
  const first = share(fake);
  await fake.time.advance(60);
  share(fake);
  await fake.time.advance(41);
  const waiting = fake.pool.acquireShared();
  expect(fake.pool.waiting).toBe(1);
  first.release();
  expect((await waiting).resource).toBe(first.resource);
  await fake.time.advance(101);
  expect(fake.pool.takeShared()).toBeUndefined();
});

test("a shared acquire that waits is served as soon as one of the holders leaves", async () => {
  const fake = await poolOfOne({ maxShares: 2 });
  const [first] = [share(fake), share(fake)];
  const waiting = fake.pool.acquireShared();
  expect(fake.pool.waiting).toBe(1);
  first.release();
  await waiting;
  expect(fake.pool.getStats()).toMatchObject({ in_use: 1, acquire_count: 2, pipelined_count: 2, wait_count: 2 });
});

test("an exclusive waiter at the head ends all joining, so that a resource drains for it; the line stays in order", async () => {
  const fake = await poolOfOne();
  const [first, second] = [share(fake), share(fake)];
  const order: string[] = [];
  const exclusive = fake.pool.acquire().then((lease) => (order.push("exclusive"), lease));
  const behind = [fake.pool.acquireShared(), fake.pool.acquireShared()].map((promise) =>
    promise.then((lease) => (order.push("shared"), lease)),
  );
  expect(fake.pool.takeShared()).toBeUndefined();
  first.release();
  await settle();
  expect(order).toEqual([]);
  second.release();
  const lease = await exclusive;
  await settle();
  expect(order).toEqual(["exclusive"]);
  lease.release();
  await Promise.all(behind);
  expect(fake.pool.getStats()).toMatchObject({ in_use: 1, pending: 0 });
});

test("holders beyond the first are demand: the pool grows while it answers, and what is new is taken first", async () => {
  const fake = await poolOfOne({ maxOpen: 3, maxShares: 10 });
  share(fake);
  expect(fake.factory.dials).toHaveLength(0);
  share(fake);
  expect(fake.factory.dials).toHaveLength(1);
  share(fake);
  share(fake);
  expect(fake.factory.dials).toHaveLength(2);
  await fake.dialed();
  expect(fake.pool.getStats()).toMatchObject({ in_use: 1, idle: 1, connecting: 1 });
  expect(share(fake).resource).toBe(fake.factory.made[1]);
  await fake.dialed();
  expect(share(fake).resource).toBe(fake.factory.made[2]);
  expect(fake.factory.dials).toHaveLength(0);
});

test("a dial that is refused while others share is tried again after a pause, and nobody waits for it", async () => {
  const fake = await poolOfOne({ maxOpen: 2, random: () => 1 });
  share(fake);
  share(fake);
  fake.factory.dials.shift()?.reject(new Error("refused"));
  await settle();
  expect(share(fake).resource).toBe(fake.factory.made[0]);
  await fake.time.advance(1_000);
  expect(fake.factory.dials).toHaveLength(1);
});

test("what was free for too long is checked while others share, and then serves the next", async () => {
  const fake = fakePool({ maxOpen: 2, maxShares: 10, validateAfterIdleMs: 100, maxShareAgeMs: Infinity });
  const [old, fresh] = [await fake.lease(), await fake.lease()];
  old.release();
  await fake.time.advance(200);
  fresh.release();
  expect([share(fake), share(fake)].map(({ resource }) => resource)).toEqual([fresh.resource, fresh.resource]);
  expect(fake.factory.validations).toHaveLength(1);
  fake.factory.validations.shift()?.resolve(true);
  await settle();
  expect(share(fake).resource).toBe(old.resource);
});

test("only the last holder's release resets and returns the resource", async () => {
  const events: string[] = [];
  const fake = fakePool(
    { maxOpen: 1, maxShares: 3 },
    { acquired: () => void events.push("acquired"), released: () => void events.push("released") },
  );
  (await fake.lease()).release();
  const [first, second] = [share(fake), share(fake)];
  fake.factory.nextReset = "later";
  first.release();
  expect(fake.factory.resets).toHaveLength(0);
  second.release();
  expect(fake.factory.resets).toHaveLength(1);
  expect(fake.pool.takeShared()).toBeUndefined();
  fake.factory.resets.shift()?.resolve("clean");
  await settle();
  expect(events).toEqual(["acquired", "released", "acquired", "released"]);
  expect(fake.pool.getStats()).toMatchObject({ acquire_count: 2, release_count: 2, idle: 1, pipelined_count: 1 });
});

test("a resource that one holder released as unusable takes no new ones, and is closed when the last one leaves", async () => {
  const reasons: unknown[] = [];
  const fake = fakePool(
    { maxOpen: 1, maxShares: 5 },
    { released: (_, discard) => void reasons.push(discard), removed: (_, reason) => void reasons.push(reason) },
  );
  (await fake.lease()).release();
  const [first, second, third] = [share(fake), share(fake), share(fake)];
  const unusable = new Error("unusable");
  second.release(unusable);
  expect(fake.pool.takeShared()).toBeUndefined();
  first.release();
  expect(fake.pool.getStats()).toMatchObject({ open_connections: 1, broken_closed: 0 });
  third.release();
  expect(fake.pool.getStats()).toMatchObject({ open_connections: 0, broken_closed: 1, in_use: 0 });
  expect(reasons).toEqual([undefined, unusable, "broken"]);
});

test("when a shared resource dies its slot is free at once, and the releases of its holders are only noted", async () => {
  const fake = await poolOfOne();
  const leases = [share(fake), share(fake), share(fake)];
  const [resource] = fake.factory.made;
  if (resource === undefined) throw new Error("nothing was made");
  resource.alive = false;
  resource.lost(new Error("connection reset"));
  expect(fake.pool.getStats()).toMatchObject({ open_connections: 0, in_use: 0, release_count: 2, broken_closed: 1 });
  const next = fake.pool.acquireShared();
  await fake.dialed();
  expect((await next).resource).toBe(fake.factory.made[1]);
  for (const lease of leases) lease.release(new Error("lost"));
  expect(fake.pool.getStats()).toMatchObject({ open_connections: 1, in_use: 1, release_count: 2, pending: 0 });
});

test("a shared resource that looks dead takes no new holders", async () => {
  const fake = await poolOfOne();
  const first = share(fake);
  first.resource.alive = false;
  expect(fake.pool.takeShared()).toBeUndefined();
  first.release();
  expect(fake.pool.getStats()).toMatchObject({ open_connections: 0, broken_closed: 1 });
});

test("a shared resource that is past its life or used up takes no new holders, so that it comes back", async () => {
  const old = await poolOfOne({ maxLifetimeMs: 1_000, maxShareAgeMs: Infinity });
  const held = share(old);
  await old.time.advance(1_001);
  expect(old.pool.takeShared()).toBeUndefined();
  held.release();
  expect(old.pool.getStats()).toMatchObject({ max_lifetime_closed: 1, open_connections: 0 });

  const used = await poolOfOne({ maxUses: 3 });
  const leases = [share(used), share(used)];
  expect(used.pool.takeShared()).toBeUndefined();
  for (const lease of leases) lease.release();
  expect(used.pool.getStats()).toMatchObject({ max_uses_closed: 1, open_connections: 0 });
});

test("a pool that closes waits for every holder, opens nothing for them, and reports a killed connection once", async () => {
  const fake = await poolOfOne({ maxOpen: 2 });
  const leases = [share(fake), share(fake), share(fake)];
  const closing = fake.pool.close(1_000);
  expect(fake.factory.dials[0]?.aborted()).toBe(true);
  leases[0]?.release();
  expect(fake.factory.dials).toHaveLength(1);
  await fake.time.advance(1_000);
  const { killed } = await closing;
  expect(killed).toEqual([{ resource: fake.factory.made[0], heldMs: 1_000 }]);
  leases[1]?.release();
  leases[2]?.release();
  expect(fake.pool.getStats()).toMatchObject({ in_use: 0, open_connections: 0, acquire_count: 2, release_count: 2 });
});
