import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { accessLog } from "@vg/logging/access-log";
import { captureLogs } from "@vg/logging/testing";
import express, { type ErrorRequestHandler } from "express";
import { expect, test } from "vitest";

const answerError: ErrorRequestHandler = (_error, _request, response, _next) =>
  void response.status(500).send("failed");

/** The routes of the lines of requests for these paths. */
async function routesOf(paths: readonly string[], build: (app: express.Express) => void): Promise<unknown[]> {
  const { logger, filter } = captureLogs();
  const access = accessLog(logger);
  const app = express();
  app.use(access.express);
  build(app);
  app.use(access.expressErrors);
  app.use(answerError);
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  try {
    const { port } = server.address() as AddressInfo;
    for (const path of paths) await (await fetch(`http://127.0.0.1:${port}${path}`)).text();
  } finally {
    server.close();
    await once(server, "close");
  }
  return filter((line) => line["message"] === "http_request").map((line) => line["route"]);
}

function router(): express.Router {
  const inner = express.Router();
  inner.get("/ok", (_request, response) => void response.send("ok"));
  inner.get("/throws", () => {
    throw new Error("thrown");
  });
  inner.get("/rejects", async () => {
    throw new Error("rejected");
  });
  inner.get("/passes", (_request, _response, next) => next());
  inner.get(/^\/odd/, () => {
    throw new Error("odd");
  });
  return inner;
}

test("the route of a request that throws in a mounted router has the router's template", async () => {
  const paths = ["/throws", "/api/1/throws", "/api/1/rejects", "/api/1/passes", "/api/1/ok", "/api/1/odd"];
  const routes = await routesOf(paths, (app) => {
    app.use("/api/:version", router());
    app.get("/throws", (_request, response) => void response.send("another"));
  });
  expect(routes).toEqual([
    "/throws",
    "/api/:version/throws",
    "/api/:version/rejects",
    "/api/:version/passes",
    "/api/:version/ok",
    undefined,
  ]);
});

test("of a router that is mounted twice, the route is where the request went, or absent where both fit", async () => {
  const paths = ["/first/ok", "/second/ok", "/second/throws", "/third/ok", "/both/ok"];
  const routes = await routesOf(paths, (app) => {
    const inner = router();
    for (const path of ["/first", ["/second", "/third"], "/both", "/bot:h"]) app.use(path, inner);
  });
  expect(routes).toEqual(["/first/ok", "/second/ok", "/second/throws", "/third/ok", undefined]);
});

test("an error in a mounted app has no route, and the app's routes have theirs all the same", async () => {
  const paths = ["/sub/throws", "/sub/ok", "/sub/throws"];
  const routes = await routesOf(paths, (app) => void app.use("/sub", express().use(router())));
  expect(routes).toEqual([undefined, "/sub/ok", undefined]);
});

test("an app that is mounted twice has no route of the other place", async () => {
  const routes = await routesOf(["/first/ok", "/second/ok"], (app) => {
    const sub = express().use(router());
    app.use("/first", sub);
    app.use("/second", sub);
  });
  expect(routes).toEqual([undefined, "/second/ok"]);
});

test("a router that a function calls has its routes where nothing is above them", async () => {
  const paths = ["/ok", "/throws", "/odd", "/in/ok", "/in/throws"];
  const routes = await routesOf(paths, (app) => {
    const inner = router();
    app.use((request, response, next) => inner(request, response, next));
    app.use("/in", (request, response, next) => inner(request, response, next));
  });
  expect(routes).toEqual(["/ok", "/throws", "/^\\/odd/", undefined, undefined]);
});
