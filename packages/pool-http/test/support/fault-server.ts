/**
 * Real servers for what a healthy peer won't do. `faultServer` is that of @vg/pool-http/testing with a function instead of
 * a script: it gets each whole request and the socket, and answers with bytes.
 */
import { once } from "node:events";
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Server as NetServer, Socket } from "node:net";
import type { TlsOptions } from "node:tls";
import { startFaultServer, step } from "../../src/testing.ts";

export { closedPort } from "../../src/testing.ts";

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
  const sockets = new Set<Socket>();
  const server = await startFaultServer({
    connections: (number) =>
      step("onConnect", ({ socket }) => {
        sockets.add(socket);
        socket.once("close", () => sockets.delete(socket));
        onConnect?.(socket, number);
      }),
    requests: ({ head, body, number, onConnection }) =>
      step("script", ({ socket }) => {
        const line = head.slice(0, head.indexOf("\r\n"));
        const request = { line, head, body: body.toString("latin1"), number, onConnection };
        requests.push(request);
        script(socket, request);
      }),
  });
  return {
    url: server.url,
    port: server.port,
    requests,
    sockets,
    accepted: () => server.connections.accepted,
    peak: () => server.connections.peak,
    socketsDownTo: (count) => server.connectionsDownTo(count),
    [Symbol.asyncDispose]: () => server.close(),
  };
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

/** Answers "ok" a turn later. */
export function okServer(tls?: TlsOptions): Promise<TestServer> {
  return httpServer((_request, response) => void setImmediate(() => response.end("ok")), tls);
}

export async function listening(server: NetServer, scheme: string): Promise<TestServer> {
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

/** Until the pool's sockets have closed, which they do by themselves; the statistics count them until then. */
export async function poolClosedTo(pool: { getStats(): { open_connections: number } }, count: number): Promise<void> {
  while (pool.getStats().open_connections > count) await turns(1);
}

export async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Until the number stays as it is, however often the event loop comes round: what could happen by itself has happened. */
export async function settled(count: () => number): Promise<void> {
  for (let before = Number.NaN; before !== count();) {
    before = count();
    await turns(25);
  }
}
