import type { Socket } from "node:net";
import { Client, type Dispatcher } from "undici";
import type { Dialled, DialTimes } from "./dial.ts";
import type { CloseReason } from "./connection-watcher.ts";
import type { Host, Leaving } from "./host.ts";
import type { Http2Session } from "./http2-session.ts";
import type { Proxy } from "./proxy.ts";
import { CONNECTION_GONE } from "./signals.ts";
import type { ResolvedTls } from "../tls-options.ts";
import type { Transport } from "./transport.ts";

/** How long before a server's Keep-Alive time is over a connection is left alone: 2 s, or half of a short time. */
const HINT_MARGIN_MS = 2000;

export interface ConnectionSettings {
  readonly maxHeaderBytes: number;
  readonly idleConnTimeoutMs: number;
  readonly disableKeepAlives: boolean;
}

/**
 * A connected socket and what speaks HTTP over it and no other: an undici Client with one request at a time, or an
 * HTTP/2 session with as many as the server allows.
 */
export class Connection implements Leaving {
  readonly host: Host;
  readonly socket: Socket;
  readonly times: DialTimes;
  /** With which settings TLS was made; `undefined` without TLS. */
  readonly tls: ResolvedTls | undefined;
  /** Requests that ended well on it; 0 is a fresh connection. */
  served = 0;
  /** Requests that have it now. */
  streams = 0;
  /** How many may have it at once: 1 with HTTP/1.1. */
  capacity = 1;
  /** It takes no more requests, and closes when the last one has ended. */
  draining = false;
  /** It is in its host's list of those that carry requests and have room. */
  isShared = false;
  /** It was idle at some time, so the server may have closed it meanwhile; a spare dial never served anybody. */
  wasIdle = false;
  /** The clock's time when an idle one leaves. */
  expiresAt: number = Number.POSITIVE_INFINITY;
  /** The clock's time at which its life is over. */
  readonly dueAt: number;
  /** For how long the server keeps it idle, as far as it said so and less a margin. */
  keptForMs: number = Number.POSITIVE_INFINITY;
  /** A request on it failed or was given up, and it cannot be used again. */
  broken = false;
  /** With HTTP/1.1: it broke, as opposed to having been ended in order. */
  error: Error | undefined;
  /** Why it is draining, where that was our wish. */
  closeReason: CloseReason | undefined;
  /** Nobody gets it any more; it counts until its socket has closed. */
  retired = false;
  /** The origin for which it is given up. */
  heir: Host | undefined;
  readonly #transport: Transport;
  readonly #settings: ConnectionSettings;
  readonly #http2: Http2Session | undefined;
  readonly #forwarder: Proxy | undefined;
  #client: Client | undefined;
  #hint: string | string[] | undefined;

  constructor(transport: Transport, host: Host, dialled: Dialled, dueAt: number, settings: ConnectionSettings) {
    const { socket, http2 } = dialled;
    this.#transport = transport;
    this.host = host;
    this.socket = socket;
    this.times = dialled.times;
    this.tls = dialled.tls;
    this.dueAt = dueAt;
    this.#settings = settings;
    this.#http2 = http2;
    this.#forwarder = dialled.forwarder;
    socket.once("close", () => transport.connectionClosed(this));
    if (http2 === undefined) {
      // Until undici reads from it, somebody must notice that the server hangs up or talks out of turn.
      socket.on("readable", this.#unexpected);
      // Ahead of undici, which takes a reset for the end of a body that only the end of the connection delimits.
      socket.once("error", (error) => {
        this.error = error;
      });
    } else {
      this.capacity = settings.disableKeepAlives ? 1 : http2.capacity;
      http2.onChange = () => {
        if (!settings.disableKeepAlives) this.capacity = http2.capacity;
        if (http2.draining) this.draining = true;
        transport.roomChanged(this);
      };
    }
  }

  get isHttp2(): boolean {
    return this.#http2 !== undefined;
  }

  /** The server may have closed it unseen: nothing but the request that has it now can tell. */
  get mayBeStale(): boolean {
    return (this.served > 0 || this.wasIdle) && this.streams <= 1;
  }

  /** Sends one request. `handler` hears about its end exactly once, possibly before this returns. */
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    if (this.#http2 !== undefined) return this.#http2.dispatch(options, handler);
    this.#client ??= this.#attach();
    this.#client.dispatch(this.#forwarder === undefined ? options : this.#forwarded(options, this.#forwarder), handler);
  }

  /** A request got its whole answer. `keepAlive` is that header of the response. */
  answered(keepAlive: string | string[] | undefined): void {
    this.served++;
    if (keepAlive !== this.#hint) this.#noteHint(keepAlive);
  }

  /** The answer to a request with a body is complete. What is left of the body would hold up the next request. */
  bodyOver(): void {
    if (this.#http2 !== undefined || this.socket.writableLength === 0) return;
    this.draining = true;
    this.closeReason = "not_kept";
  }

  /** A request broke off: with HTTP/1.1 nobody knows what comes next on the wire; with HTTP/2 only its stream is lost. */
  failed(): void {
    if (this.#http2 !== undefined) return;
    this.broken = true;
    this.destroy();
  }

  /** Closes the socket now. */
  destroy(): void {
    // Without an error undici takes it for the end of a body that has no length, tells a request that was given up that it
    // is complete, and fails an assertion over that, which would end the process.
    this.socket.destroy(this.#http2 === undefined && this.streams > 0 ? closedByUs() : undefined);
  }

  /** Whether the process stays alive for the response to `handler`. */
  setWanted(handler: Dispatcher.DispatchHandler, wanted: boolean): void {
    if (this.#http2 !== undefined) this.#http2.setWanted(handler, wanted);
    else if (wanted) this.socket.ref();
    else this.socket.unref();
  }

  /** Gives the connection back after its request has ended, or was never sent. */
  release(): void {
    // undici decides whether the socket lives only after its last callback has returned.
    queueMicrotask(this.#checkIn);
  }

  readonly #checkIn = (): void => this.#transport.checkIn(this);

  #attach(): Client {
    const { socket } = this;
    socket.off("readable", this.#unexpected);
    // Fresh idle sockets are unref'd; undici takes care of it from here.
    socket.ref();
    let handed = false;
    return new Client(this.host.url.origin, {
      connect: (_options, callback) => {
        const gone = handed || socket.destroyed;
        handed = true;
        // undici expects an answer after the call, not during it.
        queueMicrotask(() => {
          if (gone || socket.destroyed) {
            callback(Object.assign(new Error("the idle connection was closed"), { code: CONNECTION_GONE }), null);
          } else callback(null, socket);
        });
      },
      allowH2: false,
      pipelining: 1,
      // All time limits of a request are the exchange's, and those of an idle connection the transport's.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: this.#settings.idleConnTimeoutMs,
      keepAliveMaxTimeout: this.#settings.idleConnTimeoutMs,
      keepAliveTimeoutThreshold: 0,
      maxHeaderSize: this.#settings.maxHeaderBytes,
    });
  }

  /** Addressed to the proxy. Its credentials are for it and are on no connection that leads to the origin. */
  #forwarded(options: Dispatcher.DispatchOptions, proxy: Proxy): Dispatcher.DispatchOptions {
    const headers = options.headers as Record<string, string | string[]>;
    return {
      ...options,
      path: `${this.host.url.origin}${options.path}`,
      headers: proxy.authorization === undefined ? headers : { ...headers, "proxy-authorization": proxy.authorization },
    };
  }

  #noteHint(hint: string | string[] | undefined): void {
    this.#hint = hint;
    const seconds = typeof hint === "string" ? /(?:^|[\s,;])timeout\s*=\s*"?(\d+)/i.exec(hint)?.[1] : undefined;
    const ms = seconds === undefined ? Number.POSITIVE_INFINITY : Number(seconds) * 1000;
    this.keptForMs = ms === Number.POSITIVE_INFINITY ? ms : ms - Math.min(HINT_MARGIN_MS, ms / 2);
  }

  readonly #unexpected = (): void => {
    this.socket.destroy();
  };
}

function closedByUs(): Error {
  return Object.assign(new Error("the pool has closed the connection"), { code: "ECONNABORTED" });
}
