/**
 * The dials of a pool: for whom they are started, who waits for which, and who hears that one has failed.
 *
 * With HTTP/1.1 each waiter has a dial of its own, which goes on for the next one where the waiter is served by another
 * connection or leaves. With HTTP/2 one dial serves many: those who come meanwhile share it, and its failure. While
 * nobody knows which of the two an origin speaks, one dial finds out.
 */
import type { Failure } from "../failure.ts";
import type { Clock, ResolvedOptions } from "../options.ts";
import type { ResolvedTls } from "../tls-options.ts";
import type { Connection } from "./connection.ts";
import { Dialer, type Dial, type Dialled } from "./dial.ts";
import type { FairShares } from "./fair-shares.ts";
import { coveredBy, joinDials, replan, type Host, type Waiter } from "./host.ts";
import { ProtocolMemory } from "./protocol-memory.ts";

/** Who keeps the books. */
export interface DialOwner {
  readonly closed: boolean;
  /** Whether one more connection may be opened, without closing another. */
  hasPlace(): boolean;
  /** Closes idle connections, of whatever origin, for one that may not dial; it is told when a place is free. */
  makeRoom(host: Host): void;
  /** Counts a dial. */
  count(host: Host): void;
  /** Puts a connection on the books in the place of its dial. */
  enter(host: Host, dialled: Dialled): Connection;
  /** Gives a new connection out. */
  offer(connection: Connection): void;
  /** A dial has failed. */
  failed(host: Host, failure: Failure, durationMs: number): void;
  /** A dial has ended without a connection. Its place is free when its socket has closed. */
  leaves(host: Host, dial: Dial): void;
}

export class Dialling {
  readonly #owner: DialOwner;
  readonly #shares: FairShares;
  readonly #maxConnsPerHost: number;
  readonly #clock: Clock;
  readonly #dialer: Dialer;
  readonly #protocols: ProtocolMemory;

  constructor(options: ResolvedOptions, shares: FairShares, owner: DialOwner) {
    this.#owner = owner;
    this.#shares = shares;
    this.#maxConnsPerHost = options.maxConnsPerHost;
    this.#clock = options.clock;
    this.#dialer = new Dialer(options);
    this.#protocols = new ProtocolMemory(options);
  }

  /** What dials that begin now use. */
  get tls(): ResolvedTls {
    return this.#dialer.tls;
  }

  setTls(tls: ResolvedTls): void {
    this.#dialer.setTls(tls);
  }

  /** For how many waiters one dial to this origin will do, or that nobody knows. */
  expect(origin: string): { share: number; unknown: boolean } {
    return this.#protocols.expect(origin);
  }

  /** Dials for waiters that no dial covers yet, as far as the limits allow. */
  pump(host: Host): void {
    if (host.share > 1) joinDials(host);
    while (!this.#owner.closed && coveredBy(host) < host.queue.size && host.open < this.#maxConnsPerHost) {
      if (host.unknown && host.dials.size > 0) break;
      if (!this.#owner.hasPlace()) {
        this.#shares.add(host);
        this.#owner.makeRoom(host);
        return;
      }
      const dial = this.#start(host);
      if (host.share > 1) joinDials(host);
      else {
        const waiter = host.queue.advance();
        host.dials.set(dial, waiter);
        if (waiter !== undefined) waiter.dial = dial;
      }
    }
    this.#shares.delete(host);
  }

  /**
   * At most `dials` that nobody has asked for yet, until `count` are open in all; takes no place from anybody. Returns how
   * many it has started.
   */
  ahead(host: Host, count: number, dials: number): number {
    const most = Math.min(count, this.#maxConnsPerHost);
    let started = 0;
    while (!this.#owner.closed && host.open - host.leaving < most && host.open < this.#maxConnsPerHost) {
      if (started >= dials || !this.#owner.hasPlace() || this.#shares.anyoneWaits) break;
      this.#start(host).setWanted(host.queue.size > 0);
      started++;
    }
    return started;
  }

  /** A waiter has come to an empty queue: the process stays alive for the dials that it hopes for. */
  wanted(host: Host): void {
    for (const dial of host.dials.keys()) dial.setWanted(true);
  }

  /** A waiter has left its queue, served or not: its own dial goes on, for the next one. */
  left(waiter: Waiter): void {
    const { host, dial } = waiter;
    if (dial !== undefined) {
      if (dial.sharers > 0) dial.sharers--;
      else host.dials.set(dial, undefined);
      waiter.dial = undefined;
    }
    if (host.queue.size <= coveredBy(host)) this.#shares.delete(host);
    if (host.queue.size === 0) for (const pending of host.dials.keys()) pending.setWanted(false);
  }

  /** Ends all dials to a host. */
  cancel(host: Host): void {
    for (const dial of host.dials.keys()) {
      dial.cancel();
      this.#owner.leaves(host, dial);
    }
    host.dials.clear();
    tellWatchers(host, undefined);
  }

  #start(host: Host): Dial {
    this.#owner.count(host);
    const dial: Dial = this.#dialer.dial(host.url, {
      connected: (dialled) => this.#connected(host, dial, dialled),
      failed: (failure) => this.#failed(host, dial, failure),
    });
    host.dials.set(dial, undefined);
    return dial;
  }

  #connected(host: Host, dial: Dial, dialled: Dialled): void {
    const startedFor = host.dials.get(dial);
    host.dials.delete(dial);
    const connection = this.#owner.enter(host, dialled);
    const owner = this.#learn(host, connection, dial) ? undefined : startedFor;
    const first = host.queue.first;
    if (owner !== undefined) owner.dial = undefined;
    if (owner !== undefined && first !== undefined && owner !== first && first.dial !== undefined) {
      // The first in the queue takes this connection and leaves its own dial to the one who had this.
      owner.dial = first.dial;
      host.dials.set(first.dial, owner);
      first.dial = undefined;
    }
    this.#owner.offer(connection);
    if (host.queue.size > 0) this.pump(host);
    tellWatchers(host, undefined);
  }

  /**
   * What the server speaks, and how much of it, decides for how many waiters a dial is enough. Returns whether that has
   * changed who waits for which dial.
   */
  #learn(host: Host, connection: Connection, dial: Dial): boolean {
    const share = connection.isHttp2 ? connection.capacity : 1;
    this.#protocols.remember(host.url.origin, share);
    if (dial.sharers === 0 && host.share === share && !host.unknown) return false;
    host.unknown = false;
    replan(host, share);
    return true;
  }

  #failed(host: Host, dial: Dial, failure: Failure): void {
    const owner = host.dials.get(dial);
    host.dials.delete(dial);
    this.#owner.leaves(host, dial);
    // Only those who waited for it hear of it: the others have dials of their own, or get one now.
    const concerned = dial.sharers > 0 ? [...host.queue].filter((waiter) => waiter.dial === dial) : [owner];
    for (const waiter of concerned) {
      if (waiter === undefined || !host.queue.remove(waiter)) continue;
      waiter.dial = undefined;
      this.left(waiter);
      waiter.settle(failure);
    }
    this.#owner.failed(host, failure, this.#clock.now() - dial.startedAt);
    tellWatchers(host, failure);
  }
}

export function tellWatchers(host: Host, failure: Failure | undefined): void {
  if (host.watchers !== undefined) for (const watcher of host.watchers) watcher(failure);
}
