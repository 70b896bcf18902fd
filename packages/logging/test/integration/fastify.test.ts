import { captureLogs, type CapturedLogs } from "@vg/logging/testing";
import Fastify, { type FastifyBaseLogger, type FastifyInstance } from "fastify";
import { describe, expect, test } from "vitest";

describe.each<[string, (logs: CapturedLogs) => FastifyBaseLogger]>([
  ["loggerInstance: logger", ({ logger }) => logger],
  ["loggerInstance: logger.pino", ({ logger }) => logger.pino],
])("Fastify 5 with %s", (_, choose) => {
  const start = (options: { disableRequestLogging?: boolean } = {}): { app: FastifyInstance; logs: CapturedLogs } => {
    const logs = captureLogs();
    const app = Fastify({ ...options, loggerInstance: choose(logs) }) as unknown as FastifyInstance;
    return { app, logs };
  };

  test("its own lines of a request have its id, and show the request by its serialisers", async () => {
    const { app, logs } = start();
    app.get("/", async () => "ok");
    const headers = { authorization: "Bearer s3cr3t", cookie: "sid=s3cr3t" };
    await app.inject({ url: "/?api_key=s3cr3t&page=2", headers });
    await app.close();
    expect(logs.find("incoming request")).toMatchObject({
      level: "info",
      reqId: "req-1",
      req: { method: "GET", url: "/?api_key=[redacted]&page=2", host: "localhost:80", remoteAddress: "127.0.0.1" },
    });
    expect(logs.find("request completed")).toMatchObject({
      reqId: "req-1",
      res: { statusCode: 200 },
      responseTime: expect.any(Number) as unknown,
    });
    expect(JSON.stringify(logs.lines)).not.toContain("s3cr3t");
  });

  test("request.log takes pino's order of arguments, and has children with serialisers", async () => {
    const { app, logs } = start({ disableRequestLogging: true });
    app.get("/", async (request) => {
      request.log.info({ order: "pino's" }, "fields first");
      request.log.info({ order: "pino's" }, "filled in: %s", "x");
      const child = request.log.child({ part: "db", user: { id: 1 } }, { serializers: { user: () => "someone" } });
      child.warn({ user: { id: 2 } }, "from a child");
      return "ok";
    });
    await app.inject("/");
    await app.close();
    expect(logs.lines.map(({ message, reqId, order }) => [message, reqId, order])).toEqual([
      ["fields first", "req-1", "pino's"],
      ["filled in: x", "req-1", "pino's"],
      ["from a child", "req-1", undefined],
    ]);
    expect(logs.find("from a child")).toMatchObject({ level: "warn", part: "db", user: "someone" });
  });

  test("an error that a handler throws is logged whole, and the level of a route counts for that route only", async () => {
    const { app, logs } = start();
    app.get("/fails", async () => {
      throw Object.assign(new Error("no such table"), { code: "42P01", cause: new Error("inner") });
    });
    app.get("/quiet", { logLevel: "error" }, async (request) => {
      request.log.info("not to be seen");
      request.log.error("to be seen");
      return "ok";
    });
    await app.inject("/fails");
    expect(logs.filter((line) => line.error !== undefined)).toMatchObject([
      { level: "error", message: "no such table", error: { code: "42P01", cause: { message: "inner" } } },
    ]);
    logs.clear();
    await app.inject("/quiet");
    expect(logs.lines.map((line) => line.message)).toEqual(["to be seen"]);
    await app.close();
  });

  test("its level can be read and set, and a level that is none is refused", async () => {
    const { app, logs } = start({ disableRequestLogging: true });
    app.log.level = "warn";
    app.log.info("not to be seen");
    app.log.warn("to be seen");
    expect(app.log.level).toBe("warn");
    expect(logs.lines.map((line) => line.message)).toEqual(["to be seen"]);
    expect(() => app.get("/", { logLevel: "loud" as "info" }, async () => "")).toThrow(
      /FST_ERR_ROUTE_LOG_LEVEL_INVALID|loud/,
    );
    await app.close();
  });
});

test("with the logger itself, request.log also takes the message first", async () => {
  const { logger, find } = captureLogs();
  const app = Fastify({ loggerInstance: logger, disableRequestLogging: true });
  app.get("/", async (request) => {
    request.log.info("message first", { order: "ours" });
    request.log.error("failed", new Error("boom"), { query_id: 7 });
    return "ok";
  });
  await app.inject("/");
  await app.close();
  expect(find("message first")).toMatchObject({ reqId: "req-1", order: "ours" });
  expect(find("failed")).toMatchObject({ reqId: "req-1", query_id: 7, error: { message: "boom" } });
});
