/**
 * Watches over the connections of a server: clients that send too slowly, that take none of their answer, or that send what
 * is no HTTP are answered where that is possible, ended, counted and logged.
 *
 * One timer looks at all connections; a request costs a few assignments. What is still to come of a head, node:http
 * watches itself (`headersTimeout`); it reports by "clientError".
 */
import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";
import type { Logger } from "@vg/logging";
import { ClientFaultError, faultOf, rawAnswer } from "./client-fault.ts";
import { FaultLog } from "./fault-log.ts";

/** A request as the guard sees it. */
export interface GuardedRequest {
  readonly request: IncomingMessage;
  /** For the guard: node:http takes the socket off a request. */
  connection: Connection<GuardedRequest> | undefined;
}

export interface GuardOptions<R extends GuardedRequest> {
  /** Ends a request whose client is at fault: answers it where that is possible, and aborts it. */
  giveUp: (guarded: R, fault: ClientFaultError) => void;
  /** 0 is no limit. */
  minBodyBytesPerSecond: number;
  bodyGraceMs: number;
  /** 0 is no limit. */
  stalledClientMs: number;
  logger: Logger;
  clock: { now(): number };
}

/** How long a connection whose fault was answered stays, so that the client can read that. */
const LINGER_MS = 500;
const LONGEST_INTERVAL_MS = 1_000;
const SHORTEST_INTERVAL_MS = 10;

const CONNECTION: unique symbol = Symbol("vg.pooled-server.connection");

interface GuardedSocket extends Socket {
  [CONNECTION]?: Connection<GuardedRequest>;
  /** Node's own measure of whether a write makes progress (see `Socket.setTimeout`), which nothing public has. */
  readonly _handle?: { readonly writeQueueSize?: number } | null;
}

export class Connection<R> {
  readonly socket: GuardedSocket;
  /** The last one that began on it. */
  last: R | undefined = undefined;
  /** Requests on it that are not over. */
  inFlight = 0;
  /** Whether it ends for a fault of its client's. */
  isFaulted = false;
  /** Whether a client was told that it ends: what it sends after that is not to be worked on. */
  isEnding = false;
  /** What it is told when the requests on it have their answers. */
  lastWord: ClientFaultError | undefined = undefined;
  /** How much of its answers waited when it was looked at last, and since when that is so. */
  unsentBytes = 0;
  unsentSince = 0;
  /** The request whose body is awaited, since when, how long in all, and what the connection had brought before. */
  awaited: R | undefined = undefined;
  lookedAt = 0;
  awaitedMs = 0;
  bytesBefore = 0;

  constructor(socket: GuardedSocket) {
    this.socket = socket;
  }
}

export class ConnectionGuard<R extends GuardedRequest> {
  readonly faults: FaultLog;
  readonly #options: GuardOptions<R>;
  readonly #connections = new Set<Connection<R>>();
  #timer: NodeJS.Timeout | undefined;

  constructor(options: GuardOptions<R>) {
    this.#options = options;
    this.faults = new FaultLog(options.logger, options.clock);
  }

  /** Connections that are open. */
  get size(): number {
    return this.#connections.size;
  }

  /** Of the connections that are open. */
  *sockets(): Iterable<Socket> {
    for (const { socket } of this.#connections) yield socket;
  }

  attach(server: Server): void {
    server.on("connection", (socket: GuardedSocket) => this.#opened(socket));
    server.on("clientError", (error: NodeJS.ErrnoException, socket) => this.#wentWrong(error, socket as GuardedSocket));
    server.on("dropRequest", (_request, socket) => this.faults.add("max_requests", (socket as Socket).remoteAddress));
    const { minBodyBytesPerSecond, bodyGraceMs, stalledClientMs } = this.#options;
    const limits = [
      ...(minBodyBytesPerSecond > 0 ? [bodyGraceMs] : []),
      ...(stalledClientMs > 0 ? [stalledClientMs] : []),
    ];
    if (limits.length === 0) return;
    const intervalMs = Math.max(SHORTEST_INTERVAL_MS, Math.min(LONGEST_INTERVAL_MS, ...limits.map((ms) => ms / 4)));
    this.#timer = setInterval(() => this.look(), intervalMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** A request begins. */
  begin(guarded: R): void {
    const connection = connectionOf<R>(guarded.request.socket);
    if (connection === undefined) return;
    guarded.connection = connection as Connection<GuardedRequest>;
    connection.last = guarded;
    connection.inFlight++;
  }

  /** How many requests its connection has under way, this one included. */
  underWayBeside({ connection }: R): number {
    return connection?.inFlight ?? 1;
  }

  /** It is over. */
  end(guarded: R): void {
    const { connection } = guarded;
    if (connection === undefined) return;
    guarded.connection = undefined;
    connection.inFlight--;
    if (connection.last === guarded) connection.last = undefined;
    if (connection.lastWord !== undefined && connection.inFlight === 0) answer(connection.socket, connection.lastWord);
  }

  /** Looks at all connections once. The timer does this. */
  look(): void {
    const now = this.#options.clock.now();
    for (const connection of this.#connections) {
      this.#lookAtAnswer(connection, now);
      this.#lookAtBody(connection, now);
    }
  }

  #opened(socket: GuardedSocket): void {
    const connection = new Connection<R>(socket);
    socket[CONNECTION] = connection as Connection<GuardedRequest>;
    this.#connections.add(connection);
    socket.once("close", () => this.#connections.delete(connection));
  }

  /** Whether the client takes what it is owed. */
  #lookAtAnswer(connection: Connection<R>, now: number): void {
    const { stalledClientMs } = this.#options;
    const { socket } = connection;
    const unsent = socket.writableLength === 0 ? 0 : (socket._handle?.writeQueueSize ?? 0);
    // Node writes one batch after another, of which the rest only becomes less. (A number that stays is no progress.)
    if (unsent === 0 || unsent !== connection.unsentBytes || now < connection.unsentSince) {
      connection.unsentBytes = unsent;
      connection.unsentSince = now;
      return;
    }
    const stalledMs = now - connection.unsentSince;
    if (stalledClientMs === 0 || stalledMs < stalledClientMs) return;
    this.faults.add("stalled", socket.remoteAddress, {
      unsent_bytes: socket.writableLength,
      stalled_ms: Math.round(stalledMs),
    });
    connection.isFaulted = true;
    // The code that the system has for a peer that does not answer: nobody takes it for the server's doing.
    socket.destroy(Object.assign(new Error("The client takes nothing of its answer"), { code: "ETIMEDOUT" }));
  }

  /** Whether the client sends the body that somebody reads. */
  #lookAtBody(connection: Connection<R>, now: number): void {
    const { last, socket } = connection;
    const { minBodyBytesPerSecond, bodyGraceMs } = this.#options;
    if (last === undefined || minBodyBytesPerSecond === 0 || last.request.complete) {
      connection.awaited = undefined;
      return;
    }
    if (connection.awaited !== last) {
      connection.awaited = last;
      connection.awaitedMs = 0;
      connection.bytesBefore = socket.bytesRead;
    } else if (last.request.readableLength < last.request.readableHighWaterMark) {
      // Where its buffer is full, it is the handler that everybody waits for.
      connection.awaitedMs += Math.max(0, now - connection.lookedAt);
    }
    connection.lookedAt = now;
    const bytes = socket.bytesRead - connection.bytesBefore;
    if (connection.awaitedMs <= bodyGraceMs + (bytes / minBodyBytesPerSecond) * 1000) return;
    connection.awaited = undefined;
    this.#giveUp(connection, last, new ClientFaultError("slow_body"), { received_bytes: bytes });
  }

  /** node:http cannot go on with the connection. */
  #wentWrong(error: NodeJS.ErrnoException, socket: GuardedSocket): void {
    const connection = connectionOf<R>(socket);
    // Whatever comes after garbage is garbage.
    if (connection?.isFaulted === true) return;
    const unfinished = connection?.last?.request.complete === false ? connection.last : undefined;
    const reason = faultOf(error.code, unfinished !== undefined);
    if (connection === undefined || reason === undefined) {
      socket.destroy(error);
      return;
    }
    const fault = new ClientFaultError(reason, { cause: error });
    if (unfinished !== undefined) {
      this.#giveUp(connection, unfinished, fault, { error_code: error.code });
      return;
    }
    this.faults.add(reason, socket.remoteAddress, { error_code: error.code });
    connection.isFaulted = true;
    // What came before the garbage gets its answer first.
    if (connection.inFlight === 0) answer(socket, fault);
    else connection.lastWord = fault;
  }

  #giveUp(
    connection: Connection<R>,
    guarded: R,
    fault: ClientFaultError,
    details: Readonly<Record<string, unknown>>,
  ): void {
    this.faults.add(fault.reason, connection.socket.remoteAddress, details);
    connection.isFaulted = true;
    this.#options.giveUp(guarded, fault);
  }
}

function connectionOf<R extends GuardedRequest>(socket: GuardedSocket): Connection<R> | undefined {
  return socket[CONNECTION] as Connection<R> | undefined;
}

function answer(socket: Socket, fault: ClientFaultError): void {
  const cut = (): void => {
    socket.destroy();
  };
  if (!socket.writable) {
    cut();
    return;
  }
  socket.end(rawAnswer(fault.answer));
  // To close it while the client still sends would take the answer from it: the system then resets the connection.
  const timer = setTimeout(cut, LINGER_MS).unref();
  socket.once("end", cut).once("close", () => clearTimeout(timer));
}
