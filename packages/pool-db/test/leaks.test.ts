import { expect, test } from "vitest";
import { fakePool, settle } from "./fake-resources.ts";

/** A pool that looks for leaks, and what it has said of them. */
function watched(settings: Parameters<typeof fakePool>[0] = {}) {
  const said: { what: "leaked" | "returned" | "had ended"; id: number; heldMs: number; stack: string }[] = [];
  const fake = fakePool(
    { leakThresholdMs: 1_000, ...settings },
    {
      leaked: ({ id }, { stack = "" }, heldMs) => void said.push({ what: "leaked", id, heldMs, stack }),
      leakReturned: ({ id }, ended, heldMs) =>
        void said.push({ what: ended ? "had ended" : "returned", id, heldMs, stack: "" }),
    },
  );
  return { ...fake, said };
}

test("a lease that lasts for too long is reported once, with the place of its acquire, and again when it ends", async () => {
  const { pool, time, lease, said } = watched();
  const forgotten = await lease();
  await time.advance(999);
  expect(said).toEqual([]);
  await time.advance(1);
  expect(said).toMatchObject([{ what: "leaked", id: 0, heldMs: 1_000 }]);
  expect(said[0]?.stack).toContain("leaks.test.ts");
  await time.advance(10_000);
  expect(said).toHaveLength(1);
  forgotten.release();
  expect(said[1]).toMatchObject({ what: "returned", id: 0, heldMs: 11_000 });
  expect(pool.getStats()).toMatchObject({ leak_count: 1, idle: 1 });
  expect(time.armed).toBe(0);
});

test("a lease that ends in time is not reported, and nothing rings for it", async () => {
  const { pool, time, lease, said } = watched();
  (await lease()).release();
  pool.take()?.release();
  await time.advance(5_000);
  expect(said).toEqual([]);
  expect(pool.getStats()).toMatchObject({ leak_count: 0 });
});

test("a waiter's place is where it asked, and its time begins when it is served", async () => {
  const { pool, time, lease, said } = watched({ maxOpen: 1 });
  const first = await lease();
  const waiting = pool.acquire();
  await time.advance(800);
  first.release();
  await waiting;
  await time.advance(999);
  expect(said).toEqual([]);
  await time.advance(1);
  expect(said).toMatchObject([{ what: "leaked", heldMs: 1_000 }]);
  expect(said[0]?.stack).toContain("leaks.test.ts");
});

test("each holder of a shared resource is a lease of its own", async () => {
  const { pool, time, lease, said } = watched({ maxOpen: 1, maxShares: 3 });
  (await lease()).release();
  const first = pool.takeShared();
  pool.takeShared();
  await time.advance(500);
  first?.release();
  await time.advance(500);
  expect(said).toHaveLength(1);
});

test("what died while it was lent holds no place any more and is not reported", async () => {
  const { time, lease, said } = watched();
  const held = await lease();
  held.resource.alive = false;
  held.resource.lost(new Error("connection reset"));
  await time.advance(2_000);
  expect(said).toEqual([]);
  held.release();
});

test("a reported lease that was killed at the pool's end is not said to have been returned", async () => {
  const { pool, time, lease, said } = watched();
  const forgotten = await lease();
  await time.advance(1_000);
  await pool.destroy();
  forgotten.release();
  expect(said).toMatchObject([{ what: "leaked" }, { what: "had ended" }]);
});

test("a reported lease whose connection died long before it was released is said to have ended", async () => {
  const { time, lease, said } = watched();
  const forgotten = await lease();
  await time.advance(1_000);
  forgotten.resource.alive = false;
  forgotten.resource.lost(new Error("connection reset"));
  await lease();
  await time.advance(5_000);
  forgotten.release();
  expect(said.filter(({ id }) => id === 0)).toMatchObject([{ what: "leaked" }, { what: "had ended", heldMs: 6_000 }]);
});

test("the look-out can be turned on and off while the pool runs", async () => {
  const { pool, time, lease, said } = watched({ leakThresholdMs: Infinity });
  await lease();
  await time.advance(5_000);
  pool.configure({ leakThresholdMs: 100 });
  await lease();
  await time.advance(100);
  expect(said).toMatchObject([{ id: 1 }]);
  await lease();
  pool.configure({ leakThresholdMs: Infinity });
  await time.advance(5_000);
  expect(said).toHaveLength(1);
});

test("who waits in vain is told of the oldest lease, and where it was acquired", async () => {
  const { pool, time, lease } = watched({ maxOpen: 1, leakThresholdMs: 60_000 });
  await lease();
  await time.advance(200);
  const waiting = pool.acquire({ timeoutMs: 300 }).catch((error: unknown) => error);
  await time.advance(300);
  expect(((await waiting) as Error).message).toMatch(
    /; the oldest lease is 500 ms old, acquired at \S*fake-resources\.ts:\d+:\d+\)\. Raise maxOpenConns/,
  );
  const blind = watched({ maxOpen: 1, leakThresholdMs: Infinity });
  await blind.lease();
  const late = blind.pool.acquire({ timeoutMs: 300 }).catch((error: unknown) => error);
  await blind.time.advance(300);
  await settle();
  expect(((await late) as Error).message).toContain("the oldest lease is 300 ms old). Raise");
});
