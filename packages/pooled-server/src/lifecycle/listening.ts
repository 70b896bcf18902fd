import type { AddressInfo, Server as NetServer } from "node:net";
import { LifecycleError, ListenError } from "../errors.ts";

/** What is listened with: node:http's server. */
interface Server extends NetServer {
  closeIdleConnections(): void;
  closeAllConnections(): void;
}

export interface ListenAddress {
  readonly host: string;
  readonly port: number;
  readonly url: string;
}

/** A connection, as far as its end goes. */
interface Sending {
  readonly writableLength: number;
  destroy(): unknown;
}

/** The listening socket: bound once, and given up for good. */
export class Listening {
  readonly #server: Server;
  readonly #connections: () => Iterable<Sending>;
  #binding: Promise<void> | undefined;
  #stopped: Promise<void> | undefined;

  /**
   * @param connections those that are open
   * @param onError gets what goes wrong with the socket while it listens
   */
  constructor(server: Server, connections: () => Iterable<Sending>, onError: (error: Error) => void) {
    this.#server = server;
    this.#connections = connections;
    server.on("error", (error) => {
      // What goes wrong before is the error of `bind`.
      if (server.listening) onError(error);
    });
    server.on("listening", () => {
      // The name was looked up while the server was closed: nobody wants the socket any more.
      if (this.#stopped !== undefined) server.close();
    });
  }

  /** Whether it is bound, or about to be. */
  get active(): boolean {
    return this.#binding !== undefined;
  }

  /**
   * @throws ListenError where it cannot; it may then be tried again
   * @throws LifecycleError where it listens already, and where it was stopped, before or meanwhile
   */
  async bind(port: number, host: string): Promise<ListenAddress> {
    if (this.#stopped !== undefined) throw new LifecycleError("listen() after close(): make a new server instead");
    if (this.#binding !== undefined) throw new LifecycleError("The server listens already");
    this.#binding = this.#listen(port, host);
    try {
      await this.#binding;
    } catch (error) {
      this.#binding = undefined;
      throw new ListenError(host, port, error as NodeJS.ErrnoException);
    }
    if (this.#stopped !== undefined) throw new LifecycleError("The server was closed before it listened");
    const address = this.#server.address() as AddressInfo;
    const shown = address.family === "IPv6" ? `[${address.address}]` : address.address;
    return { host: address.address, port: address.port, url: `http://${shown}:${address.port}` };
  }

  #listen(port: number, host: string): Promise<void> {
    return new Promise((resolve, reject) => {
      const settled = (error?: Error): void => {
        this.#server.off("error", settled).off("listening", settled);
        if (error === undefined) resolve();
        else reject(error);
      };
      this.#server.once("error", settled).once("listening", settled);
      this.#server.listen(port, host);
    });
  }

  /** Accepts nothing more and closes the connections that are idle. Resolves when every connection is closed. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop();
    return this.#stopped;
  }

  async #stop(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => {
      this.#sparingThoseThatSend(() => {
        this.#server.close(() => resolve());
        this.#server.closeIdleConnections();
      });
    });
    await closed;
  }

  /** node:http takes a connection for idle as soon as its answer is written, while its client still waits for the rest. */
  #sparingThoseThatSend(closeIdle: () => void): void {
    const sending = [...this.#connections()].filter(({ writableLength }) => writableLength > 0);
    for (const connection of sending) connection.destroy = () => connection;
    try {
      closeIdle();
    } finally {
      // What was covered lies on the prototype.
      for (const connection of sending) delete (connection as Partial<Sending>).destroy;
    }
  }

  /** Closes every connection, whatever it is doing. */
  cut(): void {
    this.#server.closeAllConnections();
  }
}
