/**
 * The connections of a pool. Rules, after Go's net/http Transport, from which the limits take their names:
 *
 * - A request takes the idle connection that was used last, so that a shrinking load leaves the others to age out.
 *   Where there is none, it waits in its origin's queue (first come, first served) and a dial is started for it,
 *   unless `maxConnsPerHost` or `maxTotalConns` forbid. It gets whatever comes first: the dial or a connection that
 *   somebody gives back.
 * - A connection that is given back goes to the first waiter; without one it is idle. After the current turn of the
 *   event loop at most `maxIdleConnsPerHost` and `maxIdleConns` are left idle: the longest idle go first.
 * - A connection carries one request at a time, so nothing ever queues inside undici, where it could not be called
 *   back or timed.
 * - `maxTotalConns` is kept by closing an idle connection of another origin. An origin that finds none is starved: the
 *   next connection that nobody of its own origin waits for is closed for it; so is one of an origin that has more, or,
 *   where the starved one has none at all, whose first waiter came later. That leads to equal shares and stops there:
 *   two busy origins do not take connections from each other for ever.
 *
 * Invariants: `open` counts dials and connections until they are retired; a queue that is not empty means that no idle
 * connection of that origin exists; a connection is idle, leased or retired, and in the idle lists only while idle; in
 * a queue, those whom a dial was started for come before those without; an origin is in `#starved` only while it has
 * more waiters than dials and room under `maxConnsPerHost`, and while anyone is, no connection is idle.
 */
import type { Socket } from "node:net";
import type { Failure } from "../exchange/failure.ts";
import type { HttpPhase } from "../errors.ts";
import type { ResolvedOptions } from "../options.ts";
import { Connection } from "./connection.ts";
import { Dialer, type Dial, type DialTimes } from "./dial.ts";
import { WaitQueue, type Waiting } from "./wait-queue.ts";

/** What the transport keeps of one origin while it has connections or waiters. */
export interface Host {
  /** Made for this host and known to nobody else, so that no caller can turn its connections to another server. */
  readonly url: URL;
  readonly queue: WaitQueue<Waiter>;
  /** The one that was used last is at the end. */
  readonly idle: Connection[];
  /** Dials in flight and for whom each was started, if that waiter still waits. */
  readonly dials: Map<Dial, Waiter | undefined>;
  open: number;
}

/** A request's place in the queue of its origin. */
export class Waiter implements Waiting {
  previous: Waiting | undefined;
  next: Waiting | undefined;
  queued = false;
  readonly host: Host;
  /** The order in which all waiters of the pool came. */
  readonly turn: number;
  /** Takes no connection that was used before. */
  readonly fresh: boolean;
  dial: Dial | undefined;
  /** The connection, or why there is none. Never rejects. */
  readonly result: Promise<Connection | Failure>;
  #resolve!: (result: Connection | Failure) => void;

  constructor(host: Host, turn: number, fresh: boolean) {
    this.host = host;
    this.turn = turn;
    this.fresh = fresh;
    this.result = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  get phase(): HttpPhase {
    return this.dial?.phase ?? "queue";
  }

  settle(result: Connection | Failure): void {
    this.#resolve(result);
  }
}

export class Transport {
  readonly #options: ResolvedOptions;
  readonly #dialer: Dialer;
  readonly #hosts = new Map<string, Host>();
  /** All idle connections; the longest idle comes first. */
  readonly #idle = new Set<Connection>();
  readonly #connections = new Set<Connection>();
  /** Origins that may not dial because of `maxTotalConns`, in the order in which they came. */
  readonly #starved = new Set<Host>();
  #open = 0;
  #turns = 0;
  #idleTimer: NodeJS.Timeout | undefined;
  #trimScheduled = false;
  #closed = false;
  connectCount = 0;
  connectFailureCount = 0;

  constructor(options: ResolvedOptions) {
    this.#options = options;
    this.#dialer = new Dialer(options);
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

  countsOf(origin: string): { open: number; idle: number; queued: number } {
    const host = this.#hosts.get(origin);
    return { open: host?.open ?? 0, idle: host?.idle.length ?? 0, queued: host?.queue.size ?? 0 };
  }

  /**
   * An idle connection at once, or else a place in the queue. `fresh`: for one that met a dead connection, a new one: the
   * idle ones of its origin are as old, and are closed.
   */
  acquire(origin: string, fresh = false): Connection | Waiter {
    if (fresh) for (const old of this.#hostOf(origin).idle.slice()) this.#retire(old);
    const host = this.#hostOf(origin);
    const connection = this.#takeIdle(host);
    if (connection !== undefined) return connection;
    const waiter = new Waiter(host, this.#turns++, fresh);
    host.queue.push(waiter);
    if (host.queue.size === 1) for (const dial of host.dials.keys()) dial.setWanted(true);
    this.#pump(host);
    if (waiter.dial === undefined && host.queue.size - host.dials.size > this.#options.maxQueue) {
      this.leave(waiter, queueFull(host, this.#options));
    }
    return waiter;
  }

  /** Ends a wait from outside. Without effect where the waiter has its result already. */
  leave(waiter: Waiter, failure: Failure): void {
    const { host } = waiter;
    if (!host.queue.remove(waiter)) return;
    this.#left(waiter);
    waiter.settle(failure);
    this.#dropIfEmpty(host);
  }

  /** Takes a connection back: for the next waiter, to the idle ones, or to its end. */
  checkIn(connection: Connection): void {
    if (connection.retired) return;
    const { host } = connection;
    if (connection.socket.destroyed || this.#closed || (this.#options.disableKeepAlives && connection.served > 0)) {
      this.#retire(connection);
      return;
    }
    const waiter = host.queue.first();
    const fresh = connection.served === 0 && !connection.wasIdle;
    const yields = this.#starved.size > 0 && (waiter === undefined || !fresh);
    const starved = yields ? this.#yieldsTo(host, waiter) : undefined;
    if (starved !== undefined) {
      this.#remove(connection);
      this.#starved.delete(starved);
      this.#pump(starved);
      this.#pump(host);
      this.#dropIfEmpty(host);
    } else if (waiter?.fresh === true && !fresh) {
      // Its place is for the dial of that one.
      this.#retire(connection);
    } else if (waiter !== undefined) {
      host.queue.shift();
      this.#left(waiter);
      waiter.settle(connection);
    } else {
      connection.wasIdle = true;
      connection.idleSince = this.#options.clock.now();
      host.idle.push(connection);
      this.#idle.add(connection);
      this.#armIdleTimer();
      if (host.idle.length > this.#options.maxIdleConnsPerHost || this.#idle.size > this.#options.maxIdleConns) {
        this.#scheduleTrim();
      }
    }
  }

  /** The socket has closed, for whatever reason. */
  connectionClosed(connection: Connection): void {
    this.#remove(connection);
    this.#slotFreed(connection.host);
  }

  /** Closes all idle connections and says how many. */
  closeIdle(): number {
    const idle = [...this.#idle];
    for (const connection of idle) this.#retire(connection);
    return idle.length;
  }

  /** No waiter is served any more; connections end as they come back. */
  close(): void {
    this.#closed = true;
    this.closeIdle();
    for (const host of this.#hosts.values()) {
      for (const dial of host.dials.keys()) dial.cancel();
      this.#open -= host.dials.size;
      host.open -= host.dials.size;
      host.dials.clear();
    }
    this.#hosts.clear();
    this.#starved.clear();
    clearTimeout(this.#idleTimer);
  }

  /** Closes every connection now. */
  destroy(): void {
    this.close();
    for (const connection of this.#connections) this.#remove(connection);
  }

  #hostOf(origin: string): Host {
    let host = this.#hosts.get(origin);
    if (host === undefined) {
      host = { url: new URL(origin), queue: new WaitQueue(), idle: [], dials: new Map(), open: 0 };
      this.#hosts.set(origin, host);
    }
    return host;
  }

  #takeIdle(host: Host): Connection | undefined {
    for (;;) {
      const connection = host.idle.pop();
      if (connection === undefined) return undefined;
      this.#idle.delete(connection);
      if (!connection.socket.destroyed) return connection;
      // Its "close" event, which wakes those who wait for a slot, is yet to come.
      this.#remove(connection);
    }
  }

  /** After a waiter has left its queue, served or not: its own dial goes on, for the next one. */
  #left(waiter: Waiter): void {
    const { host } = waiter;
    if (waiter.dial !== undefined) host.dials.set(waiter.dial, undefined);
    waiter.dial = undefined;
    if (host.queue.size <= host.dials.size) this.#starved.delete(host);
    if (host.queue.size === 0) for (const dial of host.dials.keys()) dial.setWanted(false);
  }

  /** The starved origin for which a connection of `host` is closed, instead of going to `waiter`. */
  #yieldsTo(host: Host, waiter: Waiter | undefined): Host | undefined {
    for (const starved of this.#starved) {
      if (starved === host) continue;
      if (waiter === undefined) return starved;
      const first = starved.queue.first();
      const longer = first !== undefined && first.turn < waiter.turn;
      if (starved.open === 0) return longer ? starved : undefined;
      if (longer && starved.open + 1 < host.open) return starved;
    }
    return undefined;
  }

  /** Dials for waiters that no dial covers yet, as far as the limits allow. */
  #pump(host: Host): void {
    const { maxConnsPerHost, maxTotalConns } = this.#options;
    while (!this.#closed && host.dials.size < host.queue.size && host.open < maxConnsPerHost) {
      if (this.#open >= maxTotalConns && !this.#evictLongestIdle()) {
        this.#starved.add(host);
        return;
      }
      this.#dialFor(host);
    }
    this.#starved.delete(host);
  }

  #dialFor(host: Host): void {
    const waiter = host.queue.advance();
    host.open++;
    this.#open++;
    const dial: Dial = this.#dialer.dial(
      host.url,
      (socket, times) => this.#dialled(host, dial, socket, times),
      (failure) => this.#dialFailed(host, dial, failure),
    );
    host.dials.set(dial, waiter);
    if (waiter !== undefined) waiter.dial = dial;
  }

  #dialled(host: Host, dial: Dial, socket: Socket, times: DialTimes): void {
    this.connectCount++;
    const owner = host.dials.get(dial);
    host.dials.delete(dial);
    const connection = new Connection(this, host, socket, times, this.#options);
    this.#connections.add(connection);
    const first = host.queue.first();
    if (owner !== undefined) owner.dial = undefined;
    if (owner !== undefined && first !== undefined && owner !== first && first.dial !== undefined) {
      // The first in the queue takes this connection and leaves its own dial to the one who had this.
      owner.dial = first.dial;
      host.dials.set(first.dial, owner);
      first.dial = undefined;
    }
    if (first === undefined) socket.unref();
    this.checkIn(connection);
  }

  #dialFailed(host: Host, dial: Dial, failure: Failure): void {
    this.connectFailureCount++;
    const owner = host.dials.get(dial);
    host.dials.delete(dial);
    host.open--;
    this.#open--;
    // Only the one who asked for it hears of it: the others have dials of their own, or get one now.
    if (owner !== undefined && host.queue.remove(owner)) {
      owner.dial = undefined;
      this.#left(owner);
      owner.settle(failure);
    }
    this.#slotFreed(host);
  }

  #retire(connection: Connection): void {
    if (this.#remove(connection)) this.#slotFreed(connection.host);
  }

  #remove(connection: Connection): boolean {
    if (connection.retired) return false;
    connection.retired = true;
    const { host } = connection;
    this.#connections.delete(connection);
    if (this.#idle.delete(connection)) host.idle.splice(host.idle.indexOf(connection), 1);
    host.open--;
    this.#open--;
    connection.socket.destroy();
    return true;
  }

  #slotFreed(host: Host): void {
    for (const starved of this.#starved) {
      if (this.#open >= this.#options.maxTotalConns) break;
      // Where it wants more than it gets, the others come first.
      this.#starved.delete(starved);
      this.#pump(starved);
    }
    this.#pump(host);
    this.#dropIfEmpty(host);
  }

  #dropIfEmpty(host: Host): void {
    if (host.open === 0 && host.queue.size === 0) {
      // The socket of one that was dropped already may close after its origin has a new one.
      if (this.#hosts.get(host.url.origin) === host) this.#hosts.delete(host.url.origin);
      this.#starved.delete(host);
    }
  }

  #evictLongestIdle(): boolean {
    const [connection] = this.#idle;
    if (connection === undefined) return false;
    this.#remove(connection);
    this.#dropIfEmpty(connection.host);
    return true;
  }

  /** At the end of the turn: a burst that takes the connections again at once shall find them. */
  #scheduleTrim(): void {
    if (this.#trimScheduled) return;
    this.#trimScheduled = true;
    setImmediate(() => {
      this.#trimScheduled = false;
      const { maxIdleConns, maxIdleConnsPerHost } = this.#options;
      for (const connection of this.#idle) {
        const { idle } = connection.host;
        if (idle.length > maxIdleConnsPerHost || this.#idle.size > maxIdleConns) this.#retire(connection);
      }
    });
  }

  #armIdleTimer(): void {
    if (this.#idleTimer !== undefined) return;
    const [oldest] = this.#idle;
    if (oldest === undefined) return;
    const { clock, idleConnTimeoutMs } = this.#options;
    const wait = Math.max(1, oldest.idleSince + idleConnTimeoutMs - clock.now());
    this.#idleTimer = setTimeout(() => {
      this.#idleTimer = undefined;
      const limit = clock.now() - idleConnTimeoutMs;
      for (const connection of this.#idle) {
        if (connection.idleSince > limit) break;
        this.#retire(connection);
      }
      this.#armIdleTimer();
    }, wait).unref();
  }
}

function queueFull(host: Host, options: ResolvedOptions): Failure {
  const waiting = Math.max(0, host.queue.size - host.dials.size - 1);
  const numbers = `${waiting} requests wait, ${host.open} of ${options.maxConnsPerHost} connections are open`;
  return {
    reason: "queue_full",
    phase: "queue",
    code: "ERR_VG_HTTP_QUEUE_FULL",
    detail: `the queue to ${host.url.origin} is full (maxQueue ${options.maxQueue}; ${numbers}). Send less at once, or raise maxConnsPerHost or maxQueue`,
    sent: false,
  };
}
