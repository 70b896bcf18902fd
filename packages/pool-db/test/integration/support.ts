import { expect } from "vitest";
import type { DbPool, DbPoolOptions } from "../../src/index.ts";
import { until, usePostgres } from "../support.ts";

/**
 * A server for the file, and pools that the server knows by the library's name. `whole` is what each test ends with:
 * nothing is lent or waited for, and the server sees as many sessions as the pool, all of them idle and outside of a
 * transaction; after the pool's end it sees none.
 */
export function useLibrary(library: string): {
  readonly dsn: string;
  pool(options?: DbPoolOptions): DbPool;
  whole(pool: DbPool): Promise<void>;
  watch(text: string, values?: unknown[]): Promise<unknown[]>;
} {
  const postgres = usePostgres();
  const watch = async (text: string, values: unknown[] = []): Promise<unknown[]> =>
    (await postgres.watch(text, values)).rows as unknown[];
  const sessions = async (name: string): Promise<string[]> => {
    const text = "select state from pg_stat_activity where application_name = $1 and backend_type = 'client backend'";
    return ((await watch(text, [name])) as { state: string }[]).map(({ state }) => state);
  };
  let count = 0;
  return {
    watch,
    get dsn() {
      return postgres.server.dsn;
    },
    pool(options = {}) {
      return postgres.pool({ application_name: `${library} ${++count}`, maxOpenConns: 5, ...options });
    },
    async whole(pool) {
      const { application_name: name = "" } = pool.options;
      await until("everything has come back", () => {
        const { in_use, pending, connecting } = pool.getStats();
        return in_use + pending + connecting === 0;
      });
      const stats = pool.getStats();
      expect(stats.open_connections).toBe(stats.idle);
      expect(stats.acquire_count).toBe(stats.release_count);
      // The server learns of a closed connection a little later than the pool.
      await until("the server sees the sessions that the pool has", async () => {
        const states = await sessions(name);
        return states.length === pool.getStats().open_connections && states.every((state) => state === "idle");
      });
      await pool.close();
      await until("the server sees none of its sessions", async () => (await sessions(name)).length === 0);
    },
  };
}
