import type pg from "pg";
import type { ResourceFactory, Verdict } from "../pool/resource.ts";
import { dial, type ClientConstructor } from "../protocol/dial.ts";
import { runPlainQueriesByWire } from "./client-query.ts";
import { isCapacity } from "./sql-state.ts";
import { attachRunner, runnerEnds } from "./statement-runner.ts";
import type { Statements } from "./statements.ts";
import {
  activityOf,
  destroyNow,
  endUnderWay,
  endWithin,
  keepProcessAlive,
  transactionStatusOf,
  whenReady,
} from "../protocol/pg-client.ts";
import { cutConnection, recovery, setCancellation, type CancellationSettings } from "./cancellation.ts";

/** How long a goodbye may take before the socket is cut. */
const GOODBYE_MS = 1_000;

/** How long a query that its borrower did not await may still run after the release. */
const GRACE_MS = 250;

export interface ClientFactorySettings {
  Client: ClientConstructor;
  config: pg.ClientConfig;
  /** Runs on each new connection before anybody gets it; when it fails, the connection is closed. */
  prepare: ((client: pg.Client) => unknown) | undefined;
  /** Announces each new connection. Queries that this begins run before anybody gets it. */
  announce: (client: pg.Client) => void;
  /** What the pool's connections know together of its statements. */
  statements: Statements;
  /** Whether a free connection lets the process end. */
  allowExitOnIdle: boolean;
  cancellation: CancellationSettings;
  /** Told how a connection came back that needs work before anybody else may have it. */
  onUnclean: (client: pg.Client, state: "busy" | "in a transaction") => void;
}

/** What the resource pool does with PostgreSQL connections. */
export class ClientFactory implements ResourceFactory<pg.Client> {
  readonly #settings: ClientFactorySettings;
  readonly #clients = new Set<pg.Client>();

  constructor(settings: ClientFactorySettings) {
    this.#settings = settings;
  }

  /** Those that connect or are open. */
  get clients(): pg.Client[] {
    return [...this.#clients];
  }

  async create(signal: AbortSignal, lost: (error: Error, ended: boolean) => void): Promise<pg.Client> {
    const { Client, config, cancellation } = this.#settings;
    const client = new Client(config);
    this.#clients.add(client);
    try {
      await dial(client, signal, lost);
      setCancellation(client, cancellation);
      await this.#makeReady(client, signal);
      return client;
    } catch (error) {
      this.#clients.delete(client);
      throw error;
    }
  }

  async #makeReady(client: pg.Client, signal: AbortSignal): Promise<void> {
    // The dial no longer listens to the signal, and what follows may wait for the server, or for nothing.
    let abort = (): void => undefined;
    const aborted = new Promise<never>((_resolve, reject) => {
      abort = () => {
        destroyNow(client);
        reject(new Error("the dial was called off"));
      };
      signal.addEventListener("abort", abort, { once: true });
    });
    aborted.catch(() => undefined);
    try {
      await Promise.race([this.#settings.prepare?.(client), aborted]);
      this.#settings.announce(client);
      if (!(await whenReady(client))) throw new Error("the connection ended as soon as it was open");
      attachRunner(client, this.#settings.statements);
      runPlainQueriesByWire(client);
    } catch (error) {
      destroyNow(client);
      throw error;
    } finally {
      signal.removeEventListener("abort", abort);
    }
    if (this.#settings.allowExitOnIdle) keepProcessAlive(client, false);
  }

  isAlive(client: pg.Client): boolean {
    return activityOf(client) !== "dead";
  }

  validate(client: pg.Client): Promise<boolean> {
    return answers(client, "");
  }

  reset(client: pg.Client): Verdict | Promise<Verdict> {
    const recovering = recovery(client);
    if (recovering !== undefined) return recovering.then((usable) => (usable ? this.reset(client) : "broken"));
    const activity = activityOf(client);
    // An end of which nobody has been told yet is the pool's to tell of, so it is waited for.
    if (activity === "dead") return endUnderWay(client)?.then(() => "broken") ?? "broken";
    if (activity === "ready") return this.#leaveTransaction(client);
    const ready = whenReady(client).then((ok) => (ok ? this.#leaveTransaction(client) : "broken"));
    // After an error, the server's "ready" is usually in the same packet. Otherwise a query was not awaited.
    if (activity === "settling") return ready;
    this.#settings.onUnclean(client, "busy");
    return this.#withinGrace(client, ready);
  }

  isCapacity(error: unknown): boolean {
    return isCapacity(error);
  }

  close(client: pg.Client, hard: boolean): Promise<void> {
    this.#clients.delete(client);
    runnerEnds(client);
    if (hard) {
      cutConnection(client);
      return Promise.resolve();
    }
    return endWithin(client, GOODBYE_MS);
  }

  /** "dirty", if the client is still busy when its grace is over; a ROLLBACK that has begun by then has more time. */
  async #withinGrace(client: pg.Client, ready: Promise<Verdict>): Promise<Verdict> {
    let graceOver: NodeJS.Timeout | undefined;
    const busy = new Promise<"busy">((resolve) => {
      graceOver = setTimeout(resolve, GRACE_MS, "busy").unref();
    });
    const first = await Promise.race([whenReady(client), busy]);
    clearTimeout(graceOver);
    return first === "busy" ? "dirty" : ready;
  }

  /** The next borrower must never find itself in a stranger's transaction. */
  #leaveTransaction(client: pg.Client): Verdict | Promise<Verdict> {
    const status = transactionStatusOf(client);
    if (status !== "T" && status !== "E") return "clean";
    this.#settings.onUnclean(client, "in a transaction");
    return answers(client, "ROLLBACK").then((ok) => (ok && transactionStatusOf(client) === "I" ? "clean" : "dirty"));
  }
}

/** Whether the server takes this statement. The empty one makes the shortest round trip. */
function answers(client: pg.Client, text: string): Promise<boolean> {
  return new Promise((resolve) => {
    client.query(text, (error: Error | null | undefined) => resolve(!error));
  });
}
