/**
 * Real servers for what a healthy peer won't do. `faultServer` runs a script on each raw connection; a script sees
 * whole requests (headers read to the blank line, and a body of `content-length`) and answers with bytes.
 */
import { once } from "node:events";
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import { createServer as createNetServer, type AddressInfo, type Socket } from "node:net";
import type { TlsOptions } from "node:tls";

export interface RawRequest {
  /** "GET /path HTTP/1.1" */
  readonly line: string;
  readonly head: string;
  readonly body: string;
  /** From 0, over all connections. */
  readonly number: number;
  /** From 0, on this connection. */
  readonly onConnection: number;
}

export interface TestServer extends AsyncDisposable {
  readonly url: string;
  readonly port: number;
  readonly sockets: ReadonlySet<Socket>;
  /** Connections accepted, ever. */
  readonly accepted: () => number;
  /** The most connections that were open at once. */
  readonly peak: () => number;
  /** Resolves when `count` sockets or fewer are left open. */
  socketsDownTo(count: number): Promise<void>;
}

export interface FaultServer extends TestServer {
  readonly requests: RawRequest[];
}

export async function faultServer(
  script: (socket: Socket, request: RawRequest) => void,
  onConnect?: (socket: Socket, number: number) => void,
): Promise<FaultServer> {
  const requests: RawRequest[] = [];
  let connections = 0;
  const server = createNetServer((socket) => {
    socket.on("error", () => {});
    onConnect?.(socket, connections++);
    let pending = "";
    let onConnection = 0;
    socket.setEncoding("latin1");
    socket.on("data", (chunk: string) => {
      pending += chunk;
      for (;;) {
        const end = pending.indexOf("\r\n\r\n");
        if (end < 0) return;
        const head = pending.slice(0, end);
        const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
        if (pending.length < end + 4 + length) return;
        const body = pending.slice(end + 4, end + 4 + length);
        pending = pending.slice(end + 4 + length);
        const line = head.slice(0, head.indexOf("\r\n"));
        const request = { line, head, body, number: requests.length, onConnection: onConnection++ };
        requests.push(request);
        script(socket, request);
      }
    });
  });
  const base = await listening(server, "http");
  return { ...base, requests, [Symbol.asyncDispose]: base[Symbol.asyncDispose] };
}

/** An ordinary HTTP server. */
export async function httpServer(
  listener: (request: IncomingMessage, response: ServerResponse) => void,
  tls?: TlsOptions,
): Promise<TestServer> {
  const server: Server = tls === undefined ? createHttpServer(listener) : createHttpsServer(tls, listener);
  server.keepAliveTimeout = 0;
  return listening(server, tls === undefined ? "http" : "https");
}

export async function listening(server: ReturnType<typeof createNetServer>, scheme: string): Promise<TestServer> {
  const sockets = new Set<Socket>();
  let accepted = 0;
  let peak = 0;
  let onClose: () => void = () => {};
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    accepted++;
    peak = Math.max(peak, sockets.size);
    socket.once("close", () => {
      sockets.delete(socket);
      onClose();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `${scheme}://127.0.0.1:${port}`,
    port,
    sockets,
    accepted: () => accepted,
    peak: () => peak,
    socketsDownTo: (count) =>
      new Promise((resolve) => {
        onClose = () => {
          if (sockets.size <= count) resolve();
        };
        onClose();
      }),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, "close");
    },
  };
}

/** A whole response as text. */
export function reply(status: number, body = "ok", headers: Record<string, string | number> = {}): string {
  const lines = Object.entries({ "content-length": Buffer.byteLength(body), ...headers }).map(([n, v]) => `${n}: ${v}`);
  return `HTTP/1.1 ${status} Status\r\n${lines.join("\r\n")}\r\n\r\n${body}`;
}

/** A port on which nothing listens. */
export async function closedPort(): Promise<number> {
  const server = createNetServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

export function deferred<T = void>(): { promise: Promise<T>; resolve: (value: T) => void } {
  let resolve!: (value: T) => void;
  const promise = new Promise<T>((r) => {
    resolve = r;
  });
  return { promise, resolve };
}

/** The rejection's value; fails the test where there is none. */
export async function rejection<T = Error>(promise: Promise<unknown>): Promise<T> {
  try {
    await promise;
  } catch (error) {
    return error as T;
  }
  throw new Error("expected a rejection, got a result");
}

export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}
