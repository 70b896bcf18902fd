import { once } from "node:events";
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type Server as TlsServer, type TLSSocket } from "node:tls";
import { TcpExchange } from "./exchange.ts";
import { Gates } from "./gates.ts";
import { serveHttp1, type ConnectionHost } from "./http1.ts";
import { serveHttp2 } from "./http2.ts";
import { Records, type FaultRequest } from "./records.ts";
import { resetConnection } from "./reset.ts";
import { runScript, type FaultExchange, type FaultScriptError, type RequestScript, type Script } from "./script.ts";
import { resolveOptions, type FaultServerOptions, type ResolvedOptions } from "./server-options.ts";

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
    for (const { raw, secured } of this.#connections.values()) resetConnection(raw, secured);
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
      connection.secured = socket;
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
      scriptForHead: (record) => {
        try {
          const script = heads?.(record);
          return script === undefined ? undefined : () => script;
        } catch (error) {
          return () => {
            throw error;
          };
        }
      },
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
  /** The TLS over it, when that stands. */
  secured?: TLSSocket;
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
