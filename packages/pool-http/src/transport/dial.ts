/**
 * One attempt to make a connection: DNS and TCP under `connectTimeoutMs`, then TLS under `tlsHandshakeTimeoutMs`.
 *
 * A dial belongs to its origin and not to a request: who asked for it may be served by another connection, or leave,
 * and the connection then serves the next. Otherwise a server that takes longer to accept than any one caller waits
 * could never be reached.
 */
import { isIP, connect as connectTcp, type LookupFunction, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions } from "node:tls";
import type { Failure } from "../exchange/failure.ts";
import { codeOf } from "../exchange/failure.ts";
import type { Clock, ResolvedTls } from "../options.ts";

export interface DialSettings {
  readonly connectTimeoutMs: number;
  readonly tlsHandshakeTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly tls: ResolvedTls;
  readonly lookup: LookupFunction | undefined;
  readonly clock: Clock;
}

export interface DialTimes {
  /** DNS and TCP. */
  readonly connectMs: number;
  readonly tlsMs: number;
}

/** TLS sessions to resume, by origin, so that a second connection saves a round trip. */
const MAX_SESSIONS = 100;

export class Dialer {
  readonly #settings: DialSettings;
  readonly #sessions = new Map<string, Buffer>();

  constructor(settings: DialSettings) {
    this.#settings = settings;
  }

  dial(
    origin: URL,
    onConnected: (socket: Socket, times: DialTimes) => void,
    onFailed: (failure: Failure) => void,
  ): Dial {
    return new Dial(this.#settings, this, origin, onConnected, onFailed);
  }

  session(origin: string): Buffer | undefined {
    return this.#sessions.get(origin);
  }

  rememberSession(origin: string, session: Buffer): void {
    this.#sessions.delete(origin);
    this.#sessions.set(origin, session);
    if (this.#sessions.size > MAX_SESSIONS) {
      const [oldest] = this.#sessions.keys();
      this.#sessions.delete(oldest as string);
    }
  }
}

export class Dial {
  phase: "connect" | "tls" = "connect";
  /** `undefined` where it could not even be made. */
  readonly #socket: Socket | undefined;
  readonly #settings: DialSettings;
  readonly #secure: boolean;
  readonly startedAt: number;
  /** When TCP was connected. */
  connectedAt: number | undefined;
  #timer: NodeJS.Timeout;
  /** Taken once: by success, failure, time-out or cancellation. */
  #open = true;
  readonly #onConnected: (socket: Socket, times: DialTimes) => void;
  readonly #onFailed: (failure: Failure) => void;

  constructor(
    settings: DialSettings,
    dialer: Dialer,
    origin: URL,
    onConnected: (socket: Socket, times: DialTimes) => void,
    onFailed: (failure: Failure) => void,
  ) {
    this.#settings = settings;
    this.#onConnected = onConnected;
    this.#onFailed = onFailed;
    this.#secure = origin.protocol === "https:";
    this.startedAt = settings.clock.now();
    // URL keeps the brackets of an IPv6 address; sockets want none.
    const host = origin.hostname.replace(/^\[|\]$/g, "");
    const port = origin.port === "" ? (this.#secure ? 443 : 80) : Number(origin.port);
    const common = { host, port, ...(settings.lookup === undefined ? {} : { lookup: quiet(settings.lookup) }) };
    this.#timer = setTimeout(
      () => this.#timedOut("connectTimeoutMs", settings.connectTimeoutMs),
      settings.connectTimeoutMs,
    );
    let socket: Socket;
    try {
      socket = this.#secure ? connectTls(this.#tlsOptions(common, dialer, origin)) : connectTcp(common);
    } catch (error) {
      // An option that the checks let through. Whoever dials expects an answer after the call, not during it.
      if (this.#secure) this.phase = "tls";
      queueMicrotask(() => this.#failed(error as Error));
      return;
    }
    this.#socket = socket;
    socket.setNoDelay(true);
    if (settings.keepAliveMs > 0) socket.setKeepAlive(true, settings.keepAliveMs);
    socket.once("connect", this.#connected);
    socket.once("secureConnect", this.#finished);
    socket.on("session", (session: Buffer) => dialer.rememberSession(origin.origin, session));
    // Stays for the whole life of the socket: an error without a listener would end the process.
    socket.on("error", this.#failed);
    socket.once("close", this.#closed);
  }

  /** Lets the process end while nobody waits for this dial, and keeps it alive while somebody does. */
  setWanted(wanted: boolean): void {
    if (wanted) this.#socket?.ref();
    else this.#socket?.unref();
    if (wanted) this.#timer.ref();
    else this.#timer.unref();
  }

  cancel(): void {
    if (!this.#take()) return;
    this.#socket?.destroy();
  }

  #tlsOptions(common: { host: string; port: number }, dialer: Dialer, origin: URL): ConnectionOptions {
    const { servername, minVersion, insecureSkipVerify, secureContext } = this.#settings.tls;
    const session = dialer.session(origin.origin);
    return {
      ...common,
      // An address is no server name (RFC 6066, section 3).
      servername: servername ?? (isIP(common.host) === 0 ? common.host : ""),
      ALPNProtocols: ["http/1.1"],
      rejectUnauthorized: !insecureSkipVerify,
      minVersion,
      ...(secureContext === undefined ? {} : { secureContext }),
      ...(session === undefined ? {} : { session }),
    };
  }

  readonly #connected = (): void => {
    if (!this.#open) return;
    this.connectedAt = this.#settings.clock.now();
    if (!this.#secure) return this.#finished();
    this.phase = "tls";
    clearTimeout(this.#timer);
    const limit = this.#settings.tlsHandshakeTimeoutMs;
    const wanted = this.#timer.hasRef();
    this.#timer = setTimeout(() => this.#timedOut("tlsHandshakeTimeoutMs", limit), limit);
    if (!wanted) this.#timer.unref();
  };

  readonly #finished = (): void => {
    const socket = this.#socket;
    if (socket === undefined || socket.destroyed) return this.#closed();
    if (!this.#take()) return;
    const now = this.#settings.clock.now();
    const { connectedAt = now } = this;
    this.#onConnected(socket, {
      connectMs: connectedAt - this.startedAt,
      tlsMs: this.#secure ? now - connectedAt : 0,
    });
  };

  #timedOut(limit: "connectTimeoutMs" | "tlsHandshakeTimeoutMs", limitMs: number): void {
    if (!this.#take()) return;
    this.#socket?.destroy();
    const what = limit === "connectTimeoutMs" ? "no connection" : "no TLS handshake";
    this.#onFailed({
      reason: "timeout",
      phase: this.phase,
      code: "ERR_VG_HTTP_TIMEOUT",
      limit,
      detail: `${what} within ${limit} (${limitMs} ms). Check that the server is up and reachable`,
      sent: false,
    });
  }

  readonly #failed = (error: Error): void => {
    if (!this.#take()) return;
    const socket = this.#socket as (Socket & { authorizationError?: unknown }) | undefined;
    const code = codeOf(error) ?? "ECONNFAILED";
    const untrusted =
      this.phase === "tls" && socket?.authorizationError !== null && socket?.authorizationError !== undefined;
    const broken =
      this.phase === "tls" &&
      (socket === undefined || code === "EPROTO" || code.startsWith("ERR_SSL_") || code.startsWith("ERR_TLS_"));
    if (untrusted || broken) {
      const advice = untrusted
        ? "Give tls.ca the certificate of its issuer, or correct the server's certificate"
        : "Check that the port speaks TLS, and tls.minVersion, tls.cert and tls.key";
      this.#onFailed({ reason: "tls", phase: "tls", code, detail: `${code}. ${advice}`, cause: error, sent: false });
      return;
    }
    const detail = `${code}. Check the host, the port and that the server is up`;
    this.#onFailed({ reason: "connect", phase: this.phase, code, detail, cause: error, sent: false });
  };

  readonly #closed = (): void => {
    if (!this.#take()) return;
    const detail = "the server closed the connection during the handshake";
    this.#onFailed({ reason: "connect", phase: this.phase, code: "ECONNRESET", detail, sent: false });
  };

  #take(): boolean {
    if (!this.#open) return false;
    this.#open = false;
    clearTimeout(this.#timer);
    return true;
  }
}

/** The caller's resolver; what it throws is an answer, too. */
function quiet(lookup: LookupFunction): LookupFunction {
  return (hostname, options, callback) => {
    try {
      lookup(hostname, options, callback);
    } catch (error) {
      queueMicrotask(() => callback(error as NodeJS.ErrnoException, []));
    }
  };
}
