import type { Socket } from "node:net";
import { BaseExchange, writeTo, type ExchangeServices } from "./exchange.ts";
import type { RequestRecord } from "./records.ts";
import { RequestParser } from "./request-parser.ts";
import { resetConnection } from "./reset.ts";
import { runScript, type FaultHeaders, type Script } from "./script.ts";

/** What a connection asks its server. */
export interface ConnectionHost extends ExchangeServices {
  startRequest(onConnection: number): RequestRecord;
  /** Gives the script that the head alone calls for, if any. */
  scriptForHead(record: RequestRecord): (() => Script) | undefined;
  scriptForRequest(record: RequestRecord): Script;
  /** Something more of the request has come. */
  changed(record: RequestRecord): void;
  broken(reason: string): void;
}

/** Reads requests from a socket and runs their scripts one after another, as HTTP/1.1 wants its answers. */
export function serveHttp1(socket: Socket, raw: Socket, signal: AbortSignal, host: ConnectionHost): void {
  let count = 0;
  let last: Promise<unknown> = Promise.resolve();
  const run = (record: RequestRecord, give: () => Script): void => {
    last = last.then(() => {
      // A script before this one has ended the connection, and the client did not know yet.
      if (socket.writableEnded) return undefined;
      return runScript(give, new Http1Exchange(host, { request: record, socket, raw, signal }), host.reporter);
    });
  };
  /** Requests whose script began with their head. */
  let begun: RequestRecord | undefined;
  const parser = new RequestParser({
    started: () => {
      const record = host.startRequest(count++);
      host.changed(record);
      return record;
    },
    head: (record) => {
      const give = host.scriptForHead(record);
      host.changed(record);
      if (give === undefined) return;
      begun = record;
      run(record, give);
    },
    complete: (record) => {
      host.changed(record);
      if (begun !== record) run(record, () => host.scriptForRequest(record));
    },
    broken: (reason) => {
      host.broken(reason);
      resetConnection(raw, socket);
    },
  });
  socket.on("data", (chunk: Buffer) => parser.push(chunk));
  // A script for connections leaves it paused.
  socket.resume();
}

class Http1Exchange extends BaseExchange {
  readonly protocol = "http/1.1";
  #chunked = false;
  /** The body goes on until the connection ends. */
  #unframed = false;

  respond(status: number, headers: FaultHeaders, statusText = "Scripted"): Promise<void> {
    const framing = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), String(value)]));
    this.#chunked = framing.get("transfer-encoding")?.endsWith("chunked") === true;
    const bodiless = status < 200 || status === 204 || status === 304 || this.request?.method === "HEAD";
    this.#unframed = !this.#chunked && !bodiless && !framing.has("content-length");
    return this.write(headText(status, statusText, headers));
  }

  body(bytes: string | Uint8Array): Promise<void> {
    if (!this.#chunked) return this.write(bytes);
    const piece = Buffer.from(bytes as string);
    // A chunk of no bytes would be the last one.
    if (piece.length === 0) return Promise.resolve();
    return this.write(Buffer.concat([Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from("\r\n")]));
  }

  end(): void {
    if (this.#chunked) this.socket.write("0\r\n\r\n");
    else if (this.#unframed) this.close();
  }

  write(bytes: string | Uint8Array): Promise<void> {
    return writeTo(this.socket, bytes, this.signal);
  }
}

/** Status line and headers as they go over the wire. */
export function headText(status: number, statusText: string, headers: FaultHeaders): string {
  const lines = [`HTTP/1.1 ${status} ${statusText}`];
  for (const [name, value] of Object.entries(headers)) {
    for (const each of typeof value === "object" ? value : [value]) lines.push(`${name}: ${each}`);
  }
  return `${lines.join("\r\n")}\r\n\r\n`;
}
