import { once } from "node:events";
import {
  createServer,
  type IncomingMessage,
  request as httpRequest,
  type Server,
  type ServerResponse,
} from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { getRequestListener } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { type AccessLog, accessLog, type AccessLogOptions } from "@vg/logging/access-log";
import type { Logger, LoggerConfig } from "@vg/logging";
import express from "express";
import Fastify from "fastify";
import { Hono } from "hono";
import { type LineStream, lineStream } from "./line-stream.ts";

/** What the routes of every server of the suite do with node's own objects. */
export interface Hooks {
  /** Called when `/hang` has sent its first bytes. */
  onHang?: (request: IncomingMessage, response: ServerResponse) => void;
  /** Called by `/log`. */
  onLog?: (logger: Logger) => void;
}

export interface Running extends AsyncDisposable {
  readonly port: number;
  readonly server: Server;
  readonly access: AccessLog;
  readonly log: LineStream;
}

export interface Kind {
  readonly name: string;
  /** Whether it has routes, and tells what its handlers throw. */
  readonly isFramework: boolean;
  start(access: AccessLog, hooks: Hooks): Promise<{ server: Server; stop?: () => Promise<unknown> }>;
}

/** Routes that write to node's response themselves: the same in all servers. */
function answerRaw(path: string, request: IncomingMessage, response: ServerResponse, hooks: Hooks): boolean {
  switch (path) {
    case "/stream":
      response.writeHead(200, { "content-type": "text/plain" });
      response.write("one");
      response.write(Buffer.from("zwei"));
      response.end("drei!");
      return true;
    case "/hang":
      response.writeHead(200);
      response.write("first");
      hooks.onHang?.(request, response);
      return true;
    case "/silent":
      hooks.onHang?.(request, response);
      return true;
    case "/destroy":
      response.writeHead(200);
      response.write("half", () => response.destroy());
      return true;
    case "/after-end":
      response.on("error", () => undefined);
      response.end("done");
      response.write("more");
      response.end("again");
      return true;
    case "/hints":
      response.writeProcessing();
      response.writeEarlyHints({ link: "</style.css>; rel=preload" });
      response.end("hinted");
      return true;
    case "/empty":
      response.writeHead(204).end();
      return true;
    case "/unchanged":
      response.writeHead(304, { etag: '"1"' }).end("not sent");
      return true;
    case "/broken":
      response.writeHead(503).end("sorry");
      return true;
    default:
      return false;
  }
}

const RAW = ["stream", "hang", "silent", "destroy", "after-end", "hints", "empty", "unchanged", "broken"];

async function bodyLength(request: IncomingMessage): Promise<number> {
  let length = 0;
  for await (const chunk of request) length += (chunk as Buffer).length;
  return length;
}

/** The listener of a server without a framework. */
function plainListener(access: AccessLog, hooks: Hooks) {
  return async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const path = (request.url ?? "/").split("?", 1)[0] as string;
    if (answerRaw(path, request, response, hooks)) return;
    if (path === "/log") hooks.onLog?.(access.loggerOf(request));
    if (path === "/echo") response.end(String(await bodyLength(request)));
    else if (path.startsWith("/users/") || path === "/log") response.end(`user ${path.slice(7)}`);
    else response.writeHead(404).end("none");
  };
}

export const KINDS: readonly Kind[] = [
  {
    name: "node:http, wrapped",
    isFramework: false,
    async start(access, hooks) {
      return { server: createServer(access.wrap(plainListener(access, hooks))) };
    },
  },
  {
    name: "node:http, attached",
    isFramework: false,
    async start(access, hooks) {
      const listener = plainListener(access, hooks);
      const server = createServer((request, response) => void listener(request, response));
      access.attach(server);
      return { server };
    },
  },
  {
    name: "Express 5",
    isFramework: true,
    async start(access, hooks) {
      const app = express();
      app.use(access.express);
      app.use(express.text({ type: "text/special" }));
      for (const path of RAW)
        app.all(`/${path}`, (request, response) => void answerRaw(request.path, request, response, hooks));
      app.post("/echo", async (request, response) => void response.send(String(await bodyLength(request))));
      app.get("/log", (request, response) => {
        hooks.onLog?.(access.loggerOf(request));
        response.send("ok");
      });
      app.get("/throws", () => {
        throw new Error("thrown by the handler");
      });
      const org = express.Router({ mergeParams: false });
      org.get("/users/:id", (request, response) => void response.send(`user ${request.params.id}`));
      app.use("/orgs/:org", org);
      app.get("/users/:id", (request, response) => void response.send(`user ${request.params.id}`));
      app.use(access.expressErrors);
      app.set("env", "test");
      return { server: createServer(app) };
    },
  },
  {
    name: "Fastify 5",
    isFramework: true,
    async start(access, hooks) {
      const app = Fastify();
      await app.register(access.fastify);
      for (const path of RAW) {
        app.all(`/${path}`, (request, reply) => {
          reply.hijack();
          answerRaw(`/${path}`, request.raw, reply.raw, hooks);
        });
      }
      app.addContentTypeParser("application/octet-stream", (_request, body, done) => done(null, body));
      app.post("/echo", async (request) => String(await bodyLength(request.raw)));
      app.get("/log", async (request) => {
        hooks.onLog?.(access.loggerOf(request));
        return "ok";
      });
      app.get("/throws", async () => {
        throw new Error("thrown by the handler");
      });
      await app.register(
        async (scope) => {
          scope.get<{ Params: { id: string } }>("/users/:id", async (request) => `user ${request.params.id}`);
        },
        { prefix: "/orgs/:org" },
      );
      app.get<{ Params: { id: string } }>("/users/:id", async (request) => `user ${request.params.id}`);
      await app.ready();
      return { server: app.server, stop: () => app.close() };
    },
  },
  {
    name: "Hono on Node",
    isFramework: true,
    async start(access, hooks) {
      const app = new Hono<{ Bindings: { incoming: IncomingMessage; outgoing: ServerResponse } }>();
      app.use(access.hono);
      for (const path of RAW) {
        app.all(`/${path}`, (context) => {
          answerRaw(`/${path}`, context.env.incoming, context.env.outgoing, hooks);
          return RESPONSE_ALREADY_SENT;
        });
      }
      app.post("/echo", async (context) => context.text(String((await context.req.arrayBuffer()).byteLength)));
      app.get("/log", (context) => {
        hooks.onLog?.(access.loggerOf(context));
        return context.text("ok");
      });
      app.get("/throws", () => {
        throw new Error("thrown by the handler");
      });
      app.onError((_error, context) => context.text("failed", 500));
      const org = new Hono();
      org.get("/users/:id", (context) => context.text(`user ${context.req.param("id")}`));
      app.route("/orgs/:org", org);
      app.get("/users/:id", (context) => context.text(`user ${context.req.param("id")}`));
      const listener = getRequestListener(app.fetch);
      return { server: createServer((request, response) => void listener(request, response)) };
    },
  },
];

export async function start(
  kind: Kind,
  options: AccessLogOptions = {},
  hooks: Hooks = {},
  config: LoggerConfig = {},
): Promise<Running> {
  const log = lineStream(config);
  const access = accessLog(log.logger, options);
  const { server, stop } = await kind.start(access, hooks);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    server,
    access,
    log,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      if (stop !== undefined) await stop();
      else await new Promise((resolve) => server.close(resolve));
    },
  };
}

export interface Answer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly body: string;
}

export async function ask(
  { port }: { port: number },
  path: string,
  { method = "GET", headers = {}, body }: { method?: string; headers?: Record<string, string>; body?: string } = {},
): Promise<Answer> {
  const request = httpRequest({ port, host: "127.0.0.1", path, method, headers, agent: false });
  request.end(body);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  let text = "";
  response.setEncoding("utf8");
  for await (const chunk of response) text += chunk as string;
  return { status: response.statusCode ?? 0, headers: response.headers, body: text };
}

/** A client that writes bytes. */
export async function rawClient({ port }: { port: number }, text: string): Promise<Socket> {
  const socket = connect(port, "127.0.0.1");
  socket.on("error", () => undefined);
  await once(socket, "connect");
  socket.write(text);
  return socket;
}
