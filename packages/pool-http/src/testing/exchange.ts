import type { Socket } from "node:net";
import type { Writable } from "node:stream";
import type { Gates } from "./gates.ts";
import type { RequestRecord } from "./records.ts";
import { resetConnection } from "./reset.ts";
import { runScript, type FaultExchange, type FaultHeaders, type Reporter, type Script } from "./script.ts";

/** What every exchange needs of its server. */
export interface ExchangeServices {
  readonly gates: Gates;
  readonly reporter: Reporter;
  readonly sleep: (ms: number, signal: AbortSignal) => Promise<void>;
}

/** What all protocols have in common. */
export abstract class BaseExchange implements FaultExchange {
  abstract readonly protocol: "tcp" | "http/1.1" | "h2";
  readonly request: RequestRecord | undefined;
  readonly socket: Socket;
  readonly signal: AbortSignal;
  protected readonly raw: Socket;
  protected readonly services: ExchangeServices;

  constructor(
    services: ExchangeServices,
    about: { request: RequestRecord | undefined; socket: Socket; raw: Socket; signal: AbortSignal },
  ) {
    this.services = services;
    this.request = about.request;
    this.socket = about.socket;
    this.raw = about.raw;
    this.signal = about.signal;
  }

  abstract respond(status: number, headers: FaultHeaders, statusText?: string): Promise<void>;
  abstract body(bytes: string | Uint8Array): Promise<void>;
  abstract end(): void;
  abstract write(bytes: string | Uint8Array): Promise<void>;

  close(): void {
    this.socket.end();
  }

  reset(): void {
    resetConnection(this.raw, this.socket);
  }

  stopReading(): void {
    this.socket.pause();
  }

  resetStream(_code: string | number): void {
    throw new Error(`streams are reset in HTTP/2, and this is ${this.protocol}`);
  }

  goAway(_options: { code: string | number; includingThis: boolean }): void {
    throw new Error(`GOAWAY is of HTTP/2, and this is ${this.protocol}`);
  }

  sleep(ms: number): Promise<void> {
    return this.services.sleep(ms, this.signal);
  }

  hold(gate: string): Promise<void> {
    return this.services.gates.wait(gate, this.signal);
  }

  meanwhile(script: Script): void {
    void runScript(() => script, this.beside(), this.services.reporter);
  }

  /** This exchange for as long as its connection lives. */
  protected beside(): FaultExchange {
    return this;
  }

  protected unavailable(what: string): Error {
    return new Error(`${what} is not possible in ${this.protocol === "tcp" ? "a script for connections" : "HTTP/2"}`);
  }
}

/** A connection of which nothing has been read. */
export class TcpExchange extends BaseExchange {
  readonly protocol = "tcp";

  respond(): Promise<void> {
    return Promise.reject(this.unavailable("a response"));
  }

  body(): Promise<void> {
    return Promise.reject(this.unavailable("a body"));
  }

  end(): void {
    throw this.unavailable("the end of a body");
  }

  write(bytes: string | Uint8Array): Promise<void> {
    return writeTo(this.socket, bytes, this.signal);
  }
}

/** Writes, and resolves when the socket takes more: a client that doesn't read costs no memory. */
export function writeTo(socket: Writable, bytes: string | Uint8Array, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal.aborted || !socket.writable) {
      return reject(new Error(socket.writableEnded ? "the script has ended the connection" : "the client has left"));
    }
    if (socket.write(bytes)) return resolve();
    const done = (): void => {
      socket.off("drain", done);
      signal.removeEventListener("abort", done);
      if (signal.aborted) reject(signal.reason as Error);
      else resolve();
    };
    socket.on("drain", done);
    signal.addEventListener("abort", done);
  });
}
