import type { HttpPhase } from "../errors.ts";
import type { Failure } from "../failure.ts";
import type { Connection } from "./connection.ts";
import type { Dial } from "./dial.ts";
import type { Linked } from "../linked-list.ts";
import { WaitQueue } from "./wait-queue.ts";

/** What the transport keeps of one origin while it has connections or waiters. */
export interface Host {
  /** Made for this host and known to nobody else, so that no caller can turn its connections to another server. */
  readonly url: URL;
  readonly queue: WaitQueue<Waiter>;
  /** The one that was used last is at the end. */
  readonly idle: Connection[];
  /** HTTP/2 only: connections that carry requests and have room for more. */
  readonly shared: Connection[];
  /** Dials in flight and for whom each was started, if that waiter still waits. */
  readonly dials: Map<Dial, Waiter | undefined>;
  /** Connections and dials, until their sockets have closed. */
  open: number;
  /** Those of them that will be gone soon: the socket is closing, or they end with their last request for another origin. */
  leaving: number;
  /** Places of others that will be its own as soon as they are free. */
  promised: number;
  /** How many waiters one dial will serve: 1 with HTTP/1.1, more with HTTP/2. */
  share: number;
  /** Nobody knows yet which of the two it speaks: one dial finds out, and the others wait for it. */
  unknown: boolean;
  /** Told of every dial that ends. */
  watchers: Set<(failure: Failure | undefined) => void> | undefined;
}

/** A connection, or a dial that has failed, whose place is free when its socket has closed. */
export interface Leaving {
  readonly host: Host;
  /** The origin that gets the place, if it still wants it then. */
  heir: Host | undefined;
}

export function makeHost(origin: string, share: number, unknown: boolean): Host {
  return {
    url: new URL(origin),
    queue: new WaitQueue(),
    idle: [],
    shared: [],
    dials: new Map(),
    open: 0,
    leaving: 0,
    promised: 0,
    share,
    unknown,
    watchers: undefined,
  };
}

/** How many waiters the dials in flight will serve. */
export function coveredBy({ dials, share }: Host): number {
  return dials.size * share;
}

/** How many more dials its waiters want, as far as `maxConnsPerHost` allows. */
export function lacking(host: Host, maxConnsPerHost: number): number {
  const waiting = host.queue.size - coveredBy(host);
  if (host.unknown) return waiting > 0 && host.dials.size === 0 ? 1 : 0;
  return Math.min(Math.ceil(Math.max(0, waiting) / host.share), maxConnsPerHost - host.open);
}

/** HTTP/2: those whom no dial was started for wait together for the dials in flight, as far as these will serve them. */
export function joinDials(host: Host): void {
  for (const dial of host.dials.keys()) {
    while (dial.sharers < host.share) {
      const waiter = host.queue.advance();
      if (waiter === undefined) return;
      waiter.dial = dial;
      dial.sharers++;
    }
  }
}

/** A dial serves more waiters than was thought, or fewer: all are spread anew over the dials in flight, in their order. */
export function replan(host: Host, share: number): void {
  host.share = share;
  for (const waiter of host.queue) waiter.dial = undefined;
  host.queue.rewind();
  for (const dial of host.dials.keys()) {
    dial.sharers = 0;
    const owner = share === 1 ? host.queue.advance() : undefined;
    if (owner !== undefined) owner.dial = dial;
    host.dials.set(dial, owner);
  }
  if (share > 1) joinDials(host);
}

export function queueFull(host: Host, limits: { maxConnsPerHost: number; maxQueue: number }): Failure {
  const waiting = Math.max(0, host.queue.size - coveredBy(host) - 1);
  const numbers = `${waiting} requests wait, ${host.open} of ${limits.maxConnsPerHost} connections are open`;
  return {
    reason: "queue_full",
    phase: "queue",
    code: "ERR_VG_HTTP_QUEUE_FULL",
    detail: `the queue to ${host.url.origin} is full (maxQueue ${limits.maxQueue}; ${numbers}). Send less at once, or raise maxConnsPerHost or maxQueue`,
    sent: false,
  };
}

/** A request's place in the queue of its origin. */
export class Waiter implements Linked<Waiter> {
  previous: Waiter | undefined;
  next: Waiter | undefined;
  linked = false;
  readonly host: Host;
  /** The order in which all waiters of the pool came. */
  readonly turn: number;
  /** Takes no connection that was used before. */
  readonly fresh: boolean;
  /** The last dial that it waited for. */
  lastDial: Dial | undefined;
  #dial: Dial | undefined;
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

  /** The dial that was started for it, that it took over, or that it shares. */
  get dial(): Dial | undefined {
    return this.#dial;
  }

  set dial(dial: Dial | undefined) {
    this.#dial = dial;
    if (dial !== undefined) this.lastDial = dial;
  }

  get phase(): HttpPhase {
    return this.#dial?.phase ?? "queue";
  }

  settle(result: Connection | Failure): void {
    this.#resolve(result);
  }
}
