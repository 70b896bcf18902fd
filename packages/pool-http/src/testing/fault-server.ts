import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from "node:tls";
import { checkOptions } from "@vg/internal";
import { createTestAuthority, type TestAuthority, type TestCertificate } from "./certificates.ts";
import { TcpExchange } from "./exchange.ts";
import { Gates } from "./gates.ts";
import { serveHttp1, type ConnectionHost } from "./http1.ts";
import { serveHttp2 } from "./http2.ts";
import { Records, type FaultRequest } from "./records.ts";
import { runScript, type FaultExchange, type FaultScriptError, type RequestScript, type Script } from "./script.ts";
import { reply } from "./steps.ts";

export interface FaultServerOptions {
  /** What is done with each request once it has come whole. Default: `reply(200)`. */
  requests?: RequestScript | undefined;
  /**
   * Asked as soon as a request's head has come: where it gives a script, that one is run at once, beside the body that
   * is still being sent, and `requests` is not asked.
   */
  heads?: ((request: FaultRequest) => Script | undefined) | undefined;
  /**
   * What is done with each new connection before anything is read from it or encrypted. A script that comes to its end
   * lets the connection go on. The number counts connections from 0.
   */
  connections?: Script | ((number: number) => Script) | undefined;
  /**
   * "http" (default); "https"; "h2": HTTP/2 over TLS, and HTTP/1.1 for clients that ask for no other (ALPN); "h2c":
   * HTTP/2 without TLS, for clients that know.
   */
  protocol?: "http" | "https" | "h2" | "h2c" | undefined;
  /**
   * For TLS. "valid" (default): for 127.0.0.1, ::1 and localhost, issued by the authority whose certificate is `ca` of
   * the server. "wrong-name": of the same authority, for another host. "expired": since yesterday. "self-signed". Or one
   * of your own (PEM).
   */
  certificate?: "valid" | "wrong-name" | "expired" | "self-signed" | TestCertificate | undefined;
  /** Issues `certificate`. Default: one for the whole process. */
  authority?: TestAuthority | undefined;
  /** For TLS: refuse clients without a certificate of `authority`. Default false. */
  requireClientCertificate?: boolean | undefined;
  /** Of each request's body, so many bytes are kept. Default 1 048 576. */
  maxBodyBytes?: number | undefined;
  /** At least so many of the last requests are kept. Default 10 000. */
  maxRequests?: number | undefined;
  /**
   * Waits for steps that name a time, and rejects when the signal aborts. Default: a timer. A function that returns at
   * once makes scripts run without waiting; one of your own lets a test move the time.
   */
  sleep?: ((ms: number, signal: AbortSignal) => Promise<void>) | undefined;
}

/** What the server counted. */
export interface FaultServerConnections {
  /** Accepted, ever. */
  readonly accepted: number;
  /** Open now: neither side has ended them. */
  readonly open: number;
  /** The most that were open at once, as of the turns of the event loop in which connections came. */
  readonly peak: number;
  /** TLS handshakes that were completed. */
  readonly secured: number;
  /** TLS handshakes that failed. */
  readonly insecure: number;
}

/**
 * Starts a server on a free port of 127.0.0.1 that does what its scripts say, also what no healthy server would do.
 *
 *     await using server = await startFaultServer({
 *       requests: inTurn(resetBeforeHeaders(), truncatedBody(), reply(200, { body: "third time lucky" })),
 *     });
 *     await client.get(server.url);
 *     assert.equal(server.requests.length, 3);
 *
 * Nothing that a client or a script does ends the process. A script that cannot do what it says is a FaultScriptError in
 * `failures`, and `close()` (so the end of an `await using` block, too) rejects with it: a test whose server did
 * something else than it thinks should not pass.
 */
export async function startFaultServer(options: FaultServerOptions = {}): Promise<FaultServer> {
  const server = new FaultServer(options);
  await server.acceptConnections();
  return server;
}

export class FaultServer implements AsyncDisposable {
  /** The last requests, in the order in which they began; those of which only a part came as well. */
  readonly requests: readonly FaultRequest[];
  /** Scripts that could not do what they say. */
  readonly failures: readonly FaultScriptError[];
  /** What clients sent that is no request. */
  readonly complaints: readonly string[];
  /** PEM of the authority that issues this server's certificates. Empty without TLS. */
  readonly ca: string;
  readonly #options: ResolvedOptions;
  readonly #records: Records;
  readonly #failures: FaultScriptError[] = [];
  readonly #complaints: string[] = [];
  readonly #gates = new Gates();
  readonly #tls: TlsServer | undefined;
  /** Those that neither side has ended, by the client's port. */
  readonly #connections = new Map<number, Connection>();
  /** The same, and those whose sockets are yet to close. */
  readonly #sockets = new Set<Socket>();
  readonly #watchers = new Set<() => void>();
  #listener: Server | undefined;
  #port = 0;
  #complete = 0;
  #accepted = 0;
  #peak = 0;
  #secured = 0;
  #insecure = 0;
  #closing: Promise<void> | undefined;

  /** Use `startFaultServer`. */
  constructor(options: FaultServerOptions) {
    const resolved = resolveOptions(options);
    this.#options = resolved;
    this.#records = new Records(resolved);
    this.requests = this.#records.list;
    this.failures = this.#failures;
    this.complaints = this.#complaints;
    const tls = resolved.protocol === "https" || resolved.protocol === "h2";
    this.ca = tls ? resolved.authority().ca : "";
    this.#tls = tls ? this.#createTls() : undefined;
  }

  get port(): number {
    return this.#port;
  }

  /** "http://127.0.0.1:PORT" or "https://…", without a slash at its end. */
  get url(): string {
    return `${this.#tls === undefined ? "http" : "https"}://127.0.0.1:${this.#port}`;
  }

  /** How many requests began, ever; `requests` keeps the last ones. */
  get requestCount(): number {
    return this.#records.count;
  }

  get connections(): FaultServerConnections {
    return Object.freeze({
      accepted: this.#accepted,
      open: this.#connections.size,
      peak: this.#peak,
      secured: this.#secured,
      insecure: this.#insecure,
    });
  }

  /** Replaces what is done with requests from now on. */
  script(requests: RequestScript): void {
    this.#options.requests = requests;
  }

  /** From now on nothing listens on the port: new connections are refused. Those that are open stay so. */
  async refuseConnections(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    if (listener === undefined) return;
    // "close" waits for the connections; listening ends at once.
    listener.close();
    await new Promise(setImmediate);
  }

  /** Listens again, on the same port. */
  async acceptConnections(): Promise<void> {
    if (this.#listener !== undefined) return;
    if (this.#closing !== undefined) throw new Error("FaultServer: it is closed. Start another one.");
    const listener = createServer((socket) => this.#accept(socket));
    this.#listener = listener;
    listener.listen(this.#port, "127.0.0.1");
    await once(listener, "listening");
    this.#port = (listener.address() as AddressInfo).port;
  }

  /** Opens a gate: scripts that wait there with `hold(gate)` go on, and later ones don't wait. */
  release(gate: string): void {
    this.#gates.open(gate);
  }

  /** Shuts a gate again: from now on `hold(gate)` waits. */
  shut(gate: string): void {
    this.#gates.shut(gate);
  }

  /** Resolves when `count` exchanges have come to `hold(gate)`, over all time. */
  reached(gate: string, count = 1): Promise<void> {
    return this.#gates.reached(gate, count);
  }

  /** Resolves when `count` requests or more have come whole. */
  requestsComplete(count: number): Promise<void> {
    return this.#until(() => this.#complete >= count);
  }

  /** Resolves when `count` connections or fewer are open. */
  connectionsDownTo(count: number): Promise<void> {
    return this.#until(() => this.#connections.size <= count);
  }

  /** Ends every connection with a TCP reset, now. New ones are accepted. */
  resetConnections(): void {
    for (const { raw } of this.#connections.values()) raw.resetAndDestroy();
  }

  /**
   * Ends everything: connections, scripts, timers. Idempotent.
   *
   * @throws FaultScriptError the first of `failures`, if there are any, after all else
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<void> {
    await this.refuseConnections();
    this.#tls?.close();
    for (const { ended } of this.#connections.values()) ended.abort(new Error("the server is closed"));
    for (const socket of this.#sockets) socket.destroy();
    await this.#until(() => this.#sockets.size === 0);
    // What the ends of the connections lead to: scripts that hear of them, and the sockets' own last callbacks.
    await new Promise(setImmediate);
    const [first] = this.#failures;
    if (first !== undefined) throw first;
  }

  #accept(raw: Socket): void {
    const connection: Connection = { raw, number: this.#accepted++, ended: new AbortController() };
    // Two connections that are open have different ports, here where all clients have one address.
    const port = raw.remotePort ?? -connection.number;
    this.#connections.set(port, connection);
    this.#sockets.add(raw);
    // Not now: the end of a connection that this one replaces may be among the events of this turn.
    setImmediate(() => {
      this.#peak = Math.max(this.#peak, this.#connections.size);
    });
    const end = (): void => {
      if (this.#connections.get(port) === connection) this.#connections.delete(port);
      connection.ended.abort(new Error("the connection has ended"));
      this.#changed();
    };
    // A reset is an end like others here.
    raw.on("error", () => {});
    raw.once("end", end);
    raw.once("close", () => {
      this.#sockets.delete(raw);
      end();
    });
    raw.setNoDelay(true);
    const { connections } = this.#options;
    if (connections === undefined) this.#serve(connection);
    else
      void this.#greet(connection, () =>
        typeof connections === "function" ? connections(connection.number) : connections,
      );
  }

  /** Runs the script for a new connection, and gives what came meanwhile to whoever reads next. */
  async #greet(connection: Connection, give: () => Script): Promise<void> {
    const { raw } = connection;
    const { signal } = connection.ended;
    let pieces: Buffer[] = [];
    const keep = (piece: Buffer): void => {
      pieces.push(piece);
      // Whoever sends that much without an answer has to wait.
      if (pieces.length > 100) raw.pause();
    };
    raw.on("data", keep);
    const host = this.#host(connection);
    const outcome = await runScript(
      give,
      new TcpExchange(host, { raw, socket: raw, request: undefined, signal }),
      host.reporter,
    );
    if (outcome === "ended" || signal.aborted) return;
    raw.off("data", keep);
    raw.pause();
    if (pieces.length > 0) raw.unshift(Buffer.concat(pieces));
    pieces = [];
    this.#serve(connection);
  }

  #serve(connection: Connection): void {
    const { raw, ended } = connection;
    if (this.#tls !== undefined) this.#tls.emit("connection", raw);
    else if (this.#options.protocol === "h2c") serveHttp2(raw, raw, ended.signal, this.#host(connection));
    else serveHttp1(raw, raw, ended.signal, this.#host(connection));
  }

  #createTls(): TlsServer {
    const { protocol, requireClientCertificate } = this.#options;
    const tls = createTlsServer({
      ...this.#options.certificate(),
      ALPNProtocols: protocol === "h2" ? ["h2", "http/1.1"] : ["http/1.1"],
      ...(requireClientCertificate ? { requestCert: true, rejectUnauthorized: true, ca: this.ca } : {}),
    });
    tls.on("tlsClientError", (_error, socket) => {
      this.#insecure++;
      socket.on("error", () => {});
      socket.destroy();
    });
    tls.on("secureConnection", (socket: TLSSocket) => {
      socket.on("error", () => {});
      const connection = this.#connections.get(socket.remotePort ?? 0);
      // It has gone in this very turn.
      if (connection === undefined) {
        socket.destroy();
        return;
      }
      this.#secured++;
      const { raw, ended } = connection;
      const end = (): void => void raw.destroy();
      socket.once("end", end);
      socket.once("close", end);
      const serve = socket.alpnProtocol === "h2" ? serveHttp2 : serveHttp1;
      serve(socket, raw, ended.signal, this.#host(connection));
    });
    return tls;
  }

  #host({ number }: Connection): ConnectionHost {
    const { heads, sleep } = this.#options;
    return {
      gates: this.#gates,
      sleep,
      reporter: {
        where: (exchange) => describe(exchange, number),
        failed: (error) => void this.#failures.push(error),
      },
      startRequest: (onConnection) => this.#records.add({ connection: number, onConnection }),
      scriptForHead: (record) => heads?.(record),
      scriptForRequest: (record) => {
        const { requests } = this.#options;
        return typeof requests === "function" ? requests(record) : requests;
      },
      changed: (record) => {
        if (record.state === "complete") this.#complete++;
        this.#changed();
      },
      broken: (reason) => void this.#complaints.push(`connection ${number}: ${reason}`),
    };
  }

  #until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((done) => {
      const watcher = (): void => {
        if (!condition()) return;
        this.#watchers.delete(watcher);
        done();
      };
      this.#watchers.add(watcher);
    });
  }

  #changed(): void {
    for (const watcher of this.#watchers) watcher();
  }
}

interface Connection {
  readonly raw: Socket;
  readonly number: number;
  readonly ended: AbortController;
}

/** A port of 127.0.0.1 on which nothing listens: connections are refused, until some other program takes it. */
export async function closedPort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function describe(exchange: FaultExchange, connection: number): string {
  const { request } = exchange;
  if (request === undefined) return `FaultServer: connection ${connection}`;
  const { number, method, path } = request;
  return `FaultServer: request ${number} (${method} ${path.split("?", 1)[0]}, connection ${connection})`;
}

interface ResolvedOptions {
  requests: RequestScript;
  readonly heads: FaultServerOptions["heads"];
  readonly connections: FaultServerOptions["connections"];
  readonly protocol: "http" | "https" | "h2" | "h2c";
  readonly certificate: () => TestCertificate;
  readonly authority: () => TestAuthority;
  readonly requireClientCertificate: boolean;
  readonly maxBodyBytes: number;
  readonly maxRequests: number;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

function resolveOptions(options: FaultServerOptions): ResolvedOptions {
  const check = checkOptions("FaultServer", options, (message) => new TypeError(message));
  const authority = (): TestAuthority => options.authority ?? (shared ??= createTestAuthority());
  const given = check.raw("certificate");
  const ready = typeof given === "object" ? (given as TestCertificate) : undefined;
  const kind = ready === undefined ? check.oneOf("certificate", CERTIFICATES, { fallback: "valid" as const }) : "valid";
  const resolved: ResolvedOptions = {
    requests: (check.raw("requests") as RequestScript | undefined) ?? reply(200),
    heads: check.function<NonNullable<FaultServerOptions["heads"]>>("heads"),
    connections: check.raw("connections") as FaultServerOptions["connections"],
    protocol: check.oneOf("protocol", ["http", "https", "h2", "h2c"], { fallback: "http" }),
    certificate: () => ready ?? issue(kind, authority()),
    authority,
    requireClientCertificate: check.boolean("requireClientCertificate", { fallback: false }),
    maxBodyBytes: check.integer("maxBodyBytes", { fallback: 1024 * 1024 }),
    maxRequests: check.integer("maxRequests", { fallback: 10_000, min: 1 }),
    sleep: check.function<ResolvedOptions["sleep"]>("sleep") ?? ((ms, signal) => delay(ms, undefined, { signal })),
  };
  check.raw("authority");
  check.noOthers();
  return resolved;
}

/** One for the process, made when it is needed. */
let shared: TestAuthority | undefined;

const CERTIFICATES = ["valid", "wrong-name", "expired", "self-signed"] as const;
const HERE = ["localhost", "127.0.0.1", "::1"];
const DAY_MS = 86_400_000;

function issue(kind: (typeof CERTIFICATES)[number], authority: TestAuthority): TestCertificate {
  const names = kind === "wrong-name" ? ["elsewhere.test"] : HERE;
  if (kind === "self-signed") return authority.issue({ names, selfSigned: true });
  if (kind !== "expired") return authority.issue({ names });
  const now = Date.now();
  return authority.issue({ names, notBefore: new Date(now - 2 * DAY_MS), notAfter: new Date(now - DAY_MS) });
}
