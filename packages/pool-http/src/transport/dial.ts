/**
 * One attempt to make a connection that can carry a request:
 *
 *     connect (DNS, TCP, and a proxy's TLS and tunnel) ─▶ tls ─▶ HTTP/2's first SETTINGS, where that was agreed on
 *
 * `connectTimeoutMs` ends the first part and `tlsHandshakeTimeoutMs` the rest (HTTP/2 without TLS is of the first part).
 *
 * A dial belongs to its origin and not to a request: who asked for it may be served by another connection, or leave,
 * and the connection then serves the next. Otherwise a server that takes longer to accept than any one caller waits
 * could never be reached.
 */
import { isIP, connect as connectTcp, type LookupFunction, type Socket } from "node:net";
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from "node:tls";
import type { Failure } from "../failure.ts";
import type { Clock, HttpVersionMode } from "../options.ts";
import { PatientTimer } from "../patient-timer.ts";
import type { ResolvedTls } from "../tls-options.ts";
import { connectFailure, connectTimeout, tunnelFailure } from "./dial-failure.ts";
import { Http2Session } from "./http2-session.ts";
import type { Proxy, ProxyRule } from "./proxy.ts";
import { openTunnel } from "./tunnel.ts";

export interface DialSettings {
  readonly connectTimeoutMs: number;
  readonly tlsHandshakeTimeoutMs: number;
  readonly keepAliveMs: number;
  readonly tls: ResolvedTls;
  readonly http2: HttpVersionMode;
  readonly maxStreamsPerConn: number;
  readonly maxHeaderBytes: number;
  readonly proxy: ProxyRule;
  readonly lookup: LookupFunction | undefined;
  readonly clock: Clock;
}

export interface DialTimes {
  /** DNS and TCP; with a proxy until it has opened its tunnel; HTTP/2's first SETTINGS, where there is no TLS. */
  readonly connectMs: number;
  readonly tlsMs: number;
}

/** What a dial has made. */
export interface Dialled {
  readonly socket: Socket;
  readonly times: DialTimes;
  /** Where HTTP/2 is spoken over it. */
  readonly http2: Http2Session | undefined;
  /** The proxy that requests are addressed to; a tunnel needs no such thing. */
  readonly forwarder: Proxy | undefined;
  /** With which settings TLS was made; `undefined` without TLS. */
  readonly tls: ResolvedTls | undefined;
}

export interface DialOutcome {
  connected(dialled: Dialled): void;
  failed(failure: Failure): void;
}

/** TLS sessions to resume, by origin, so that a second connection saves a round trip. */
const MAX_SESSIONS = 100;

export class Dialer {
  readonly settings: DialSettings;
  #tls: ResolvedTls;
  readonly #sessions = new Map<string, Buffer>();

  constructor(settings: DialSettings) {
    this.settings = settings;
    this.#tls = settings.tls;
  }

  /** What dials that begin now use. */
  get tls(): ResolvedTls {
    return this.#tls;
  }

  /** Sessions of the old certificates would be resumed without a look at the new ones. */
  setTls(tls: ResolvedTls): void {
    this.#tls = tls;
    this.#sessions.clear();
  }

  dial(origin: URL, outcome: DialOutcome): Dial {
    return new Dial(this, origin, outcome);
  }

  session(origin: string): Buffer | undefined {
    return this.#sessions.get(origin);
  }

  rememberSession(origin: string, session: Buffer, tls: ResolvedTls): void {
    if (tls !== this.#tls) return;
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
  /** How many wait for it together, which the transport counts where one connection will serve many. */
  sharers = 0;
  readonly #dialer: Dialer;
  readonly #settings: DialSettings;
  readonly #tls: ResolvedTls;
  readonly #origin: URL;
  readonly #proxy: Proxy | undefined;
  /** Through a proxy: whether it passes bytes on, or requests that are addressed to it. */
  readonly #tunnels: boolean;
  readonly #secure: boolean;
  readonly #outcome: DialOutcome;
  readonly startedAt: number;
  /** When the origin's TLS began. */
  connectedAt: number | undefined;
  /** The outermost so far; `undefined` where not even the first could be made. */
  #socket: Socket | undefined;
  #timer: PatientTimer;
  /** A TLS handshake is going on, the proxy's or the origin's. */
  #handshaking = false;
  /** Connected, and waits for HTTP/2's first SETTINGS. */
  #negotiating = false;
  /** Taken once: by success, failure, time-out or cancellation. */
  #open = true;
  #socketClosed = false;
  #onSocketClosed: (() => void) | undefined;

  constructor(dialer: Dialer, origin: URL, outcome: DialOutcome) {
    const { settings } = dialer;
    this.#dialer = dialer;
    this.#settings = settings;
    this.#tls = dialer.tls;
    this.#origin = origin;
    this.#outcome = outcome;
    this.#secure = origin.protocol === "https:";
    this.#proxy = settings.proxy(origin);
    this.#tunnels = this.#proxy !== undefined && (this.#secure || settings.http2 === "on");
    this.startedAt = settings.clock.now();
    this.#timer = new PatientTimer(settings.connectTimeoutMs, () => this.#timedOut("connectTimeoutMs"));
    const hop = this.#proxy?.url ?? origin;
    const secureHop = hop.protocol === "https:";
    let socket: Socket;
    try {
      const address = { ...addressOf(hop), ...lookupOf(settings) };
      socket = secureHop ? connectTls({ ...address, ...this.#tlsOptions(hop) }) : connectTcp(address);
    } catch (error) {
      // An option that the checks let through. Whoever dials expects an answer after the call, not during it.
      this.#handshaking = secureHop;
      if (secureHop && this.#proxy === undefined) this.phase = "tls";
      queueMicrotask(() => this.#failed(error as Error));
      return;
    }
    socket.setNoDelay(true);
    if (settings.keepAliveMs > 0) socket.setKeepAlive(true, settings.keepAliveMs);
    socket.once("connect", secureHop ? this.#tcpConnected : this.#hopReached);
    if (secureHop) socket.once("secureConnect", this.#hopReached);
    if (secureHop && this.#proxy === undefined) this.#keepSessions(socket);
    this.#watch(socket);
  }

  /** Lets the process end while nobody waits for this dial, and keeps it alive while somebody does. */
  setWanted(wanted: boolean): void {
    if (wanted) this.#socket?.ref();
    else this.#socket?.unref();
    this.#timer.setWanted(wanted);
  }

  cancel(): void {
    if (!this.#take()) return;
    this.#socket?.destroy();
  }

  /** Calls `done` once its socket has closed; now, where there is none. For one that has ended without a connection. */
  whenClosed(done: () => void): void {
    if (this.#socketClosed || this.#socket === undefined) done();
    else this.#onSocketClosed = done;
  }

  #watch(socket: Socket): void {
    this.#socket = socket;
    // Stays for the whole life of the socket: an error without a listener would end the process.
    socket.on("error", this.#failed);
    socket.once("close", () => {
      this.#socketClosed = true;
      this.#closed();
      // Once: a socket within another closes with it.
      const told = this.#onSocketClosed;
      this.#onSocketClosed = undefined;
      told?.();
    });
  }

  #keepSessions(socket: Socket): void {
    const [dialer, tls, { origin }] = [this.#dialer, this.#tls, this.#origin];
    socket.on("session", (session: Buffer) => dialer.rememberSession(origin, session, tls));
  }

  readonly #tcpConnected = (): void => {
    this.#handshaking = true;
    if (this.#proxy === undefined) this.#startTls();
  };

  /** The origin, or the proxy on the way to it, is reached. */
  readonly #hopReached = (): void => {
    const socket = this.#socket;
    if (!this.#open || socket === undefined || socket.destroyed) return this.#closed();
    this.#handshaking = false;
    if (this.#proxy === undefined) {
      if (this.#secure) return this.#ready();
    } else if (this.#tunnels) {
      const port = addressOf(this.#origin).port;
      const how = { authorization: this.#proxy.authorization, serverFirst: !this.#secure };
      return openTunnel(socket, `${this.#origin.hostname}:${port}`, how, (refusal) => {
        if (refusal === undefined) return this.#tunnelled(socket);
        if (this.#take()) {
          socket.destroy();
          this.#outcome.failed(tunnelFailure(this.#proxy as Proxy, refusal));
        }
      });
    }
    this.#ready();
  };

  #tunnelled(socket: Socket): void {
    if (!this.#open) return;
    if (!this.#secure) return this.#ready();
    this.#startTls();
    this.#handshaking = true;
    try {
      const secured = connectTls({ socket, ...this.#tlsOptions(this.#origin) });
      secured.once("secureConnect", this.#hopSecured);
      this.#keepSessions(secured);
      this.#watch(secured);
    } catch (error) {
      this.#failed(error as Error);
    }
  }

  readonly #hopSecured = (): void => {
    if (!this.#open) return;
    this.#handshaking = false;
    this.#ready();
  };

  /** The origin's TLS begins, and its time limit. */
  #startTls(): void {
    if (!this.#open) return;
    this.connectedAt = this.#settings.clock.now();
    this.phase = "tls";
    const { isWanted } = this.#timer;
    this.#timer.cancel();
    const { tlsHandshakeTimeoutMs } = this.#settings;
    this.#timer = new PatientTimer(tlsHandshakeTimeoutMs, () => this.#timedOut("tlsHandshakeTimeoutMs"));
    this.#timer.setWanted(isWanted);
  }

  /** Bytes can be sent to the origin; it remains to be seen which HTTP. */
  #ready(): void {
    const socket = this.#socket;
    if (socket === undefined || socket.destroyed) return this.#closed();
    if (!this.#open) return;
    const { http2: mode } = this.#settings;
    const agreed = this.#secure ? (socket as TLSSocket).alpnProtocol === "h2" : mode === "on";
    if (!agreed) {
      if (mode !== "on") return this.#finished(socket, undefined);
      const error = Object.assign(new Error("the server chose HTTP/1.1"), { code: "ERR_TLS_NO_HTTP2" });
      socket.destroy();
      return this.#failed(error);
    }
    this.#negotiating = true;
    const session = new Http2Session(this.#origin, socket, {
      maxStreams: this.#settings.maxStreamsPerConn,
      maxHeaderBytes: this.#settings.maxHeaderBytes,
    });
    session.onChange = () => {
      if (session.capacity > 0 && !session.draining) this.#finished(socket, session);
      else if (this.#take()) {
        socket.destroy();
        this.#outcome.failed(connectFailure(this.#about("HTTP2_NO_SETTINGS"), undefined));
      }
    };
  }

  #finished(socket: Socket, http2: Http2Session | undefined): void {
    if (!this.#take()) return;
    const now = this.#settings.clock.now();
    const { connectedAt = now } = this;
    const usesTls = this.#secure || this.#proxy?.url.protocol === "https:";
    this.#outcome.connected({
      socket,
      times: {
        connectMs: connectedAt - this.startedAt,
        tlsMs: this.#secure ? now - connectedAt : 0,
      },
      http2,
      forwarder: this.#tunnels ? undefined : this.#proxy,
      tls: usesTls ? this.#tls : undefined,
    });
  }

  #tlsOptions(peer: URL): ConnectionOptions {
    const { servername, minVersion, insecureSkipVerify, secureContext } = this.#tls;
    const toOrigin = peer === this.#origin;
    const { host } = addressOf(peer);
    const session = toOrigin ? this.#dialer.session(peer.origin) : undefined;
    return {
      // An address is no server name (RFC 6066, section 3). The name to expect is that of origins, not of proxies.
      servername: (toOrigin ? servername : undefined) ?? (isIP(host) === 0 ? host : ""),
      host,
      ALPNProtocols: toOrigin ? PROTOCOLS[this.#settings.http2] : PROTOCOLS.off,
      rejectUnauthorized: !insecureSkipVerify,
      minVersion,
      ...(secureContext === undefined ? {} : { secureContext }),
      ...(session === undefined ? {} : { session }),
    };
  }

  #timedOut(limit: "connectTimeoutMs" | "tlsHandshakeTimeoutMs"): void {
    if (!this.#take()) return;
    this.#socket?.destroy();
    const awaited = this.#negotiating
      ? "HTTP/2 settings"
      : limit === "connectTimeoutMs"
        ? "connection"
        : "TLS handshake";
    this.#outcome.failed(connectTimeout(limit, this.#settings[limit], awaited, this.phase, this.#proxy));
  }

  readonly #failed = (error: Error): void => {
    if (!this.#take()) return;
    this.#socket?.destroy();
    this.#outcome.failed(connectFailure(this.#about(undefined), error));
  };

  readonly #closed = (): void => {
    if (!this.#take()) return;
    this.#socket?.destroy();
    this.#outcome.failed(connectFailure(this.#about("ECONNRESET"), undefined));
  };

  #about(code: string | undefined): Parameters<typeof connectFailure>[0] {
    const socket = this.#socket as TLSSocket | undefined;
    return {
      code,
      phase: this.phase,
      handshaking: this.#handshaking,
      untrusted: socket?.authorizationError !== null && socket?.authorizationError !== undefined,
      proxy: this.#proxy,
      beyondProxy: this.phase === "tls",
    };
  }

  #take(): boolean {
    if (!this.#open) return false;
    this.#open = false;
    this.#timer.cancel();
    return true;
  }
}

const PROTOCOLS: Readonly<Record<HttpVersionMode, string[]>> = {
  off: ["http/1.1"],
  auto: ["h2", "http/1.1"],
  on: ["h2"],
};

function addressOf(url: URL): { host: string; port: number } {
  // URL keeps the brackets of an IPv6 address; sockets want none.
  const host = url.hostname.replace(/^\[|\]$/g, "");
  return { host, port: url.port === "" ? (url.protocol === "https:" ? 443 : 80) : Number(url.port) };
}

function lookupOf({ lookup }: DialSettings): { lookup?: LookupFunction } {
  return lookup === undefined ? {} : { lookup: quiet(lookup) };
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
