import type { Socket } from "node:net";
import { Client, type Dispatcher } from "undici";
import type { DialTimes } from "./dial.ts";
import type { Host, Transport } from "./transport.ts";

/** undici asked for a second socket: the first one died before the request was written. */
export const CONNECTION_GONE = "VG_CONNECTION_GONE";

/** A connected socket, and the undici Client that speaks HTTP over it and no other. */
export class Connection {
  readonly host: Host;
  readonly socket: Socket;
  readonly times: DialTimes;
  /** Requests that ended well on it; 0 is a fresh connection. */
  served = 0;
  /** It was idle at some time, so the server may have closed it meanwhile; a spare dial never served anybody. */
  wasIdle = false;
  /** The clock's time when it became idle. */
  idleSince = 0;
  /** The transport no longer counts it. */
  retired = false;
  readonly #transport: Transport;
  readonly #maxHeaderBytes: number;
  readonly #idleTimeoutMs: number;
  #client: Client | undefined;

  constructor(
    transport: Transport,
    host: Host,
    socket: Socket,
    times: DialTimes,
    settings: { maxHeaderBytes: number; idleConnTimeoutMs: number },
  ) {
    this.#transport = transport;
    this.host = host;
    this.socket = socket;
    this.times = times;
    this.#maxHeaderBytes = settings.maxHeaderBytes;
    this.#idleTimeoutMs = settings.idleConnTimeoutMs;
    socket.once("close", () => transport.connectionClosed(this));
    // Until undici reads from it, somebody must notice that the server hangs up or talks out of turn.
    socket.on("readable", this.#unexpected);
  }

  /** Sends one request. `handler` hears about its end exactly once, possibly before this returns. */
  dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): void {
    this.#client ??= this.#attach();
    this.#client.dispatch(options, handler);
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
      // All time limits of a request are the exchange's.
      headersTimeout: 0,
      bodyTimeout: 0,
      keepAliveTimeout: this.#idleTimeoutMs,
      keepAliveMaxTimeout: this.#idleTimeoutMs,
      maxHeaderSize: this.#maxHeaderBytes,
    });
  }

  readonly #unexpected = (): void => {
    this.socket.destroy();
  };
}
