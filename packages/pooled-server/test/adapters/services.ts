/** One service, written for every kind of base server in that kind's own way. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable, Transform } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { currentRequest, type BaseServer, type RequestContext } from "@vg/pooled-server";
import express from "express";
import Fastify, { type FastifyInstance } from "fastify";
import { Hono } from "hono";

/** What a test sees of the handlers from inside. */
export interface Hooks {
  /** Pieces of `/big` that were asked for so far. */
  produced: number;
  /** Bytes of a body that `/slow-count` has taken so far. */
  taken: number;
  /** `/slow-count` reads on when it resolves. */
  mayRead: Promise<void>;
  /** `/wait` and `/events` have begun. */
  onStart: (context: RequestContext) => void;
  /** The producer of `/events` or `/forever` was told to stop. */
  onStopped: () => void;
  /** `currentRequest()` in places where it is easily lost. */
  seen: (string | undefined)[];
}

export function hooks(): Hooks {
  return {
    produced: 0,
    taken: 0,
    mayRead: Promise.resolve(),
    onStart: () => undefined,
    onStopped: () => undefined,
    seen: [],
  };
}

export interface Kind {
  readonly name: string;
  make(hooks: Hooks): BaseServer | Promise<BaseServer>;
  /** What answers a path that nothing handles. */
  readonly notFound: string;
  /** How the route of `/orgs/:org/items/:id` is written. */
  readonly route: string;
}

export const BIG_PIECE: Buffer = Buffer.alloc(64 * 1024, "x");
export const BIG_PIECES = 512;

function context(): RequestContext {
  const found = currentRequest();
  if (found === undefined) throw new Error("no request here");
  return found;
}

async function* big(its: Hooks): AsyncGenerator<Buffer> {
  for (let piece = 0; piece < BIG_PIECES; piece++) {
    its.produced++;
    yield BIG_PIECE;
    await Promise.resolve();
  }
}

async function* events(its: Hooks): AsyncGenerator<string> {
  try {
    its.onStart(context());
    for (let event = 0; event < 3; event++) {
      its.seen.push(currentRequest()?.requestId);
      yield `data: ${event}\n\n`;
      await delay(1);
    }
  } finally {
    its.onStopped();
  }
}

async function* forever(its: Hooks): AsyncGenerator<string> {
  const { signal } = context();
  try {
    its.onStart(context());
    for (;;) {
      yield "data: still here\n\n";
      await delay(5, undefined, { signal });
    }
  } finally {
    its.onStopped();
  }
}

async function* breaks(): AsyncGenerator<string> {
  yield "half";
  await delay(1);
  throw new Error("boom: password=hunter2");
}

async function count(body: AsyncIterable<Uint8Array>, its: Hooks, mayRead: Promise<void>): Promise<number> {
  for await (const chunk of body) {
    its.taken += chunk.byteLength;
    its.seen.push(currentRequest()?.requestId);
    await mayRead;
  }
  return its.taken;
}

async function wait(its: Hooks): Promise<string> {
  const { signal } = context();
  its.onStart(context());
  await delay(30_000, undefined, { signal, ref: false });
  return "waited";
}

async function ids(): Promise<object> {
  const before = context().requestId;
  await delay(1);
  context().logger.info("working");
  return { before, after: currentRequest()?.requestId, trace: currentRequest()?.traceId };
}

function upper(): Transform {
  return new Transform({
    transform: (chunk: Buffer, _encoding, done) => done(null, chunk.toString().toUpperCase()),
  });
}

// ---------------------------------------------------------------- node:http

async function nodeService(request: IncomingMessage, response: ServerResponse, its: Hooks): Promise<void> {
  const { pathname } = new URL(request.url ?? "/", "http://host");
  const json = (value: unknown): void => {
    response.setHeader("content-type", "application/json").end(JSON.stringify(value));
  };
  const item = /^\/orgs\/([^/]+)\/items\/([^/]+)$/.exec(pathname);
  if (item !== null) {
    context().route = "/orgs/:org/items/:id";
    return json({ org: item[1], id: item[2] });
  }
  switch (`${request.method} ${pathname}`) {
    case "POST /echo": {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      return json({ received: JSON.parse(Buffer.concat(chunks).toString()) as unknown });
    }
    case "GET /text":
    case "HEAD /text":
      return void response.setHeader("x-text", "yes").end("some text");
    case "GET /empty":
      return void response.writeHead(204).end();
    case "GET /headers":
      response.setHeader("set-cookie", ["a=1", "b=2"]);
      return json(request.headers);
    case "GET /big":
      Readable.from(big(its)).pipe(response);
      return;
    case "GET /events":
      response.setHeader("content-type", "text/event-stream");
      Readable.from(events(its)).pipe(response);
      return;
    case "GET /forever": {
      response.setHeader("content-type", "text/event-stream");
      const source = Readable.from(forever(its)).on("error", () => undefined);
      response.once("close", () => source.destroy());
      source.pipe(response);
      return;
    }
    case "POST /upper":
      request.pipe(upper()).pipe(response);
      return;
    case "POST /count":
      return json({ bytes: await count(request, its, Promise.resolve()) });
    case "POST /slow-count":
      return json({ bytes: await count(request, its, its.mayRead) });
    case "POST /listen": {
      let bytes = 0;
      request.on("data", (chunk: Buffer) => {
        bytes += chunk.length;
        its.seen.push(currentRequest()?.requestId);
      });
      request.on("end", () => {
        its.seen.push(currentRequest()?.requestId);
        json({ bytes });
      });
      response.on("finish", () => its.seen.push(currentRequest()?.requestId));
      response.on("close", () => its.seen.push(currentRequest()?.requestId));
      return;
    }
    case "POST /ignore":
      return json({ ignored: true });
    case "GET /wait":
      return void response.end(await wait(its));
    case "GET /throws":
      throw new Error("boom: password=hunter2");
    case "GET /rejects":
      await delay(1);
      throw new Error("boom: password=hunter2");
    case "GET /breaks":
      for await (const chunk of breaks()) response.write(chunk);
      return;
    case "GET /ids":
      return json(await ids());
    default:
      response.writeHead(404).end("nothing here");
  }
}

// ---------------------------------------------------------------- Express

function expressService(its: Hooks): express.Express {
  const app = express();
  app.post("/echo", express.json(), (request, response) => void response.json({ received: request.body as unknown }));
  app.get("/text", (_request, response) => void response.set("x-text", "yes").send("some text"));
  app.get("/empty", (_request, response) => void response.status(204).end());
  app.get("/headers", (request, response) => {
    response.cookie("a", 1).cookie("b", 2).json(request.headers);
  });
  const items = express.Router({ mergeParams: true });
  items.get("/items/:id", (request: express.Request<{ org: string; id: string }>, response) => {
    response.json({ org: request.params.org, id: request.params.id });
  });
  app.use("/orgs/:org", items);
  app.get("/big", (_request, response) => void Readable.from(big(its)).pipe(response));
  app.get("/events", (_request, response) => {
    response.type("text/event-stream");
    Readable.from(events(its)).pipe(response);
  });
  app.get("/forever", (_request, response) => {
    response.type("text/event-stream");
    const source = Readable.from(forever(its)).on("error", () => undefined);
    response.once("close", () => source.destroy());
    source.pipe(response);
  });
  app.post("/upper", (request, response) => void request.pipe(upper()).pipe(response));
  app.post("/count", async (request, response) => {
    response.json({ bytes: await count(request, its, Promise.resolve()) });
  });
  app.post("/slow-count", async (request, response) => {
    response.json({ bytes: await count(request, its, its.mayRead) });
  });
  app.post("/listen", express.raw({ limit: "10mb", type: () => true }), (request, response) => {
    its.seen.push(currentRequest()?.requestId);
    response.on("finish", () => its.seen.push(currentRequest()?.requestId));
    response.on("close", () => its.seen.push(currentRequest()?.requestId));
    response.json({ bytes: (request.body as Buffer).length });
  });
  app.post("/ignore", (_request, response) => void response.json({ ignored: true }));
  app.get("/wait", async (_request, response) => void response.send(await wait(its)));
  app.get("/throws", () => {
    throw new Error("boom: password=hunter2");
  });
  app.get("/rejects", async () => {
    await delay(1);
    throw new Error("boom: password=hunter2");
  });
  app.get("/breaks", async (_request, response) => {
    for await (const chunk of breaks()) response.write(chunk);
  });
  app.get("/ids", async (_request, response) => void response.json(await ids()));
  return app;
}

// ---------------------------------------------------------------- Fastify

async function fastifyService(its: Hooks): Promise<FastifyInstance> {
  const app = Fastify({ bodyLimit: 100 * 1024 * 1024 });
  app.post("/echo", async (request) => ({ received: request.body }));
  app.get("/text", async (_request, reply) => reply.header("x-text", "yes").send("some text"));
  app.get("/empty", async (_request, reply) => reply.code(204).send());
  app.get("/headers", async (request, reply) => {
    reply.header("set-cookie", ["a=1", "b=2"]);
    return request.headers;
  });
  app.get("/big", async (_request, reply) => reply.send(Readable.from(big(its))));
  app.get("/events", async (_request, reply) => reply.type("text/event-stream").send(Readable.from(events(its))));
  app.get("/forever", async (_request, reply) => {
    const source = Readable.from(forever(its)).on("error", () => undefined);
    return reply.type("text/event-stream").send(source);
  });
  await app.register(async (raw) => {
    raw.removeAllContentTypeParsers();
    raw.addContentTypeParser("*", (_request, payload, done) => done(null, payload));
    raw.post("/upper", async (request, reply) => reply.send((request.body as Readable).pipe(upper())));
    raw.post("/count", async (request) => ({ bytes: await count(request.raw, its, Promise.resolve()) }));
    raw.post("/slow-count", async (request) => ({ bytes: await count(request.raw, its, its.mayRead) }));
    raw.post("/ignore", async () => ({ ignored: true }));
  });
  await app.register(async (scope) => {
    scope.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));
    scope.post("/listen", async (request, reply) => {
      its.seen.push(currentRequest()?.requestId);
      reply.raw.on("finish", () => its.seen.push(currentRequest()?.requestId));
      reply.raw.on("close", () => its.seen.push(currentRequest()?.requestId));
      return { bytes: (request.body as Buffer).length };
    });
  });
  app.get("/wait", () => wait(its));
  app.get("/throws", () => {
    throw new Error("boom: password=hunter2");
  });
  app.get("/rejects", async () => {
    await delay(1);
    throw new Error("boom: password=hunter2");
  });
  app.get("/breaks", async (_request, reply) => reply.send(Readable.from(breaks())));
  app.get("/ids", () => ids());
  app.register(
    async (scope) => {
      scope.get<{ Params: { org: string; id: string } }>("/items/:id", async (request) => request.params);
    },
    { prefix: "/orgs/:org" },
  );
  // Fastify's own sends the error's message.
  app.setErrorHandler((error: { statusCode?: number }, _request, reply) => {
    void reply.code(error.statusCode ?? 500).send({ error: "failed" });
  });
  return app;
}

// ---------------------------------------------------------------- fetch

function streamOf(source: AsyncIterable<string | Uint8Array>, type: string): Response {
  const text = new TransformStream<string | Uint8Array, Uint8Array>({
    transform: (chunk, controller) => controller.enqueue(typeof chunk === "string" ? Buffer.from(chunk) : chunk),
  });
  return new Response(ReadableStream.from(source).pipeThrough(text), { headers: { "content-type": type } });
}

function upperStream(): TransformStream<Uint8Array, Uint8Array> {
  return new TransformStream({
    transform: (chunk, controller) => controller.enqueue(Buffer.from(Buffer.from(chunk).toString().toUpperCase())),
  });
}

function headersAnswer(request: Request): Response {
  const answer = Response.json(Object.fromEntries(request.headers));
  answer.headers.append("set-cookie", "a=1");
  answer.headers.append("set-cookie", "b=2");
  return answer;
}

async function listenTo(request: Request, its: Hooks): Promise<Response> {
  let bytes = 0;
  for await (const chunk of request.body as ReadableStream<Uint8Array>) {
    bytes += chunk.byteLength;
    its.seen.push(currentRequest()?.requestId);
  }
  return Response.json({ bytes });
}

function honoService(its: Hooks): Hono {
  const app = new Hono();
  app.use(async (_context, next) => next());
  app.post("/echo", async (c) => c.json({ received: (await c.req.json()) as unknown } as object));
  app.get("/text", (c) => c.text("some text", 200, { "x-text": "yes" }));
  app.get("/empty", (c) => c.body(null, 204));
  app.get("/headers", (c) => headersAnswer(c.req.raw));
  const items = new Hono();
  items.get("/items/:id", (c) => c.json({ org: c.req.param("org" as never), id: c.req.param("id") } as object));
  app.route("/orgs/:org", items);
  app.get("/big", () => streamOf(big(its), "application/octet-stream"));
  app.get("/events", () => streamOf(events(its), "text/event-stream"));
  app.get("/forever", () => streamOf(forever(its), "text/event-stream"));
  app.post("/upper", (c) => new Response(c.req.raw.body?.pipeThrough(upperStream())));
  app.post("/count", async (c) =>
    c.json({ bytes: await count(c.req.raw.body as ReadableStream<Uint8Array>, its, Promise.resolve()) }),
  );
  app.post("/slow-count", async (c) =>
    c.json({ bytes: await count(c.req.raw.body as ReadableStream<Uint8Array>, its, its.mayRead) }),
  );
  app.post("/listen", (c) => listenTo(c.req.raw, its));
  app.post("/ignore", (c) => c.json({ ignored: true }));
  app.get("/wait", async (c) => c.text(await wait(its)));
  app.get("/throws", () => {
    throw new Error("boom: password=hunter2");
  });
  app.get("/rejects", async () => {
    await delay(1);
    throw new Error("boom: password=hunter2");
  });
  app.get("/breaks", () => streamOf(breaks(), "text/plain"));
  app.get("/ids", async (c) => c.json(await ids()));
  // Hono's own writes to the console; this one lets the pooled server answer and log.
  app.onError((error) => {
    throw error;
  });
  return app;
}

/** As it stands in a module that Bun, Deno or a Worker runs. */
function fetchService(its: Hooks): { fetch(request: Request): Response | Promise<Response> } {
  return {
    fetch(request) {
      const { pathname } = new URL(request.url);
      const item = /^\/orgs\/([^/]+)\/items\/([^/]+)$/.exec(pathname);
      if (item !== null) {
        context().route = "/orgs/:org/items/:id";
        return Response.json({ org: item[1], id: item[2] });
      }
      const body = request.body as ReadableStream<Uint8Array>;
      switch (`${request.method} ${pathname}`) {
        case "POST /echo":
          return request.json().then((received: unknown) => Response.json({ received }));
        case "GET /text":
        case "HEAD /text":
          return new Response("some text", { headers: { "x-text": "yes" } });
        case "GET /empty":
          return new Response(null, { status: 204 });
        case "GET /headers":
          return headersAnswer(request);
        case "GET /big":
          return streamOf(big(its), "application/octet-stream");
        case "GET /events":
          return streamOf(events(its), "text/event-stream");
        case "GET /forever":
          return streamOf(forever(its), "text/event-stream");
        case "POST /upper":
          return new Response(body.pipeThrough(upperStream()));
        case "POST /count":
          return count(body, its, Promise.resolve()).then((bytes) => Response.json({ bytes }));
        case "POST /slow-count":
          return count(body, its, its.mayRead).then((bytes) => Response.json({ bytes }));
        case "POST /listen":
          return listenTo(request, its);
        case "POST /ignore":
          return Response.json({ ignored: true });
        case "GET /wait":
          return wait(its).then((text) => new Response(text));
        case "GET /throws":
          throw new Error("boom: password=hunter2");
        case "GET /rejects":
          return delay(1).then(() => {
            throw new Error("boom: password=hunter2");
          });
        case "GET /breaks":
          return streamOf(breaks(), "text/plain");
        case "GET /ids":
          return ids().then((found) => Response.json(found));
        default:
          return new Response("nothing here", { status: 404 });
      }
    },
  };
}

export const KINDS: readonly Kind[] = [
  {
    name: "node:http",
    make: (its) => (request, response) => nodeService(request, response, its),
    notFound: "nothing here",
    route: "/orgs/:org/items/:id",
  },
  { name: "Express 5", make: expressService, notFound: "Cannot GET /nowhere", route: "/orgs/:org/items/:id" },
  { name: "Fastify 5", make: fastifyService, notFound: "Route GET:/nowhere", route: "/orgs/:org/items/:id" },
  { name: "Hono", make: honoService, notFound: "404 Not Found", route: "/orgs/:org/items/:id" },
  { name: "fetch", make: fetchService, notFound: "nothing here", route: "/orgs/:org/items/:id" },
];
