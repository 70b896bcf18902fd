import { createServer } from "node:http";
import { createServer as createHttp2 } from "node:http2";
import { captureLogs } from "@vg/logging/testing";
import { accessLog } from "@vg/logging/access-log";
import type { Logger } from "@vg/logging";
import express from "express";
import Fastify, { type FastifyBaseLogger } from "fastify";
import { Hono } from "hono";
import { pinoHttp } from "pino-http";
import { expect, test } from "vitest";

test("a logger is what Fastify asks for, and its pino instance what pino-http asks for", () => {
  const { logger } = captureLogs();
  const isFastifys: (logger: Logger) => FastifyBaseLogger = (own) => own;
  expect(isFastifys(logger)).toBe(logger);
  expect(Fastify({ loggerInstance: logger }).log).toBeDefined();
  expect(pinoHttp({ logger: logger.pino })).toBeTypeOf("function");
});

test("the access log fits each framework without a cast", () => {
  const access = accessLog(captureLogs().logger);
  const app = express();
  app.use(access.express);
  app.use(access.expressErrors);
  Fastify().register(access.fastify);
  new Hono().use(access.hono);
  new Hono<{ Bindings: { KEY: string } }>().use("*", access.hono);
  access.attach(createServer(access.wrap((_request, response) => response.end())));
  access.attach(createHttp2(access.wrap((_request, response) => void response.end())));
  expect(access.getStats().requests_total).toBe(0);
});
