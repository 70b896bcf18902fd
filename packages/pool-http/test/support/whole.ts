import { expect } from "vitest";
import type { HttpPool } from "../../src/index.ts";
import type { FaultServer } from "../../src/testing.ts";

/** After whatever has happened: nothing of the pool is under way, and closing it leaves no connection on either side. */
export async function expectWhole(pool: HttpPool, ...servers: readonly FaultServer[]): Promise<void> {
  expect(pool.getStats()).toMatchObject({ in_flight: 0, queued: 0 });
  expect(await pool.close({ deadlineMs: 0 })).toMatchObject({ killed: 0 });
  await Promise.all(servers.map((server) => server.connectionsDownTo(0)));
  expect(pool.getStats()).toMatchObject({ open_connections: 0, idle_connections: 0 });
}
