/**
 * The connections of a pool. Rules, after Go's net/http Transport, from which the limits take their names:
 *
 * - A request takes a connection that has room (HTTP/2: one that carries requests already; HTTP/1.1: the idle one that
 *   was used last). Where there is none, it waits in its origin's queue (first come, first served) and a dial is started
 *   for it, unless `maxConnsPerHost` or `maxTotalConns` forbid. It gets whatever comes first: the dial or room on a
 *   connection that somebody gives back.
 * - Who waits for which dial is told in dialling.ts, how long a connection lives in connection-life.ts.
 * - A connection that is given back goes to the first waiter; without one, and without other requests on it, it is idle
 *   (idle-connections.ts).
 * - HTTP/1.1 carries one request at a time and HTTP/2 no more than the server allows, so nothing ever queues inside
 *   undici or the session, where it could not be called back or timed.
 * - A connection whose life is over, whose server leaves (GOAWAY), or whose TLS settings were replaced takes no new
 *   request, and closes when its last one has ended.
 * - A place is free when its socket has closed: by then the end of the old connection is on its way ahead of the new one.
 * - `maxTotalConns` is kept by closing an idle connection of another origin; else by the rules of fair-shares.ts.
 *
 * Invariants: `open` counts dials and connections until their sockets have closed; a queue that is not empty means that
 * no connection of that origin has room; a connection is idle, or has requests, or is retired, and is in the idle lists
 * only while idle and in `shared` only while it has requests and room; in a queue, those whom a dial was started for come
 * before those without; an origin is starved only while it has more waiters than its dials serve and room under
 * `maxConnsPerHost`, and while anyone is who was not promised all that it wants, no connection is idle.
 */
import type { Failure } from "../failure.ts";
import type { ResolvedOptions } from "../options.ts";
import type { ResolvedTls } from "../tls-options.ts";
import { Connection } from "./connection.ts";
import type { CloseReason, ConnectionWatcher } from "./connection-watcher.ts";
import type { Dialled } from "./dial.ts";
import { Dialling, tellWatchers, type DialOwner } from "./dialling.ts";
import { FairShares } from "./fair-shares.ts";
import { coveredBy, makeHost, queueFull, Waiter, type Host, type Leaving } from "./host.ts";
import { IdleConnections } from "./idle-connections.ts";
import { dueAt, expiry, isFresh, isOver, whyOver } from "./connection-life.ts";
import { dropShared, keepShared } from "./shared-connections.ts";

export { Waiter } from "./host.ts";

export class Transport {
  readonly watchers: Set<ConnectionWatcher> = new Set();
  readonly #options: ResolvedOptions;
  readonly #dialling: Dialling;
  readonly #hosts = new Map<string, Host>();
  readonly #idle: IdleConnections;
  readonly #connections = new Set<Connection>();
  readonly #shares: FairShares;
  /** Hosts with watchers, which want to know when there is room. */
  readonly #watched = new Set<Host>();
  #open = 0;
  #turns = 0;
  #closed = false;
  #onEmpty: (() => void) | undefined;

  constructor(options: ResolvedOptions) {
    this.#options = options;
    this.#shares = new FairShares(options.maxConnsPerHost);
    this.#dialling = new Dialling(options, this.#shares, this.#dialOwner());
    this.#idle = new IdleConnections(options, (connection, reason) => this.#retire(connection, reason));
  }

  get openCount(): number {
    return this.#open;
  }

  get idleCount(): number {
    return this.#idle.size;
  }

  get queuedCount(): number {
    let count = 0;
    for (const host of this.#hosts.values()) count += host.queue.size;
    return count;
  }

  /** Places that will be free by themselves. */
  get leavingCount(): number {
    return this.#shares.leavingCount;
  }

  countsOf(origin: string): { open: number; idle: number; queued: number; dialling: number; leaving: number } {
    const host = this.#hosts.get(origin);
    return {
      open: host?.open ?? 0,
      idle: host?.idle.length ?? 0,
      queued: host?.queue.size ?? 0,
      dialling: host?.dials.size ?? 0,
      leaving: host?.leaving ?? 0,
    };
  }

  /** Whether the next request would get a connection with room, or a dial as soon as what is just closing has closed. */
  hasRoom(origin: string): boolean {
    const { maxConnsPerHost, maxTotalConns } = this.#options;
    const host = this.#hosts.get(origin);
    if (host !== undefined && (host.idle.length > 0 || host.shared.length > 0)) return true;
    if (host !== undefined && host.open - host.leaving >= maxConnsPerHost) return false;
    return this.#open - this.#shares.leavingCount < maxTotalConns || this.#idle.size > 0;
  }

  /**
   * A connection with room at once, or else a place in the queue. `fresh`: for one that met a dead connection, a new one:
   * the idle ones of its origin are as old, and are closed.
   */
  acquire(origin: string, fresh = false): Connection | Waiter {
    if (fresh) for (const old of this.#hostOf(origin).idle.slice()) this.#retire(old, "stale");
    const host = this.#hostOf(origin);
    const connection = this.#take(host);
    if (connection !== undefined) return connection;
    const waiter = new Waiter(host, this.#turns++, fresh);
    host.queue.push(waiter);
    if (host.queue.size === 1) this.#dialling.wanted(host);
    this.#dialling.pump(host);
    // One that waits for a place that is just getting free is as good as one with a dial.
    const covered = coveredBy(host) + (host.leaving + host.promised) * host.share;
    if (waiter.dial === undefined && host.queue.size - covered > this.#options.maxQueue) {
      this.leave(waiter, queueFull(host, this.#options));
    }
    return waiter;
  }

  /** Ends a wait from outside. Without effect where the waiter has its result already. */
  leave(waiter: Waiter, failure: Failure): void {
    const { host } = waiter;
    if (!host.queue.remove(waiter)) return;
    this.#dialling.left(waiter);
    waiter.settle(failure);
    this.#dropIfEmpty(host);
  }

  /** A request has ended: its place goes to the next waiter, or the connection to the idle ones, or to its end. */
  checkIn(connection: Connection): void {
    connection.streams--;
    if (!connection.retired) this.#offer(connection);
  }

  /** The socket has closed, for whatever reason. */
  connectionClosed(connection: Connection): void {
    this.#retire(connection, connection.streams > 0 ? "request_failed" : "server");
    this.#placeFreed(connection);
  }

  /** HTTP/2: the server allows more or fewer requests, or leaves. */
  roomChanged(connection: Connection): void {
    if (connection.retired) return;
    if (connection.streams > 0) this.#offer(connection);
    else if (connection.draining) this.#retire(connection, this.#whyOver(connection));
  }

  /**
   * Opens up to `count` connections in all that nobody asked for yet, with at most so many dials, as far as the limits
   * allow without closing any. Returns how many dials it has started.
   */
  dialAhead(origin: string, count: number, dials: number): number {
    const host = this.#hostOf(origin);
    const started = this.#dialling.ahead(host, count, dials);
    this.#dropIfEmpty(host);
    return started;
  }

  /**
   * Calls `watcher` after each dial to an origin, with its failure if it failed, and whenever there may be room for another;
   * returns how to stop that.
   */
  watchDials(origin: string, watcher: (failure: Failure | undefined) => void): () => void {
    const host = this.#hostOf(origin);
    host.watchers ??= new Set();
    host.watchers.add(watcher);
    this.#watched.add(host);
    return () => {
      host.watchers?.delete(watcher);
      if (host.watchers?.size === 0) this.#watched.delete(host);
      this.#dropIfEmpty(host);
    };
  }

  /**
   * TLS settings for connections that are made from now on. Those that were made with others are closed: idle ones now,
   * the rest after their requests.
   */
  setTls(tls: ResolvedTls): void {
    this.#dialling.setTls(tls);
    for (const connection of this.#connections) {
      if (connection.tls === undefined || connection.tls === tls) continue;
      connection.draining = true;
      connection.closeReason = "tls_replaced";
      if (connection.streams === 0) this.#retire(connection, "tls_replaced");
      else dropShared(connection);
    }
  }

  /** Closes all idle connections, or those of one origin, and says how many. */
  closeIdle(reason: "asked" | "pool_closed", origin?: string): number {
    const idle = this.#idle.list().filter(({ host }) => origin === undefined || host.url.origin === origin);
    for (const connection of idle) this.#retire(connection, reason);
    return idle.length;
  }

  /** No waiter is served any more; connections end as they come back. */
  close(): void {
    this.#closed = true;
    this.closeIdle("pool_closed");
    for (const host of this.#hosts.values()) this.#dialling.cancel(host);
    this.#hosts.clear();
    this.#shares.clear();
    this.#idle.stop();
  }

  /** Closes every connection now. */
  destroy(): void {
    this.close();
    for (const connection of this.#connections) this.#retire(connection, "pool_closed");
  }

  /** Resolves when the last socket has closed, after `destroy`. */
  whenEmpty(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#open === 0) resolve();
      else this.#onEmpty = resolve;
    });
  }

  #hostOf(origin: string): Host {
    let host = this.#hosts.get(origin);
    if (host === undefined) {
      const { share, unknown } = this.#dialling.expect(origin);
      host = makeHost(origin, share, unknown);
      this.#hosts.set(origin, host);
    }
    return host;
  }

  // ---- giving out

  #take(host: Host): Connection | undefined {
    while (host.shared.length > 0) {
      const connection = host.shared.at(-1) as Connection;
      if (!this.#isOver(connection)) {
        connection.streams++;
        if (connection.streams >= connection.capacity) dropShared(connection);
        return connection;
      }
      dropShared(connection);
    }
    for (;;) {
      const connection = this.#idle.take(host);
      if (connection === undefined) return undefined;
      if (!connection.socket.destroyed && connection.expiresAt > this.#options.clock.now()) {
        connection.streams = 1;
        if (connection.capacity > 1) keepShared(connection);
        return connection;
      }
      this.#retire(connection, connection.socket.destroyed ? "server" : expiry(connection, this.#options.clock.now()));
    }
  }

  /** What becomes of a connection that has room, or had its last request. */
  #offer(connection: Connection): void {
    const { host } = connection;
    if (this.#isOver(connection)) {
      // The dial whose TLS settings were replaced meanwhile serves the one who waited for it.
      const owed = isFresh(connection) && connection.streams === 0 && !connection.socket.destroyed && !this.#closed;
      if (!owed || host.queue.first === undefined) {
        const ends = connection.streams === 0 || connection.socket.destroyed;
        if (ends) this.#retire(connection, this.#whyOver(connection));
        else dropShared(connection);
        return;
      }
    }
    if (this.#shares.anyoneWaits && this.#yields(connection)) return;
    for (;;) {
      if (connection.streams >= connection.capacity) break;
      const waiter = host.queue.first;
      if (waiter === undefined) break;
      if (waiter.fresh && connection.mayBeStale && !connection.isHttp2) {
        // Its place is for the dial of that one.
        this.#retire(connection, "stale");
        return;
      }
      host.queue.shift();
      this.#dialling.left(waiter);
      connection.streams++;
      waiter.settle(connection);
      if (connection.draining) break;
    }
    if (connection.streams === 0) {
      // Nobody who used it has unref'd it.
      if (isFresh(connection)) connection.socket.unref();
      this.#idle.add(connection);
    }
    if (connection.capacity > 1 || connection.isShared) keepShared(connection);
  }

  /** Whether it may take no more requests. */
  #isOver(connection: Connection): boolean {
    return this.#closed || isOver(connection, this.#options);
  }

  #whyOver(connection: Connection): CloseReason {
    return whyOver(connection, this.#closed, this.#options);
  }

  /** Gives the connection up for a starved origin; one with requests on it as soon as they have ended. */
  #yields(connection: Connection): boolean {
    const { host } = connection;
    const waiter = host.queue.first;
    if (waiter !== undefined && isFresh(connection)) return false;
    const starved = this.#shares.yieldsTo(host, waiter);
    if (starved === undefined) return false;
    this.#shares.promise(connection, starved);
    if (connection.streams > 0) {
      connection.draining = true;
      connection.closeReason = "max_total";
      dropShared(connection);
      return true;
    }
    this.#retire(connection, "max_total");
    return true;
  }

  /** What dials may do here. */
  #dialOwner(): DialOwner {
    const isClosed = (): boolean => this.#closed;
    return {
      get closed() {
        return isClosed();
      },
      hasPlace: () => this.#open < this.#options.maxTotalConns,
      makeRoom: (host) => this.#makeRoom(host),
      count: (host) => {
        host.open++;
        this.#open++;
      },
      enter: (host, dialled) => this.#enter(host, dialled),
      offer: (connection) => this.#offer(connection),
      failed: (host, failure, durationMs) => {
        for (const watcher of this.watchers) watcher.failed(host.url.origin, failure, durationMs);
      },
      leaves: (host, dial) => {
        const leaving: Leaving = { host, heir: undefined };
        this.#shares.leaves(leaving);
        dial.whenClosed(() => this.#placeFreed(leaving));
      },
    };
  }

  // ---- the books

  #enter(host: Host, dialled: Dialled): Connection {
    const connection = new Connection(this, host, dialled, dueAt(this.#options), this.#options);
    this.#connections.add(connection);
    if (connection.tls !== undefined && connection.tls !== this.#dialling.tls) {
      connection.draining = true;
      connection.closeReason = "tls_replaced";
    }
    for (const watcher of this.watchers) watcher.connected(host.url.origin, connection);
    return connection;
  }

  /** Closes it. Its place is free when its socket has closed. */
  #retire(connection: Connection, reason: CloseReason): void {
    if (connection.retired) return;
    connection.retired = true;
    this.#connections.delete(connection);
    this.#idle.delete(connection);
    dropShared(connection);
    this.#shares.leaves(connection);
    connection.destroy();
    const { origin } = connection.host.url;
    for (const watcher of this.watchers) watcher.closed(origin, connection, reason);
  }

  /** Once for each connection and each dial without one. */
  #placeFreed(leaving: Leaving): void {
    const { host } = leaving;
    host.open--;
    this.#open--;
    const heir = this.#shares.left(leaving);
    if (heir !== undefined) {
      this.#shares.delete(heir);
      this.#dialling.pump(heir);
    }
    for (const starved of this.#shares) {
      if (this.#open >= this.#options.maxTotalConns) break;
      // Where it wants more than it gets, the others come first.
      this.#shares.delete(starved);
      this.#dialling.pump(starved);
    }
    this.#dialling.pump(host);
    for (const watched of this.#watched) tellWatchers(watched, undefined);
    this.#dropIfEmpty(host);
    if (this.#open === 0) this.#onEmpty?.();
  }

  #dropIfEmpty(host: Host): void {
    if (host.open === 0 && host.queue.size === 0 && (host.watchers?.size ?? 0) === 0) {
      if (this.#hosts.get(host.url.origin) === host) this.#hosts.delete(host.url.origin);
      this.#shares.delete(host);
    }
  }

  #makeRoom(host: Host): void {
    while (this.#shares.wantsMore(host)) {
      const connection = this.#idle.longest();
      if (connection === undefined) return;
      this.#shares.promise(connection, host);
      this.#retire(connection, "max_total");
    }
  }
}
