import { accessLog } from "@vg/logging/access-log";
import { Hono } from "hono";
import { logger as honoLogger } from "hono/logger";
import { expect, test } from "vitest";
import { lineStream } from "./line-stream.ts";

function appOf() {
  const log = lineStream();
  const access = accessLog(log.logger, { echoRequestId: true });
  const app = new Hono();
  app.use(access.hono);
  app.get("/users/:id", (context) => context.text("grüße"));
  app.get(
    "/stream",
    () => new Response(new ReadableStream({ pull: (controller) => controller.enqueue(new Uint8Array(10)) })),
  );
  app.get("/breaks", () => {
    const body = new ReadableStream({
      pull() {
        throw new Error("the source broke");
      },
    });
    return new Response(body);
  });
  app.get("/throws", () => {
    throw new Error("boom");
  });
  app.onError((_error, context) => context.text("failed", 500));
  return { log, app };
}

test("where there is no socket, the bytes are those that the body gave", async () => {
  const { log, app } = appOf();
  const response = await app.request("/users/5?token=abc", { headers: { "x-request-id": "r1" } });
  expect(log.lines).toHaveLength(0);
  expect(await response.text()).toBe("grüße");
  expect(response.headers.get("x-request-id")).toBe("r1");
  await app.request("/users/5", { method: "HEAD" });
  expect((await app.request("/throws")).status).toBe(500);
  expect((await app.request("/nothing")).status).toBe(404);
  expect(log.lines).toMatchObject([
    { path: "/users/5", query: "token=[redacted]", route: "/users/:id", status_code: 200, response_bytes: 7 },
    { method: "HEAD", response_bytes: 0, status_code: 200 },
  ]);
});

test("a body that is cancelled is 499, one that breaks is 500", async () => {
  const { log, app } = appOf();
  const reader = (await app.request("/stream")).body?.getReader();
  await reader?.read();
  await reader?.cancel();
  await expect((await app.request("/breaks")).text()).rejects.toThrow("the source broke");
  await (await app.request("/throws")).text();
  await (await app.request("/nothing")).text();
  expect(log.lines).toMatchObject([
    { path: "/stream", status_code: 499, aborted: true, response_bytes: 10 },
    { path: "/breaks", status_code: 500, aborted: true, error: { message: "the source broke" } },
    { path: "/throws", status_code: 500, route: "/throws", error: { message: "boom" } },
    { path: "/nothing", status_code: 404 },
  ]);
  expect(log.lines[3]).not.toHaveProperty("route");
});

test("Hono's own logger prints through ours, and its secrets are hidden", async () => {
  const log = lineStream();
  const app = new Hono();
  app.use(honoLogger((text, ...rest) => log.logger.info([text, ...rest].join(" "))));
  app.get("/", (context) => context.text("x"));
  await app.request("/?api_key=s3cr3t");
  expect(log.lines).toHaveLength(2);
  expect(JSON.stringify(log.lines)).not.toContain("s3cr3t");
});
