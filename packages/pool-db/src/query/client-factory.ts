import type pg from "pg";
import type { ResourceFactory, Verdict } from "../pool/resource.ts";
import { dial, type ClientConstructor } from "../protocol/dial.ts";
import { activityOf, destroyNow, endWithin, keepProcessAlive, transactionStatusOf } from "../protocol/pg-client.ts";

/** How long a goodbye may take before the socket is cut. */
const GOODBYE_MS = 1_000;

export interface ClientFactorySettings {
  Client: ClientConstructor;
  config: pg.ClientConfig;
  /** Runs on each new connection before anybody gets it; when it fails, the connection is closed. */
  prepare: ((client: pg.Client) => unknown) | undefined;
  /** Whether a free connection lets the process end. */
  allowExitOnIdle: boolean;
  /** Told when a connection had been left inside a transaction. */
  onOpenTransaction: (client: pg.Client) => void;
}

/** What the resource pool does with PostgreSQL connections. */
export class ClientFactory implements ResourceFactory<pg.Client> {
  readonly #settings: ClientFactorySettings;

  constructor(settings: ClientFactorySettings) {
    this.#settings = settings;
  }

  async create(signal: AbortSignal, lost: (error: Error) => void): Promise<pg.Client> {
    const { Client, config, prepare } = this.#settings;
    const client = await dial(Client, config, signal, lost);
    if (prepare !== undefined) {
      // The dial no longer listens to the signal, and the hook may wait for the server.
      const abort = (): void => destroyNow(client);
      signal.addEventListener("abort", abort, { once: true });
      try {
        await prepare(client);
      } catch (error) {
        destroyNow(client);
        throw error;
      } finally {
        signal.removeEventListener("abort", abort);
      }
    }
    if (this.#settings.allowExitOnIdle) keepProcessAlive(client, false);
    return client;
  }

  isAlive(client: pg.Client): boolean {
    return activityOf(client) !== "dead";
  }

  validate(client: pg.Client): Promise<boolean> {
    return answers(client, "");
  }

  reset(client: pg.Client): Verdict | Promise<Verdict> {
    const activity = activityOf(client);
    if (activity === "dead") return "broken";
    if (activity === "busy") return "dirty";
    return activity === "settling" ? this.#settle(client) : this.#leaveTransaction(client);
  }

  close(client: pg.Client, hard: boolean): Promise<void> {
    if (hard) {
      destroyNow(client);
      return Promise.resolve();
    }
    return endWithin(client, GOODBYE_MS);
  }

  /** The last query failed; the connection is free when the server says so, which is usually in the same packet. */
  #settle(client: pg.Client): Promise<Verdict> {
    return new Promise<Verdict>((resolve) => {
      const end = (): void => settled("broken");
      const drain = (): void => settled(this.#leaveTransaction(client));
      const settled = (verdict: Verdict | Promise<Verdict>): void => {
        client.off("end", end);
        client.off("drain", drain);
        resolve(verdict);
      };
      client.once("end", end);
      client.once("drain", drain);
    });
  }

  /** The next borrower must never find itself in a stranger's transaction. */
  #leaveTransaction(client: pg.Client): Verdict | Promise<Verdict> {
    const status = transactionStatusOf(client);
    if (status !== "T" && status !== "E") return "clean";
    this.#settings.onOpenTransaction(client);
    return answers(client, "ROLLBACK").then((ok) => (ok && transactionStatusOf(client) === "I" ? "clean" : "dirty"));
  }
}

/** Whether the server takes this statement. The empty one makes the shortest round trip. */
function answers(client: pg.Client, text: string): Promise<boolean> {
  return new Promise((resolve) => {
    client.query(text, (error: Error | null | undefined) => resolve(!error));
  });
}
