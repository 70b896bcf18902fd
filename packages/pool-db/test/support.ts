import { Socket, createServer, type Server } from "node:net";
import { once } from "node:events";
import {
  startEmbeddedPostgres,
  type EmbeddedPostgres,
  type EmbeddedPostgresOptions,
} from "@vg/internal/embedded-postgres";
import pg from "pg";
import { afterAll, beforeAll } from "vitest";
import { DbPool, type DbPoolOptions } from "../src/index.ts";

/** One real server for a test file, a fresh pool for each test, and a second pair of eyes on the server. */
export function usePostgres(serverOptions: EmbeddedPostgresOptions = {}): {
  readonly server: EmbeddedPostgres;
  pool(options?: DbPoolOptions): DbPool;
  /** Runs on a connection of its own, beside every pool. */
  watch(text: string, values?: unknown[]): Promise<pg.QueryResult>;
  /** pg's own client, or one of this class, connected. */
  client(Client?: new (config: pg.ClientConfig) => pg.Client, config?: pg.ClientConfig): Promise<pg.Client>;
} {
  let server: EmbeddedPostgres | undefined;
  const pools: DbPool[] = [];
  const clients: pg.Client[] = [];
  beforeAll(async () => {
    server = await startEmbeddedPostgres(serverOptions);
  });
  afterAll(async () => {
    await Promise.all([...pools.map((pool) => pool.destroy()), ...clients.map((client) => client.end())]);
    await server?.stop();
  });
  return {
    get server() {
      if (server === undefined) throw new Error("the server has not been started");
      return server;
    },
    pool(options = {}) {
      const pool = new DbPool({ dsn: this.server.dsn, ...options });
      pools.push(pool);
      return pool;
    },
    async client(Client = pg.Client, config = {}) {
      const client = new Client({ connectionString: server?.dsn, ...config });
      clients.push(client);
      await client.connect();
      return client;
    },
    async watch(text, values = []) {
      const client = new pg.Client(server?.dsn);
      await client.connect();
      try {
        return await client.query(text, values);
      } finally {
        await client.end();
      }
    },
  };
}

/** The server process of the session that the pool would use next. */
export async function backendPid(queryable: { query(text: string): Promise<pg.QueryResult> }): Promise<number> {
  const { rows } = await queryable.query("select pg_backend_pid() as pid");
  return (rows[0] as { pid: number }).pid;
}

/** Counts what the clients of a pool with these options write to the server. */
export function countedWrites(): { writes: number; options: DbPoolOptions } {
  class Counted extends Socket {
    override _write(...given: Parameters<Socket["_write"]>): void {
      counted.writes++;
      super._write(...given);
    }

    override _writev(...given: Parameters<NonNullable<Socket["_writev"]>>): void {
      counted.writes++;
      super._writev?.(...given);
    }
  }
  const counted = { writes: 0, options: { stream: () => new Counted() } };
  return counted;
}

/** Polls until a condition on the outside world holds; fails after 10 s. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const end = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`never happened: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** A TCP server for what PostgreSQL won't do. */
export async function faultServer(onConnection: (socket: Socket) => void): Promise<{
  port: number;
  sockets: Set<Socket>;
  close(): Promise<void>;
}> {
  const sockets = new Set<Socket>();
  const server: Server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    // Without a reader Node does not notice the other side's end.
    socket.resume();
    socket.on("close", () => sockets.delete(socket));
    onConnection(socket);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : 0,
    sockets,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}
