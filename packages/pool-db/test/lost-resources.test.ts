import { expect, test } from "vitest";
import { fakePool, settle } from "./fake-resources.ts";

test("a free resource that reports an error leaves at once, and its end later is no second loss", async () => {
  const told: string[] = [];
  const { pool, lease } = fakePool({}, { idleLost: (_resource, error) => void told.push(error.message) });
  const lent = await lease();
  lent.release();
  lent.resource.lost(new Error("about to end"), false);
  expect(pool.getStats()).toMatchObject({ open_connections: 0, broken_closed: 1 });
  expect(lent.resource.closed).toBe(true);
  lent.resource.lost(new Error("ended"), true);
  expect(told).toEqual(["about to end"]);
  expect(pool.getStats()).toMatchObject({ broken_closed: 1 });
});

test("a lent resource that reports an error is its holder's until it ends or comes back", async () => {
  const told: string[] = [];
  const { pool, lease } = fakePool({}, { idleLost: (_resource, error) => void told.push(error.message) });
  const lent = await lease();
  lent.resource.lost(new Error("about to end"), false);
  expect(pool.getStats()).toMatchObject({ in_use: 1, broken_closed: 0 });
  lent.resource.lost(new Error("ended"), true);
  expect(pool.getStats()).toMatchObject({ in_use: 0, open_connections: 0, broken_closed: 1 });
  lent.release();
  expect(told).toEqual([]);
  expect(pool.getStats()).toMatchObject({ acquire_count: 1, release_count: 1, broken_closed: 1 });
});

test("a resource that is lost while it is cleaned is nobody's, so the pool tells of it", async () => {
  const told: string[] = [];
  const { pool, factory, lease } = fakePool({}, { idleLost: (_resource, error) => void told.push(error.message) });
  const lent = await lease();
  factory.nextReset = "later";
  lent.release();
  lent.resource.lost(new Error("about to end"), false);
  expect(pool.getStats()).toMatchObject({ in_use: 0, open_connections: 0, broken_closed: 1, release_count: 1 });
  factory.resets[0]?.resolve("clean");
  await settle();
  expect(told).toEqual(["about to end"]);
  expect(pool.getStats()).toMatchObject({ open_connections: 0, broken_closed: 1 });
});
