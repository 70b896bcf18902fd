import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { captureLogs } from "@vg/logging/testing";
import express from "express";
import { pinoHttp } from "pino-http";
import { expect, test } from "vitest";

/** Asks once, with secrets wherever a request may have some, and waits until the server is through with it. */
async function askWithSecrets(listener: RequestListener): Promise<number> {
  const server = createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const headers = { authorization: "Bearer s3cr3t", cookie: "sid=s3cr3t", "x-api-key": "s3cr3t", connection: "close" };
  const response = await fetch(`http://127.0.0.1:${port}/users/1?api_key=s3cr3t&page=2`, { headers });
  await response.text();
  await new Promise((resolve) => server.close(resolve));
  return response.status;
}

test("pino-http writes our lines, without the secrets that it shows with pino", async () => {
  const { logger, lines, find } = captureLogs();
  const http = pinoHttp({ logger: logger.pino });
  await askWithSecrets((request, response) => {
    http(request, response);
    request.log.info("inside");
    response.setHeader("set-cookie", "sid=s3cr3t");
    response.end("x");
  });
  expect(find("request completed")).toMatchObject({
    level: "info",
    req: {
      method: "GET",
      url: "/users/1?api_key=[redacted]&page=2",
      headers: { authorization: "[redacted]", cookie: "[redacted]", "x-api-key": "[redacted]" },
    },
    res: { statusCode: 200, headers: { "set-cookie": "[redacted]" } },
    responseTime: expect.any(Number) as unknown,
  });
  expect(find("inside")).toMatchObject({ req: { headers: { authorization: "[redacted]" } } });
  expect(JSON.stringify(lines)).not.toContain("s3cr3t");
});

test("as nestjs-pino does: options of pino-http beside our instance, a child of its own for every request", async () => {
  const { logger, lines, find } = captureLogs();
  const http = pinoHttp({
    logger: logger.pino,
    genReqId: () => "id-1",
    quietReqLogger: true,
    customProps: () => ({ tenant: "acme" }),
    customLogLevel: (_request, response) => (response.statusCode >= 500 ? "error" : "debug"),
    serializers: { req: (request: { method: string }) => ({ method: request.method }) },
  });
  await askWithSecrets((request, response) => {
    http(request, response);
    request.log.child({ context: "UsersController" }).info("found");
    response.end("x");
  });
  expect(find("found")).toMatchObject({ reqId: "id-1", context: "UsersController" });
  expect(find("request completed")).toMatchObject({ level: "debug", tenant: "acme", req: { method: "GET" } });
  expect(JSON.stringify(lines)).not.toContain("s3cr3t");
});

test("Express's errors come out whole with pino-http and an error handler of one's own", async () => {
  const { logger, filter } = captureLogs();
  const app = express();
  app.use(pinoHttp({ logger: logger.pino }));
  app.get("/users/:id", () => {
    throw Object.assign(new Error("postgres://u:s3cr3t@db is down"), { code: "ECONNREFUSED" });
  });
  app.use((error: Error, _request: express.Request, response: express.Response, _next: express.NextFunction): void => {
    response.err = error;
    logger.error("Request failed", error);
    response.status(500).end();
  });
  expect(await askWithSecrets(app)).toBe(500);
  const shown = { type: "Error", code: "ECONNREFUSED", message: "postgres://u:[redacted]@db is down" };
  const failed = filter((line) => line.error !== undefined);
  expect(failed.map((line) => line.message).toSorted()).toEqual(["Request failed", "request errored"]);
  expect(failed.find((line) => line.message === "Request failed")).toMatchObject({ error: shown });
  expect(JSON.stringify(failed)).not.toContain("s3cr3t");
});
