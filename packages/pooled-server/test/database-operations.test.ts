import { hasSubscribers } from "node:diagnostics_channel";
import { startEmbeddedPostgres, type EmbeddedPostgres } from "@vg/internal/embedded-postgres";
import { afterAll, beforeAll, expect, test } from "vitest";
import { scrape, sum } from "./support/figures.ts";
import { listen } from "./support/server.ts";

const COUNT = "db_client_operation_duration_seconds_count";

let postgres: EmbeddedPostgres;
beforeAll(async () => {
  postgres = await startEmbeddedPostgres();
});
afterAll(() => postgres.stop());

const HOURLY = 3_600_000;

test("queries are observed by how they ended, each pool's by its name, until the server is closed", async () => {
  const make = (name: string) =>
    listen((_request, response) => response.end(), {
      postgresDsn: postgres.dsn,
      dbOperationMetrics: true,
      dbPool: { name },
      healthIntervalMs: HOURLY,
    });
  const [one, other] = [await make("one"), await make("other")];
  // Health checks are queries, too.
  const before = sum(await scrape(one), COUNT);
  const beside = sum(await scrape(other), COUNT);
  for (let i = 0; i < 3; i++) await one.server.dbPool?.query("select pg_sleep(0.01)");
  await expect(one.server.dbPool?.query("select nothing from nowhere")).rejects.toThrow("nowhere");
  const figures = await scrape(one);
  const own = { db_system_name: "postgresql", db_client_connection_pool_name: "one" };
  expect(sum(figures, COUNT, { ...own, error_type: undefined }) - before).toBe(3);
  // PostgreSQL's SQLSTATE of a table that is not there.
  expect(sum(figures, COUNT, { ...own, error_type: "42P01" })).toBe(1);
  expect(sum(figures, COUNT) - before).toBe(4);
  expect(sum(figures, "db_client_operation_duration_seconds_sum", own)).toBeGreaterThan(0.03);
  expect(sum(await scrape(other), COUNT)).toBe(beside);
  await other.server.close();
  expect(hasSubscribers("vg:pool-db:query")).toBe(true);
  await one.server.close();
  expect(hasSubscribers("vg:pool-db:query")).toBe(false);
});

test("nobody listens to the pool's queries unless it is asked for", async () => {
  const one = await listen((_request, response) => response.end(), { postgresDsn: postgres.dsn });
  await one.server.dbPool?.query("select 1");
  expect(hasSubscribers("vg:pool-db:query")).toBe(false);
  expect((await scrape(one)).has(COUNT)).toBe(false);
});
