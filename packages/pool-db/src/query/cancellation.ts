import type pg from "pg";
import { Barrier } from "../protocol/barrier.ts";
import { requestCancel } from "../protocol/cancel-request.ts";
import { activityOf, destroyNow, hasQueue, transactionStatusOf } from "../protocol/pg-client.ts";
import { endsConnection, sqlStateOf } from "./sql-state.ts";

/** What became of queries that were given up. */
export class CancelCounts {
  /** Requests to the server. Fewer than queries given up: one that ends by itself meanwhile needs none. */
  sent = 0;
  /** Connections that were made whole and stayed in the pool. */
  recovered = 0;
  /** Connections that were closed instead. */
  destroyed = 0;
}

export interface CancellationSettings {
  /** What a connection gets to recover before it is closed; 0 closes at once. */
  timeoutMs: number;
  counts: CancelCounts;
  /** The `stream` option of the pool's clients. */
  stream?: pg.ClientConfig["stream"];
}

/** The least that a request gets: where its connection is closed, it still stops the query on the server. */
const REQUEST_TIMEOUT_MS = 2_000;

/** A query that still runs after this is asked to stop again, and then after twice the time. */
const FIRST_REPETITION_MS = 25;

/** Fails, which makes a transaction fail with it; the server's log shows the reason. */
const FAIL_TRANSACTION = 'ROLLBACK TO SAVEPOINT "its client gave up the statement before this"';

const settingsOf = new WeakMap<pg.Client, CancellationSettings>();
const recoveries = new WeakMap<pg.Client, Promise<boolean>>();

/** Must be called for a client before a query may be given up on it. Others are closed. */
export function setCancellation(client: pg.Client, settings: CancellationSettings): void {
  settingsOf.set(client, settings);
}

/** Resolves with whether the client can be used again; `undefined` where no query was given up, or all is well again. */
export function recovery(client: pg.Client): Promise<boolean> | undefined {
  return recoveries.get(client);
}

/**
 * For a query whose caller has left: asks the server to cancel it, and makes the client's connection fit for another, or
 * closes it where that takes too long. The caller has been rejected; nobody waits for this but who wants the connection
 * next, see `recovery`.
 *
 * A request that overtakes its query is lost on the server, so it is repeated. One that comes late cancels whatever runs
 * then: so the connection is in use until the query has been answered, the server has closed the side connection, and a
 * further round trip, which would absorb a late cancellation, has been made. What somebody puts into pg's own queue
 * meanwhile runs after that.
 *
 * Inside a transaction, the statement fails it: as a cancelled one does, also one that ended before it could be
 * cancelled. Its caller has been told otherwise, and must not commit it unknowingly.
 */
export function giveUp(client: pg.Client): void {
  if (activityOf(client) === "dead") return;
  const settings = settingsOf.get(client);
  // What waits in pg's queue already would run before the barrier.
  if (settings === undefined || settings.timeoutMs === 0 || recoveries.has(client) || hasQueue(client)) {
    if (settings !== undefined) settings.counts.destroyed++;
    void cancel(client, settings);
    destroyNow(client);
    return;
  }
  recoveries.set(client, recover(client, settings));
}

/** Cuts a connection. A query on it is asked to stop: by itself, the server would run it to its end. */
export function cutConnection(client: pg.Client): void {
  // Where a query was given up on it, that has been asked already.
  if (activityOf(client) === "busy" && !recoveries.has(client)) void cancel(client, settingsOf.get(client));
  destroyNow(client);
}

function recover(client: pg.Client, settings: CancellationSettings): Promise<boolean> {
  const { timeoutMs, counts } = settings;
  return new Promise((resolve) => {
    let over = false;
    let repetition: NodeJS.Timeout | undefined;
    const finish = (usable: boolean): void => {
      if (over) return;
      over = true;
      clearTimeout(timer);
      clearTimeout(repetition);
      recoveries.delete(client);
      counts[usable ? "recovered" : "destroyed"]++;
      if (!usable) destroyNow(client);
      resolve(usable);
    };
    const timer = setTimeout(finish, timeoutMs, false).unref();
    const barrier = new Barrier(
      () => (transactionStatusOf(client) === "T" ? FAIL_TRANSACTION : ""),
      (error) => finish(error === undefined || (sqlStateOf(error) !== undefined && !endsConnection(error))),
    );
    client.query(barrier);
    const request = (pauseMs: number): void => {
      // Shut while a request is under way.
      barrier.shut();
      void cancel(client, settings, () => !barrier.reached).then((outcome) => {
        if (over) return;
        if (outcome === "unknown") return finish(false);
        barrier.open();
        repetition = setTimeout(() => {
          if (!barrier.reached) request(pauseMs * 2);
        }, pauseMs).unref();
      });
    };
    request(FIRST_REPETITION_MS);
  });
}

function cancel(client: pg.Client, settings: CancellationSettings | undefined, isWanted?: () => boolean) {
  return requestCancel(client, {
    timeoutMs: Math.max(settings?.timeoutMs ?? 0, REQUEST_TIMEOUT_MS),
    stream: settings?.stream,
    isWanted,
    onSend: () => {
      if (settings !== undefined) settings.counts.sent++;
    },
  });
}
