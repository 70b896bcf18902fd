import { once } from "node:events";
import { connect, createServer, type Server, type Socket } from "node:net";
import { Lane } from "./fault-lane.ts";

/** One connection through the proxy. */
export class Link {
  readonly toServer: Lane;
  readonly toClient: Lane;
  /** Neither end is passed on, so this side never closes by itself. */
  neverCloses = false;
  /** Whether the client has closed its side. */
  clientEnded = false;
  readonly #client: Socket;
  readonly #connect: () => Socket;
  #server: Socket | undefined;

  constructor(client: Socket, upstream: () => Socket) {
    this.#client = client;
    this.#connect = upstream;
    this.toServer = new Lane(
      "to server",
      () => this.#upstream(),
      () => this.toClient.expectTlsReply(),
    );
    this.toClient = new Lane(
      "to client",
      () => client,
      (letter) => {
        if (letter !== "S") return;
        this.toClient.becomeOpaque();
        this.toServer.becomeOpaque();
      },
    );
    client.setNoDelay(true);
    client.on("data", (bytes) => this.toServer.arrived(bytes));
    client.on("end", () => {
      this.clientEnded = true;
      // Without a session there is nobody to pass it on to.
      if (this.neverCloses) return;
      if (this.#server === undefined) client.end();
      else this.toServer.end();
    });
    client.on("error", () => undefined);
    client.on("close", () => {
      this.clientEnded = true;
      this.toServer.close();
      this.toClient.close();
      this.#server?.destroy();
    });
  }

  /** A lost network: nothing goes either way, and nobody is told. */
  blackHole(): void {
    this.toServer.hold();
    this.toClient.hold();
  }

  resume(): void {
    this.toServer.resume();
    this.toClient.resume();
  }

  delay(ms: number): void {
    this.toServer.delayMs = ms;
    this.toClient.delayMs = ms;
  }

  /** Ends both connections, the client's with a TCP reset. */
  reset(): void {
    // A socket that has said its end cannot be reset any more.
    if (this.#client.writableEnded) this.#client.destroy();
    else this.#client.resetAndDestroy();
    this.#server?.destroy();
  }

  /** Ends what the client reads; what it writes is still taken. */
  halfClose(): void {
    this.toClient.hold();
    this.#client.end();
  }

  /** No longer reads what the client writes. */
  stopReading(): void {
    this.#client.pause();
  }

  /** The network is back: what was kept is delivered, the ends of streams included. */
  heal(): void {
    this.neverCloses = false;
    this.#client.resume();
    this.toServer.heal();
    this.toClient.heal();
    if (this.clientEnded) this.close();
    else if (this.#server?.readableEnded === true) this.toClient.end();
  }

  close(): void {
    this.#client.destroy();
    this.#server?.destroy();
  }

  #upstream(): Socket {
    if (this.#server !== undefined) return this.#server;
    const server = this.#connect();
    this.#server = server;
    server.setNoDelay(true);
    server.on("data", (bytes) => this.toClient.arrived(bytes));
    server.on("end", () => {
      server.end();
      if (!this.neverCloses) this.toClient.end();
    });
    server.on("error", () => this.reset());
    return server;
  }
}

/**
 * A TCP proxy in front of PostgreSQL that does what a healthy server and a healthy network won't. It forwards everything
 * until told otherwise: for new connections by `onLink`, for those that are open through `links`. A connection to the
 * server is made when the first byte is forwarded to it.
 */
export class FaultProxy {
  port = 0;
  /** Those of which a socket is open on this side. */
  readonly links: Set<Link> = new Set();
  /** Connections that were accepted. */
  accepted = 0;
  /** Told of each new connection before anything is forwarded. */
  onLink: ((link: Link) => void) | undefined;
  readonly #upstream: { readonly host: string; readonly port: number };
  #server: Server | undefined;

  constructor(upstream: { readonly host: string; readonly port: number }) {
    this.#upstream = upstream;
  }

  /** Connections that the clients have not ended. */
  get open(): number {
    return [...this.links].filter(({ clientEnded }) => !clientEnded).length;
  }

  get listening(): boolean {
    return this.#server !== undefined;
  }

  /** Accepts connections: at first on a free port, later on the same one again. */
  async listen(): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      const { host, port } = this.#upstream;
      const link = new Link(socket, () => connect({ host, port, allowHalfOpen: true }));
      this.links.add(link);
      this.accepted++;
      socket.on("close", () => this.links.delete(link));
      this.onLink?.(link);
    });
    server.listen(this.port, "127.0.0.1");
    await once(server, "listening");
    const address = server.address();
    this.port = typeof address === "object" && address !== null ? address.port : 0;
    this.#server = server;
  }

  /** New connections are refused; those that are open stay so. */
  refuse(): void {
    this.#server?.close();
    this.#server = undefined;
  }

  /** Everything works again. */
  heal(): void {
    this.onLink = undefined;
    for (const link of this.links) link.heal();
  }

  close(): void {
    this.refuse();
    for (const link of this.links) link.close();
  }
}
