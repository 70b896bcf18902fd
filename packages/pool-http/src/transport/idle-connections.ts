/**
 * The connections that nobody uses. Each leaves at its time (idle for too long, near the end of what the server
 * promised to keep it, or of its own life), and after every turn of the event loop at most `maxIdleConnsPerHost` and
 * `maxIdleConns` are left: the longest idle go first.
 */
import { LONGEST_DELAY_MS } from "@vg/internal";
import type { ResolvedOptions } from "../options.ts";
import type { Connection } from "./connection.ts";
import { expiry } from "./connection-life.ts";
import type { CloseReason } from "./connection-watcher.ts";
import type { Host } from "./host.ts";

export class IdleConnections {
  readonly #options: ResolvedOptions;
  /** Takes a connection off the books, out of here included, and closes it. */
  readonly #retire: (connection: Connection, reason: CloseReason) => void;
  /** The longest idle comes first. */
  readonly #all = new Set<Connection>();
  #timer: NodeJS.Timeout | undefined;
  /** When the timer fires. */
  #wakesAt = Number.POSITIVE_INFINITY;
  #trimScheduled = false;

  constructor(options: ResolvedOptions, retire: (connection: Connection, reason: CloseReason) => void) {
    this.#options = options;
    this.#retire = retire;
  }

  get size(): number {
    return this.#all.size;
  }

  add(connection: Connection): void {
    const now = this.#options.clock.now();
    const { host } = connection;
    connection.wasIdle = true;
    connection.expiresAt = Math.min(
      connection.dueAt,
      now + Math.min(this.#options.idleConnTimeoutMs, connection.keptForMs),
    );
    host.idle.push(connection);
    this.#all.add(connection);
    if (connection.expiresAt < this.#wakesAt) this.#wakeAt(connection.expiresAt, now);
    if (host.idle.length > this.#options.maxIdleConnsPerHost || this.#all.size > this.#options.maxIdleConns) {
      this.#scheduleTrim();
    }
  }

  /** The one of a host that was used last, so that a shrinking load leaves the others to age out. */
  take(host: Host): Connection | undefined {
    const connection = host.idle.pop();
    if (connection !== undefined) this.#all.delete(connection);
    return connection;
  }

  /** Returns whether it was here. */
  delete(connection: Connection): boolean {
    if (!this.#all.delete(connection)) return false;
    const { idle } = connection.host;
    idle.splice(idle.indexOf(connection), 1);
    return true;
  }

  longest(): Connection | undefined {
    const [connection] = this.#all;
    return connection;
  }

  /** A copy: they may be retired meanwhile. */
  list(): Connection[] {
    return [...this.#all];
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#wakesAt = Number.POSITIVE_INFINITY;
  }

  /** At the end of the turn: a burst that takes the connections again at once shall find them. */
  #scheduleTrim(): void {
    if (this.#trimScheduled) return;
    this.#trimScheduled = true;
    setImmediate(() => {
      this.#trimScheduled = false;
      const { maxIdleConns, maxIdleConnsPerHost } = this.#options;
      for (const connection of this.#all) {
        const { idle } = connection.host;
        if (idle.length > maxIdleConnsPerHost || this.#all.size > maxIdleConns) this.#retire(connection, "max_idle");
      }
    });
  }

  /** The timer is set for the first to leave when it was set; who joins later mostly leaves later. */
  #wakeAt(at: number, now: number): void {
    clearTimeout(this.#timer);
    this.#wakesAt = at;
    const wait = Math.min(Math.max(1, at - now), LONGEST_DELAY_MS);
    this.#timer = setTimeout(() => this.#wake(), wait).unref();
  }

  #wake(): void {
    this.#timer = undefined;
    this.#wakesAt = Number.POSITIVE_INFINITY;
    const now = this.#options.clock.now();
    let next = Number.POSITIVE_INFINITY;
    for (const connection of this.#all) {
      if (connection.expiresAt <= now) this.#retire(connection, expiry(connection, now));
      else next = Math.min(next, connection.expiresAt);
    }
    // Retiring may have let others in.
    if (next < this.#wakesAt) this.#wakeAt(next, now);
  }
}
