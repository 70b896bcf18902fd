import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { createPooledServer, PooledServerConfigError, type BaseServer } from "@vg/pooled-server";
import express from "express";
import Fastify from "fastify";
import { Hono } from "hono";
import { expect, test } from "vitest";
import { adaptBase } from "../../src/adapters/adapt-base.ts";

class Handler {
  fetch(): Response {
    return new Response();
  }
}

const listener = (_request: IncomingMessage, response: ServerResponse): void => void response.end();

test.each<[string, BaseServer, string]>([
  ["a listener", listener, "node:http"],
  ["an async listener", async (_request, response) => void response.end(), "node:http"],
  ["a bound listener", listener.bind(null), "node:http"],
  ["an Express app", express(), "Express"],
  ["a Fastify instance", Fastify(), "Fastify"],
  ["a Hono app", new Hono(), "fetch"],
  ["an object with fetch", { fetch: () => new Response() }, "fetch"],
  ["an object of a class with fetch", new Handler(), "fetch"],
  ["a function that has fetch", Object.assign(() => undefined, { fetch: () => new Response() }), "fetch"],
])("%s is recognised", (_name, base, kind) => {
  expect(adaptBase(base).kind).toBe(kind);
});

test.each<[string, unknown, string]>([
  ["null", null, "got null"],
  ["nothing", undefined, "got undefined"],
  ["a text", "app", "got string"],
  ["an empty object", {}, "got object"],
  ["a promise", Promise.resolve(listener), "is a Promise; await it first"],
  ["a server", createServer(), "is a server of its own, with its own port; pass the listener that it was made with"],
  ["a class", Handler, "is the class Handler; pass an instance of it"],
  ["Hono itself", Hono, "is the class Hono; pass an instance of it"],
  ["express itself", express, "is express itself; call it: express()"],
  ["fastify itself", Fastify, "is fastify itself; call it: fastify()"],
  ["a router", express.Router(), "is an Express router, which answers nothing by itself; mount it"],
  [
    "middleware",
    (_a: unknown, _b: unknown, next: () => void) => next(),
    "takes 3 arguments, as middleware and plugins do",
  ],
  ["a module", { default: new Hono() }, "is a module; pass its default export"],
  ["a Koa app", { callback: () => listener, use: () => undefined }, "is a Koa application; pass app.callback()"],
  ["a Nest app", { getHttpAdapter: () => undefined }, "is a Nest application; await app.init()"],
  ["Fastify for HTTP/2", Fastify({ http2: true }), "is made for http2; the pooled server speaks HTTP/1.1"],
])("%s is refused, and what to pass instead is said", async (_name, base, message) => {
  const error = await createPooledServer(base as BaseServer).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(PooledServerConfigError);
  expect((error as Error).message).toContain(message);
});

test("a Fastify instance that listens already is refused", async () => {
  const app = Fastify();
  await app.listen({ port: 0, host: "127.0.0.1" });
  try {
    await expect(createPooledServer(app)).rejects.toThrow("this Fastify instance listens already. Pass it before");
  } finally {
    await app.close();
  }
});
