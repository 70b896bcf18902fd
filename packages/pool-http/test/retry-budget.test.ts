import fc from "fast-check";
import { expect, test } from "vitest";
import { RetryBudget, RetryBudgets } from "../src/exchange/retry-budget.ts";
import { HttpNetworkError, HttpPool } from "../src/index.ts";
import { closedPort, faultServer, rejection, reply } from "./support/fault-server.ts";

const settings = fc.record({
  ratio: fc.constantFrom(0, 0.1, 0.2, 0.3, 0.5, 1, 3),
  minPerSecond: fc.constantFrom(0, 0.1, 1, 10),
});
const events = fc.array(
  fc.record({
    what: fc.constantFrom("deposit" as const, "withdraw" as const),
    afterMs: fc.oneof(fc.constant(0), fc.nat(300), fc.nat(15_000)),
  }),
  { maxLength: 300 },
);

test("in no ten seconds are there more retries than the share and the reserve, and never fewer than these allow", () => {
  fc.assert(
    fc.property(settings, events, fc.integer({ min: -20_000, max: 20_000 }), (given, script, start) => {
      const budget = new RetryBudget(given);
      const made: number[] = [];
      const retried: number[] = [];
      let now = start;
      for (const { what, afterMs } of script) {
        now += afterMs;
        // The present second and the nine before it.
        const from = (Math.floor(now / 1000) - 9) * 1000;
        const inWindow = (times: number[]) => times.filter((at) => at >= from).length;
        const allowed = given.ratio * inWindow(made) + given.minPerSecond * 10;
        if (what === "deposit") {
          budget.deposit(now);
          made.push(now);
        } else {
          const granted = budget.withdraw(now);
          expect(granted).toBe(inWindow(retried) + 1 <= allowed + 1e-9);
          if (granted) retried.push(now);
        }
      }
    }),
  );
});

test("the reserve of one second is not left over for ever, and a share of the requests comes on top", () => {
  const budget = new RetryBudget({ ratio: 0.2, minPerSecond: 10 });
  expect(budget.left(0)).toBe(100);
  for (let i = 0; i < 50; i++) budget.deposit(0);
  expect(budget.left(0)).toBe(110);
  for (let i = 0; i < 110; i++) expect(budget.withdraw(0)).toBe(true);
  expect(budget.withdraw(9_999)).toBe(false);
  expect(budget.left(10_000)).toBe(100);
});

test("a clock that stands still or goes back a little changes nothing", () => {
  const budget = new RetryBudget({ ratio: 1, minPerSecond: 0 });
  budget.deposit(5_000);
  budget.deposit(3_000);
  expect([budget.withdraw(4_000), budget.withdraw(5_000), budget.withdraw(5_000)]).toEqual([true, true, false]);
});

test("each origin has its own budget, and those that are forgotten take no room", () => {
  const budgets = new RetryBudgets({ ratio: 0, minPerSecond: 0.1 });
  expect([budgets.withdraw("a", 0), budgets.withdraw("a", 0), budgets.withdraw("b", 0)]).toEqual([true, false, true]);
  for (let i = 0; i < 100_000; i++) budgets.deposit(`https://h${i}.test`, i * 100);
  // 10 a second, all of which have made their request within the last ten seconds.
  expect(budgets.size).toBeLessThanOrEqual(400);
});

/** A pool whose clock the test moves; waits are real and last no time. */
function pooled(options: object) {
  const time = { now: 0 };
  return { time, pool: new HttpPool({ retryBaseMs: 0, clock: { now: () => time.now }, ...options }) };
}

test("an origin that answers nothing but 503 gets the share and the reserve of retries, and no storm", async () => {
  await using server = await faultServer((socket) => socket.write(reply(503, "busy")));
  const { pool, time } = pooled({ retryBudget: { ratio: 0.2, minPerSecond: 1 } });
  for (let i = 0; i < 100; i++) expect(await (await pool.get(server.url)).text()).toBe("busy");
  // 20 % of 100 and 1 a second over 10 s.
  expect(server.requests.length).toBe(130);
  expect(pool.getStats()).toMatchObject({ retry_count: 30, error_count: 100 });
  expect(pool.getStats().retries_denied).toBeGreaterThanOrEqual(85);
  expect(pool.getStats().per_origin[server.url]).toMatchObject({ retry_budget_left: 0, retry_count: 30 });
  time.now = 10_000;
  expect(pool.getStats().per_origin[server.url]).toMatchObject({ retry_budget_left: 10 });
  await pool.close();
});

test("beyond the budget a request ends with the response that it has, and says so", async () => {
  await using server = await faultServer((socket) => socket.write(reply(503, "busy")));
  const { pool } = pooled({ retryBudget: { ratio: 0, minPerSecond: 0 } });
  const response = await pool.get(server.url);
  expect([response.status, await response.text()]).toEqual([503, "busy"]);
  expect(response.attempts).toMatchObject([{ status: 503, not_retried: "budget" }]);
  const streamed = await pool.get(server.url, { stream: true });
  expect([streamed.status, await streamed.text()]).toEqual([503, "busy"]);
  expect(streamed.attempts).toMatchObject([{ status: 503, not_retried: "budget" }]);
  expect(pool.getStats()).toMatchObject({ retry_count: 0, retries_denied: 2 });
  await pool.close();
});

test("beyond the budget a request ends with the error that it has, and says so", async () => {
  await using server = await faultServer((socket) => socket.resetAndDestroy());
  const { pool } = pooled({ retryBudget: { ratio: 0.1, minPerSecond: 0 } });
  const error = await rejection<HttpNetworkError>(pool.get(server.url));
  expect(error).toBeInstanceOf(HttpNetworkError);
  expect(error.attempts).toMatchObject([{ not_retried: "budget" }]);
  expect(error.message).toContain(
    "Not retried: the budget for retries is used up (retryBudget: 10 % of the requests to this origin and 0 a second",
  );
  await pool.close();
});

test("retries that wait in their backoff have been paid for", async () => {
  await using server = await faultServer((socket) => socket.write(reply(503)));
  const { pool } = pooled({ retryBudget: { ratio: 0, minPerSecond: 0.2 }, retryBaseMs: 20_000, random: () => 0.9 });
  const requests = Array.from({ length: 5 }, () => pool.get(server.url));
  const ended = await Promise.all(requests.slice(2));
  expect(ended.map(({ attempts }) => attempts.at(-1)?.not_retried)).toEqual(["budget", "budget", "budget"]);
  pool.destroy();
  await Promise.allSettled(requests);
});

test("a request that never left costs a retry, and a resend costs none", async () => {
  const port = await closedPort();
  const refused = pooled({ retryBudget: { ratio: 0, minPerSecond: 0.1 } }).pool;
  const error = await rejection<HttpNetworkError>(refused.post(`http://127.0.0.1:${port}/`, "x"));
  expect(error.attempts.map(({ cause }) => cause)).toEqual(["first", "retry"]);
  await refused.close();
  await using server = await faultServer((socket, { onConnection }) =>
    onConnection === 0 ? socket.write(reply(200)) : socket.resetAndDestroy(),
  );
  const stale = pooled({ retryBudget: { ratio: 0, minPerSecond: 0 } }).pool;
  for (let i = 0; i < 5; i++) expect((await stale.get(server.url)).status).toBe(200);
  expect(stale.getStats()).toMatchObject({ stale_resends: 4, retries_denied: 0 });
  await stale.close();
});

test("retryBudget: false limits nothing", async () => {
  await using server = await faultServer((socket) => socket.write(reply(503)));
  const { pool } = pooled({ retryBudget: false });
  for (let i = 0; i < 50; i++) await pool.get(server.url);
  expect(pool.getStats()).toMatchObject({ retry_count: 150, retries_denied: 0 });
  expect(pool.getStats().per_origin[server.url]).toMatchObject({ retry_budget_left: null });
  await pool.close();
});

test("a redirect is a request to the origin that it leads to", async () => {
  await using target = await faultServer((socket) => socket.write(reply(503)));
  await using server = await faultServer((socket) => socket.write(reply(302, "", { location: `${target.url}/x` })));
  const { pool } = pooled({ retryBudget: { ratio: 1, minPerSecond: 0 } });
  const response = await pool.get(server.url);
  expect(response.attempts.map(({ status }) => status)).toEqual([302, 503, 503]);
  await pool.close();
});
