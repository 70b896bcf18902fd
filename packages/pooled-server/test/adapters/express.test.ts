import express from "express";
import { expect, test } from "vitest";
import { listen } from "../support/server.ts";

function failing(error: unknown): express.Express {
  const app = express();
  app.set("env", "development");
  app.get("/fails", () => {
    throw error;
  });
  return app;
}

test.each([
  [Object.assign(new Error("boom hunter2"), { status: 403 }), 403, "Forbidden"],
  [Object.assign(new Error("boom hunter2"), { statusCode: 418 }), 418, "I&#39;m a Teapot"],
  [Object.assign(new Error("boom hunter2"), { status: 503 }), 503, "Service Unavailable"],
])(
  "an error that says its status is answered with it and without its text, in development too",
  async (error, status, text) => {
    const { get, logs } = await listen(failing(error));
    const response = await get("/fails");
    expect(response.status).toBe(status);
    const page = await response.text();
    expect(page).toContain(`<pre>${text}</pre>`);
    expect(page).not.toMatch(/boom|hunter2|\.ts/);
    expect(logs.find({ message: "The request's handler failed" }) !== undefined).toBe(status >= 500);
  },
);

test("an error's headers go out with it", async () => {
  const { get } = await listen(
    failing(Object.assign(new Error("slow down"), { status: 429, headers: { "retry-after": 7 } })),
  );
  expect((await get("/fails")).headers.get("retry-after")).toBe("7");
});

test.each([new Error("boom hunter2"), "a text", { status: 200 }, Object.assign(new Error("x"), { status: "403" })])(
  "an error that says no status is the server's own 500",
  async (error) => {
    const { get } = await listen(failing(error));
    const response = await get("/fails");
    expect(response.status).toBe(500);
    expect(await response.json()).toMatchObject({ error: { code: "internal_error" } });
  },
);

test("an error handler of the app's keeps its word", async () => {
  const app = failing(new Error("boom"));
  app.use((_error: unknown, _request: express.Request, response: express.Response, _next: express.NextFunction) => {
    response.status(502).json({ mine: true });
  });
  const { get } = await listen(app);
  const response = await get("/fails");
  expect([response.status, await response.json()]).toEqual([502, { mine: true }]);
});

test("a body that cannot be parsed or is too big is the client's error", async () => {
  const app = express();
  app.post("/", express.json({ limit: 100 }), (_request, response) => void response.send("parsed"));
  const { url, get } = await listen(app);
  const post = async (body: string) =>
    (await fetch(url, { method: "POST", headers: { "content-type": "application/json" }, body })).status;
  expect(await post("{broken")).toBe(400);
  expect(await post(JSON.stringify("x".repeat(1_000_000)))).toBe(413);
  expect(await post("{}")).toBe(200);
  expect((await get("/nothing")).status).toBe(404);
});

test("a path that nothing handles cannot write into the page", async () => {
  const { get } = await listen(express());
  const page = await (await get("/<script>alert(1)</script>")).text();
  expect(page).not.toContain("<script>");
  expect(page).toMatch(/Cannot GET/);
});

test.each(["router", "route", undefined])("next(%j) at the end of the chain is a 404", async (word) => {
  const app = express();
  app.get("/", (_request, _response, next) => next(word as "router"));
  const { get } = await listen(app);
  expect((await get("/")).status).toBe(404);
});

test("an app in an app and a router in a router have the whole template", async () => {
  const [outer, inner, router] = [express(), express(), express.Router({ mergeParams: true })];
  router.get("/c/:c", (_request, response) => void response.send("found"));
  inner.use("/b/:b", router);
  outer.use("/a", inner);
  const { get } = await listen(outer);
  expect((await get("/a/b/1/c/2")).status).toBe(200);
  await expect.poll(async () => (await get("/metrics")).text()).toContain('http_route="/a/b/:b/c/:c"');
});

test.each([{ "x-reason": "a\nb" }, { "no name": "x" }, { "x-reason": undefined }])(
  "an error with headers that can be none (%j) is the server's own 500, and ends no process",
  async (headers) => {
    const app = express();
    app.get("/", async () => {
      await Promise.resolve();
      throw Object.assign(new Error("x"), { status: 400, headers });
    });
    const { get, logs } = await listen(app);
    const response = await get("/");
    expect([response.status, response.headers.get("x-reason")]).toEqual([500, null]);
    expect(logs.filter({ message: "The request's handler failed" })).toHaveLength(1);
  },
);
