/**
 * Measures one pool that lends connections which do no I/O, in a process of its own: see acquire.ts.
 *
 * What is lent is pg's own client, so that the pools find all that they look at in it; only its connecting and its
 * ending are replaced.
 */
import { Socket } from "node:net";
import pg from "pg";
import { runConcurrently } from "../comparisons/concurrency.ts";
import { measured } from "../harness/measuring-process.ts";
import { median } from "../harness/statistics.ts";
import type { AcquireResult, AcquireTask } from "./acquire.ts";

/** Of the allocation. A round of it must fit into V8's young generation, or a collection would take part of it back. */
const ALLOCATION_ROUNDS = 15;
const ALLOCATION_OPERATIONS = 2000;
/** To await it takes one turn of the microtask queue. */
const TURN = Promise.resolve();
/** A doubling warm-up stops when a round took so long; rounds that are measured take about as long as that. */
const ROUND_MS = 60;

/** A socket that was never connected would collect a listener at each `ref()`. */
class IdleStream extends Socket {
  override ref(): this {
    return this;
  }
  override unref(): this {
    return this;
  }
}

type Connected = ((error: Error) => void) | ((error: null, client: pg.Client) => void);

class IdleClient extends pg.Client {
  constructor(config?: pg.ClientConfig) {
    super({ ...config, stream: () => new IdleStream() });
  }

  override connect(): Promise<pg.Client>;
  override connect(callback: Connected): void;
  override connect(callback?: Connected): Promise<pg.Client> | void {
    // As after a login: the server has said that it is ready, outside of a transaction.
    Object.assign(this, { _connected: true, _txStatus: "I", readyForQuery: true });
    if (callback === undefined) return Promise.resolve(this);
    process.nextTick(callback, null, this);
  }

  override end(): Promise<void>;
  override end(callback: (error: Error) => void): void;
  override end(callback?: (error: Error) => void): Promise<void> | void {
    this.emit("end");
    if (callback === undefined) return Promise.resolve();
    process.nextTick(callback);
  }
}

interface PoolUnderTest {
  /** Waits for a connection; what it resolves with gives it back. */
  borrow(): Promise<{ release(): void }>;
  /** How many connections are lent. */
  lent(): number;
  close(): Promise<unknown>;
}

async function openPool(name: string, connections: number): Promise<PoolUnderTest> {
  const settings = { host: "127.0.0.1", max: connections, Client: IdleClient };
  switch (name) {
    case "@vg/pool-db connect()":
    case "@vg/pool-db acquire()": {
      const { DbPool } = await import("@vg/pool-db");
      const pool = new DbPool({ ...settings, maxIdleConns: connections });
      return {
        borrow: name === "@vg/pool-db connect()" ? () => pool.connect() : () => pool.acquire(),
        lent: () => pool.getStats().in_use,
        close: () => pool.close(),
      };
    }
    case "pg.Pool connect()":
    case "pg.Pool connect(), no idle timeout": {
      const pool = new pg.Pool({ ...settings, ...(name !== "pg.Pool connect()" && { idleTimeoutMillis: 0 }) });
      return {
        borrow: () => pool.connect(),
        lent: () => pool.totalCount - pool.idleCount,
        close: () => pool.end(),
      };
    }
    default:
      throw new Error(`no pool ${name}`);
  }
}

/** What all callers share. */
class Borrowing {
  readonly #pool: PoolUnderTest;
  held = 0;
  most = 0;

  constructor(pool: PoolUnderTest) {
    this.#pool = pool;
  }

  /** Gives the connection back at once. */
  async briefly(): Promise<void> {
    const lease = await this.#pool.borrow();
    this.#note();
    this.held--;
    lease.release();
  }

  /** Gives the others their turn first, so that the pool runs out of connections. */
  async forATurn(): Promise<void> {
    const lease = await this.#pool.borrow();
    this.#note();
    await TURN;
    this.held--;
    lease.release();
  }

  #note(): void {
    this.held++;
    if (this.held > this.most) this.most = this.held;
  }
}

await measured(async ({ name, callers, connections, rounds }: AcquireTask): Promise<AcquireResult> => {
  const pool = await openPool(name, connections);
  // All connections are open before anything is measured.
  const all = await Promise.all(Array.from({ length: connections }, () => pool.borrow()));
  for (const lease of all) lease.release();
  const borrowing = new Borrowing(pool);
  const task = callers > 1 ? () => borrowing.forATurn() : () => borrowing.briefly();
  const run = (operations: number): Promise<void> => runConcurrently(operations, callers, task);

  let operations = ALLOCATION_OPERATIONS;
  for (;;) {
    const start = performance.now();
    await run(operations);
    if (performance.now() - start > ROUND_MS) break;
    operations *= 2;
  }
  const ns: number[] = [];
  for (let round = 0; round < rounds; round++) {
    globalThis.gc?.();
    const start = performance.now();
    await run(operations);
    ns.push(((performance.now() - start) * 1e6) / operations);
  }
  const bytes: number[] = [];
  for (let round = 0; round < ALLOCATION_ROUNDS; round++) {
    globalThis.gc?.();
    const before = process.memoryUsage().heapUsed;
    await run(ALLOCATION_OPERATIONS);
    bytes.push((process.memoryUsage().heapUsed - before) / ALLOCATION_OPERATIONS);
  }
  const left = pool.lent();
  await pool.close();
  return { nsPerOp: ns, bytesPerOp: median(bytes), most: borrowing.most, left };
});
