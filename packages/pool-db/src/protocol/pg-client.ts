/**
 * The one place that touches private fields of pg's Client. They differ between the versions that are supported
 * (8.16 to 8.x), so each is read where it may be found and nothing outside this folder knows their names.
 */
import type pg from "pg";

/**
 * What a client is doing:
 * - `ready`: the server waits for a query;
 * - `settling`: the query has failed and the server's ReadyForQuery has yet to come;
 * - `busy`: a query runs or is queued;
 * - `dead`: it will never run a query again.
 */
export type Activity = "ready" | "settling" | "busy" | "dead";

/** "I" outside of a transaction, "T" in one, "E" in a failed one; `null` before the first answer. */
export type TransactionStatus = "I" | "T" | "E" | null;

/** A socket, or what a `stream` option made. */
interface Stream {
  destroyed?: boolean;
  writable?: boolean;
  remoteAddress?: string | undefined;
  destroy(error?: Error): void;
  write?(bytes: Buffer): boolean;
  on?(event: "data", listener: (chunk: Buffer) => void): unknown;
  off?(event: "data", listener: (chunk: Buffer) => void): unknown;
  listeners?(event: "data"): readonly unknown[];
  ref?(): void;
  unref?(): void;
}

interface Internals {
  _queryable?: boolean;
  _ending?: boolean;
  _ended?: boolean;
  _activeQuery?: unknown;
  activeQuery?: unknown;
  _queryQueue?: readonly unknown[];
  queryQueue?: readonly unknown[];
  _sentQueryQueue?: readonly unknown[];
  readyForQuery?: boolean;
  processID?: number | null;
  secretKey?: unknown;
  sslNegotiation?: unknown;
  hasExecuted?: boolean;
  binary?: boolean;
  pipeline?: boolean;
  replication?: unknown;
  connection?: Connection | undefined;
  getTransactionStatus?(): TransactionStatus;
}

interface Connection {
  stream?: Stream;
  emit?(event: string, ...rest: unknown[]): boolean;
  parsedStatements?: Record<string, string | undefined>;
  sendCopyFail?(reason: string): void;
}

const internals = (client: pg.ClientBase): Internals => client;

/** Transaction states of clients whose pg (before 8.21) does not keep them. */
const trackedStatus = new WeakMap<pg.ClientBase, TransactionStatus>();

export function activityOf(client: pg.ClientBase): Activity {
  const inner = internals(client);
  const stream = inner.connection?.stream;
  if (inner._queryable === false || inner._ending === true || inner._ended === true) return "dead";
  if (stream !== undefined && (stream.destroyed === true || stream.writable === false)) return "dead";
  // Newer versions warn at the public names.
  const active = "_activeQuery" in inner ? inner._activeQuery : inner.activeQuery;
  if (hasQueue(client) || (active !== null && active !== undefined)) return "busy";
  return inner.readyForQuery === false ? "settling" : "ready";
}

/** Whether queries wait behind the one that runs. */
export function hasQueue(client: pg.ClientBase): boolean {
  const inner = internals(client);
  const queue = "_queryQueue" in inner ? inner._queryQueue : inner.queryQueue;
  return (queue?.length ?? 0) + (inner._sentQueryQueue?.length ?? 0) > 0;
}

/**
 * Resolves when the client waits for a query again (true), or is dead (false). Who sends a query as soon as the one
 * before has ended is waited for as well.
 */
export async function whenReady(client: pg.ClientBase): Promise<boolean> {
  for (;;) {
    const activity = activityOf(client);
    if (activity === "ready" || activity === "dead") return activity === "ready";
    await new Promise<void>((resolve) => {
      const done = (): void => {
        client.off("drain", done);
        client.off("end", done);
        // "drain" comes before the continuation of whoever awaited the last query; after an error it comes behind it.
        if (activity === "busy") setImmediate(resolve);
        else resolve();
      };
      client.once("drain", done);
      client.once("end", done);
    });
  }
}

/**
 * Where the server has closed the connection and the client has yet to tell of it: resolves when it has. `undefined` at
 * all other times.
 */
export function endUnderWay(client: pg.ClientBase): Promise<void> | undefined {
  const inner = internals(client);
  const stream = inner.connection?.stream;
  const told = inner._queryable === false || inner._ending === true || inner._ended === true;
  if (told || stream === undefined || stream.destroyed === true || stream.writable !== false) return undefined;
  return new Promise((resolve) => {
    client.once("end", () => resolve());
  });
}

export function transactionStatusOf(client: pg.ClientBase): TransactionStatus {
  const inner = internals(client);
  if (typeof inner.getTransactionStatus === "function") return inner.getTransactionStatus();
  return trackedStatus.get(client) ?? null;
}

/** Must be called once for each new client, before it connects. */
export function trackTransactionStatus(client: pg.ClientBase): void {
  const inner = internals(client);
  if (typeof inner.getTransactionStatus === "function") return;
  const connection = inner.connection as unknown as NodeJS.EventEmitter | undefined;
  connection?.on("readyForQuery", (message: { status?: TransactionStatus } | undefined) => {
    trackedStatus.set(client, message?.status ?? null);
  });
}

/** pg queues a query on a client whose socket has closed, and never answers it; from here on it refuses. */
export function refuseQueries(client: pg.ClientBase): void {
  internals(client)._queryable = false;
}

/** The server process behind the client; undefined before it is known. */
export function processIdOf(client: pg.ClientBase): number | undefined {
  return internals(client).processID ?? undefined;
}

/** What a CancelRequest has to show, or `undefined` where there is none. Since protocol 3.2 a key has up to 256 bytes. */
export function cancelKeyOf(client: pg.ClientBase): { processId: number; secretKey: Uint8Array } | undefined {
  const { processID, secretKey } = internals(client);
  if (typeof processID !== "number") return undefined;
  if (secretKey instanceof Uint8Array) return { processId: processID, secretKey };
  if (typeof secretKey !== "number") return undefined;
  const bytes = Buffer.alloc(4);
  bytes.writeInt32BE(secretKey);
  return { processId: processID, secretKey: bytes };
}

/** The address of the server behind the client; `undefined` for a Unix socket, and for what is no socket. */
export function remoteAddressOf(client: pg.ClientBase): string | undefined {
  return internals(client).connection?.stream?.remoteAddress;
}

/** Whether TLS begins at once, `sslnegotiation=direct`, without asking the server first. */
export function negotiatesDirectly(client: pg.ClientBase): boolean {
  return internals(client).sslNegotiation === "direct";
}

/** Cuts the connection. What ran on it fails with "Connection terminated". */
export function destroyNow(client: pg.Client): void {
  const stream = internals(client).connection?.stream;
  if (stream !== undefined) return stream.destroy();
  // A `Client` that is not pg's.
  try {
    client.end(() => undefined);
  } catch {
    // It has nothing to end.
  }
}

/** Says goodbye and closes, or cuts the connection when that takes longer than `timeoutMs`. Never rejects. */
export function endWithin(client: pg.Client, timeoutMs: number): Promise<void> {
  if (internals(client)._ended === true) return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(() => {
      destroyNow(client);
      resolve();
    }, timeoutMs);
    const done = (): void => {
      clearTimeout(timer);
      resolve();
    };
    try {
      client.end(done);
    } catch {
      destroyNow(client);
      done();
    }
  });
}

/** Whether the client's socket keeps the process alive. */
export function keepProcessAlive(client: pg.Client, on: boolean): void {
  const stream = internals(client).connection?.stream;
  if (on) stream?.ref?.();
  else stream?.unref?.();
}

/** The text of the prepared statement of this name that pg believes the server to have; `undefined` where it has none. */
export function parsedByPg(client: pg.ClientBase, name: string): string | undefined {
  return internals(client).connection?.parsedStatements?.[name];
}

/** Tells pg that the server has it. */
export function rememberParsed(client: pg.ClientBase, name: string, text: string): void {
  const parsed = internals(client).connection?.parsedStatements;
  if (parsed !== undefined) parsed[name] = text;
}

/** Tells pg that the server does not have it. */
export function forgetParsed(client: pg.ClientBase, name: string): void {
  delete internals(client).connection?.parsedStatements?.[name];
}

/** What pg's client tells its active query. */
export interface StandIn {
  /** The server's error, or what ended the connection. */
  handleError(error: Error): void;
  handleReadyForQuery(): void;
  handleCopyInResponse(): void;
  handleCopyData(): void;
}

/** The inside of a connected client, for somebody who reads and writes its socket beside pg. */
/** pg's own query that is under way: an object of pg's, or any Submittable. */
export interface ActiveQuery {
  readonly text?: unknown;
}

export interface ClientInside {
  /** `read` gets what comes from the server, in place of pg's reader. */
  readFirst(read: (chunk: Buffer) => void): void;
  /** Hands bytes to pg's reader. */
  toPg(chunk: Buffer): void;
  write(bytes: Buffer): void;
  /** What pg's client is busy with; nothing once that has failed. */
  active(): ActiveQuery | null | undefined;
  /** The client is busy with `standIn`; pg's own queue waits. */
  begin(standIn: StandIn): void;
  /** The server is ready; pg goes on with its queue. */
  end(status: string | undefined): void;
  refuseCopy(): void;
  cut(error: Error): void;
}

/**
 * `undefined` where the client is not one whose inside is known: then nobody may read beside it. All that is used here is
 * looked for first.
 */
export function takeInside(client: pg.Client): ClientInside | undefined {
  const inner = internals(client);
  const { connection } = inner;
  const stream = connection?.stream;
  const emit = connection?.emit?.bind(connection);
  const activeName = "_activeQuery" in inner ? "_activeQuery" : "activeQuery";
  const [reader, ...others] = stream?.listeners?.("data") ?? [];
  if (
    stream?.on === undefined ||
    stream.off === undefined ||
    stream.write === undefined ||
    connection?.sendCopyFail === undefined ||
    connection.parsedStatements === undefined ||
    emit === undefined ||
    typeof reader !== "function" ||
    others.length > 0 ||
    !(activeName in inner) ||
    inner.readyForQuery !== true ||
    inner.binary === true ||
    inner.pipeline === true ||
    Boolean(inner.replication)
  ) {
    return undefined;
  }
  const toPg = reader as (chunk: Buffer) => void;
  return {
    readFirst(read) {
      stream.off?.("data", toPg);
      stream.on?.("data", read);
    },
    toPg,
    write(bytes) {
      // Where it is not writable the connection's end is on its way, and with it the answer.
      if (stream.writable !== false) stream.write?.(bytes);
    },
    active: () => inner[activeName] as ActiveQuery | null | undefined,
    begin(standIn) {
      inner[activeName] = standIn;
      inner.readyForQuery = false;
      inner.hasExecuted = true;
    },
    end(status) {
      emit("readyForQuery", { name: "readyForQuery", length: 5, status });
    },
    refuseCopy: () => connection.sendCopyFail?.("No source stream defined"),
    cut: (error) => stream.destroy(error),
  };
}
