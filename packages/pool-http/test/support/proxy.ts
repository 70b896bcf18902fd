/** A forward proxy as it stands in offices: CONNECT tunnels and requests that are addressed to it. */
import { createServer, request as sendRequest, type IncomingHttpHeaders, type RequestListener } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { connect, type Socket } from "node:net";
import type { TlsOptions } from "node:tls";
import { listening, type TestServer } from "./fault-server.ts";

export interface ProxyServer extends TestServer {
  /** "CONNECT host:port" and "GET http://host/path", in order. */
  readonly asked: string[];
  readonly headers: IncomingHttpHeaders[];
}

export interface ProxyOptions {
  readonly tls?: TlsOptions;
  /** "user:password" that it asks for. */
  readonly credentials?: string;
  /** Answers CONNECT with these bytes instead of a tunnel; "" never answers. */
  readonly connectAnswer?: string;
}

/** Every host name is this machine to it. */
export async function proxyServer(options: ProxyOptions = {}): Promise<ProxyServer> {
  const asked: string[] = [];
  const headers: IncomingHttpHeaders[] = [];
  const allowed = (given: IncomingHttpHeaders): boolean =>
    options.credentials === undefined ||
    given["proxy-authorization"] === `Basic ${Buffer.from(options.credentials).toString("base64")}`;
  const forward: RequestListener = (request, response) => {
    asked.push(`${request.method} ${request.url}`);
    headers.push(request.headers);
    if (!allowed(request.headers)) {
      response.writeHead(407, { "proxy-authenticate": "Basic" });
      response.end("who are you?");
      return;
    }
    const { port, pathname, search } = new URL(request.url ?? "");
    const { "proxy-authorization": _own, ...others } = request.headers;
    const onward = sendRequest(
      { host: "127.0.0.1", port, path: pathname + search, method: request.method, headers: others, agent: false },
      (answer) => {
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response);
      },
    );
    onward.on("error", () => response.writeHead(502).end("no way there"));
    request.pipe(onward);
  };
  const server = options.tls === undefined ? createServer(forward) : createSecureServer(options.tls, forward);
  server.keepAliveTimeout = 0;
  server.on("connect", (request, stream, head: Buffer) => {
    const client = stream as Socket;
    client.on("error", () => {});
    asked.push(`CONNECT ${request.url}`);
    headers.push(request.headers);
    if (options.connectAnswer !== undefined) {
      client.resume().on("end", () => client.end());
      client.write(options.connectAnswer);
      return;
    }
    if (!allowed(request.headers)) {
      client.end("HTTP/1.1 407 Who\r\ncontent-length: 0\r\n\r\n");
      return;
    }
    const origin = connect(Number(/:(\d+)$/.exec(request.url ?? "")?.[1]), "127.0.0.1", () => {
      client.write("HTTP/1.1 200 Connection established\r\nvia: test\r\n\r\n");
      if (head.length > 0) origin.write(head);
      origin.pipe(client).pipe(origin);
    });
    origin.on("error", () => client.end("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"));
    client.on("close", () => origin.destroy());
    origin.on("close", () => client.destroy());
  });
  const base = await listening(server, options.tls === undefined ? "http" : "https");
  return Object.assign(base, { asked, headers });
}
