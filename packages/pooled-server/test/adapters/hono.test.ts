import { Hono } from "hono";
import { bearerAuth } from "hono/bearer-auth";
import { HTTPException } from "hono/http-exception";
import { expect, test } from "vitest";
import { listen } from "../support/server.ts";

test("where Hono's onError hands errors on, what its middleware refuses keeps its status", async () => {
  const app = new Hono();
  app.onError((error) => {
    throw error;
  });
  app.use("/guarded", bearerAuth({ token: "t" }));
  app.get("/guarded", (c) => c.text("in"));
  app.get("/teapot", () => {
    throw new HTTPException(418, { message: "short and stout" });
  });
  app.get("/down", () => {
    throw new HTTPException(503, { message: "no backend" });
  });
  app.get("/broken", () => {
    throw new Error("secret");
  });
  const { get, logs } = await listen(app);
  const guarded = await get("/guarded");
  expect([guarded.status, guarded.headers.get("www-authenticate")]).toEqual([401, 'Bearer realm=""']);
  const teapot = await get("/teapot");
  expect([teapot.status, await teapot.text()]).toEqual([418, "short and stout"]);
  expect(logs.find("The request's handler failed")).toBeUndefined();
  expect((await get("/down")).status).toBe(503);
  expect(logs.find("The request's handler failed")).toMatchObject({ path: "/down" });
  const broken = await get("/broken");
  expect([broken.status, await broken.text()]).toEqual([500, expect.not.stringContaining("secret")]);
});

test("an error that has no answer after all is the server's 500", async () => {
  const errors = [
    { getResponse: () => "no Response" },
    {
      getResponse() {
        throw new Error("this neither");
      },
    },
    undefined,
  ];
  const { get } = await listen({ fetch: () => Promise.reject(errors.pop()) });
  expect([(await get("/")).status, (await get("/")).status, (await get("/")).status]).toEqual([500, 500, 500]);
});

test("an app's fetch that is passed without the app is a 500 that says what to pass, and no client waits for ever", async () => {
  const app = new Hono();
  app.get("/", (c) => c.text("hi"));
  const { get, logs } = await listen(app.fetch as never);
  expect((await get("/")).status).toBe(500);
  expect(logs.find("The request's handler failed")).toMatchObject({
    error: { code: "ERR_VG_SERVER_BASE", message: expect.stringContaining("{ fetch: handler }") },
  });
});
