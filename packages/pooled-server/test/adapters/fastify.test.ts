import { BaseServerError, createPooledServer, currentRequest, LifecycleError, PooledServer } from "@vg/pooled-server";
import { captureLogs } from "@vg/logging/testing";
import Fastify, { type FastifyInstance } from "fastify";
import { expect, test } from "vitest";
import { gate, listen } from "../support/server.ts";

const routeCount = (route: string, status: number): string =>
  `http_route="${route}",http_response_status_code="${status}"`;

test("plugins are loaded before the first request, and onClose hooks run when the last one has ended", async () => {
  const order: string[] = [];
  const arrived = gate();
  const mayAnswer = gate();
  const app = Fastify();
  app.register(async (scope) => {
    await Promise.resolve();
    order.push("loaded");
    scope.addHook("onClose", async () => void order.push("closed"));
  });
  app.get("/", async () => {
    arrived.open();
    await mayAnswer.opened;
    order.push("answered");
    return "ok";
  });
  const { get, server } = await listen(app);
  server.onClose("mine", () => void order.push("mine"));
  const answer = get("/");
  await arrived.opened;
  const closing = server.close();
  mayAnswer.open();
  expect(await (await answer).text()).toBe("ok");
  expect(await closing).toMatchObject({ clean: true, stuck: [] });
  expect(order).toEqual(["loaded", "answered", "mine", "closed"]);
});

test("a plugin that fails is a clear error, and nothing stays open", async () => {
  const app = Fastify();
  app.register(async () => {
    throw new Error("no such database");
  });
  const { logger, lines } = captureLogs();
  const error = await createPooledServer(app, { logger }).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(BaseServerError);
  expect(error).toMatchObject({
    code: "ERR_VG_SERVER_BASE",
    message: "The Fastify instance did not get ready: no such database",
    cause: expect.objectContaining({ message: "no such database" }) as Error,
  });
  expect(lines.map(({ message }) => message)).toContain("Closed");
});

test("an onClose hook that hangs is named, and the rest closes", async () => {
  const app = Fastify();
  app.addHook("onClose", () => new Promise(() => undefined));
  const { server } = await listen(app, { shutdownTimeoutMs: 100 });
  const { stuck } = await server.close();
  expect(stuck).toEqual([expect.stringMatching(/^base server: not finished after \d+ ms$/)]);
});

test("an onClose hook that fails is named", async () => {
  const app = Fastify();
  app.addHook("onClose", async () => {
    throw new Error("disk full");
  });
  const { server } = await listen(app);
  expect((await server.close()).stuck).toEqual(["base server: disk full"]);
});

test.each<[string, () => Promise<FastifyInstance>]>([
  [
    "scopes that load later",
    async () => {
      const app = Fastify();
      app.register(async (scope) => void scope.get("/items/:id", async () => "ok"), { prefix: "/api" });
      return app;
    },
  ],
  [
    "scopes that are loaded already",
    async () => {
      const app = Fastify();
      await app.register(async (scope) => void scope.get("/items/:id", async () => "ok"), { prefix: "/api" });
      return app;
    },
  ],
  [
    "an instance that is ready already",
    async () => {
      const app = Fastify();
      app.register(async (scope) => void scope.get("/items/:id", async () => "ok"), { prefix: "/api" });
      await app.ready();
      return app;
    },
  ],
])("routes of %s are known", async (_name, make) => {
  const { get } = await listen(await make());
  expect(await (await get("/api/items/7")).text()).toBe("ok");
  await expect.poll(async () => (await get("/metrics")).text()).toContain(routeCount("/api/items/:id", 200));
});

test("a request that an earlier hook refuses, and one that does not fit its schema, have their route", async () => {
  const app = Fastify();
  app.addHook("onRequest", async (request, reply) => {
    if (request.headers["x-key"] === undefined) await reply.code(401).send("who are you?");
  });
  app.get(
    "/items/:id",
    { schema: { params: { type: "object", properties: { id: { type: "integer" } } } } },
    async () => "ok",
  );
  const { get } = await listen(app);
  expect((await get("/items/7")).status).toBe(401);
  expect((await get("/items/x", { "x-key": "k" })).status).toBe(400);
  await expect.poll(async () => (await get("/metrics")).text()).toContain(routeCount("/items/:id", 400));
  expect(await (await get("/metrics")).text()).toContain(routeCount("/items/:id", 401));
});

test("what the handler has set as its route stays", async () => {
  const app = Fastify();
  app.addHook("onRequest", async () => {
    const context = currentRequest();
    if (context !== undefined) context.route = "/mine";
  });
  app.get("/", async () => "ok");
  const { get } = await listen(app);
  await get("/");
  await expect.poll(async () => (await get("/metrics")).text()).toContain(routeCount("/mine", 200));
});

test("an error that Fastify answers is in the server's log where Fastify has no logger", async () => {
  const app = Fastify();
  app.get("/", async () => {
    throw new Error("boom");
  });
  const { get, logs } = await listen(app);
  expect((await get("/", { "x-request-id": "r1" })).status).toBe(500);
  expect(logs.find({ message: "The request's handler failed" })).toMatchObject({
    request_id: "r1",
    error: { message: "boom" },
  });
});

test("with the logger that the server has too, the error is there once, and lines have the request's ids", async () => {
  const logs = captureLogs();
  const app = Fastify({ loggerInstance: logs.logger.pino });
  app.get("/", async (request) => {
    request.log.info("working");
    throw new Error("boom");
  });
  const { get } = await listen(app as unknown as FastifyInstance, { logger: logs.logger });
  expect((await get("/")).status).toBe(500);
  const failures = logs.lines.filter(({ level, message }) => level === "error" && message !== "http_request");
  expect(failures).toHaveLength(1);
  expect(JSON.stringify(failures)).toContain("boom");
});

test("a server that is made without loading loads when it listens, and fails then", async () => {
  const app = Fastify();
  app.register(async () => {
    throw new Error("no such database");
  });
  await using server = new PooledServer(app, { logLevel: "silent" });
  for (let attempt = 0; attempt < 2; attempt++) {
    await expect(server.listen(0)).rejects.toThrow("did not get ready: no such database");
  }
});

test("a server that is closed while it loads does not listen", async () => {
  const mayLoad = gate();
  const app = Fastify();
  app.register(() => mayLoad.opened);
  const server = new PooledServer(app, { logLevel: "silent", shutdownTimeoutMs: 100 });
  const listening = server.listen(0).catch((error: unknown) => error);
  const closing = server.close();
  mayLoad.open();
  expect(await listening).toBeInstanceOf(LifecycleError);
  await closing;
});
