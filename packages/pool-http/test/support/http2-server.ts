/** An HTTP/2 server over TLS or without, and how many of its streams were open at once on one session. */
import {
  createSecureServer,
  createServer,
  type Http2Server,
  type IncomingHttpHeaders,
  type SecureServerOptions,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from "node:http2";
import { listening, turns, type TestServer } from "./fault-server.ts";

export interface Http2TestServer extends TestServer {
  readonly sessions: ServerHttp2Session[];
  /** Requests that the server took up, by path. */
  readonly taken: string[];
  /** The most streams of one session that were open at once. */
  readonly peakStreams: () => number;
}

export async function http2Server(
  onStream: (stream: ServerHttp2Stream, headers: IncomingHttpHeaders, number: number) => void,
  options: SecureServerOptions = {},
): Promise<Http2TestServer> {
  const secure = options.cert !== undefined;
  const server: Http2Server = secure ? createSecureServer(options) : createServer(options);
  const sessions: ServerHttp2Session[] = [];
  const taken: string[] = [];
  const open = new Map<ServerHttp2Session, number>();
  let peak = 0;
  server.on("session", (session) => {
    sessions.push(session);
    session.on("error", () => {});
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    const session = stream.session as ServerHttp2Session;
    const count = (open.get(session) ?? 0) + 1;
    open.set(session, count);
    peak = Math.max(peak, count);
    stream.once("close", () => open.set(session, (open.get(session) ?? 1) - 1));
    taken.push(`${headers[":method"]} ${headers[":path"]}`);
    onStream(stream, headers, taken.length - 1);
  });
  const base = await listening(server, secure ? "https" : "http");
  return Object.assign(base, { sessions, taken, peakStreams: () => peak });
}

/** Answers "ok" a turn later. */
export function http2OkServer(options?: SecureServerOptions): Promise<Http2TestServer> {
  return http2Server((stream) => void setImmediate(() => answer(stream)), options);
}

/** Answers "ok", and "/hold" when `hold` has come. */
export function http2HoldServer(hold: Promise<void>, options?: SecureServerOptions): Promise<Http2TestServer> {
  return http2Server(
    (stream, headers) => void (headers[":path"] === "/hold" ? hold : turns(1)).then(() => answer(stream)),
    options,
  );
}

export function answer(stream: ServerHttp2Stream, body: string | Buffer = "ok", headers: object = {}): void {
  if (stream.destroyed) return;
  stream.respond({ ":status": 200, ...headers });
  stream.end(body);
}
