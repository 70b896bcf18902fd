import { spawnSync } from "node:child_process";
import { request as httpRequest } from "node:http";
import { fileURLToPath } from "node:url";
import { currentRequest, type RequestContext } from "@vg/pooled-server";
import { expect, test } from "vitest";
import { gate, listen } from "./support/server.ts";

test("a request has one line with what came, what went and who asked, and without the secrets of its query", async () => {
  const { url, logs } = await listen(async (request, response) => {
    (currentRequest() as RequestContext).route = "/things/:id";
    for await (const _ of request) void _;
    response.statusCode = 201;
    response.end("made");
  });
  await fetch(`${url}/things/7?api_key=hunter2&page=2`, {
    method: "POST",
    body: "12345",
    headers: { "user-agent": "tester" },
  });
  await expect
    .poll(() => logs.find("http_request"))
    .toMatchObject({
      level: "info",
      method: "POST",
      path: "/things/7",
      route: "/things/:id",
      query: "api_key=[redacted]&page=2",
      status_code: 201,
      request_bytes: 5,
      response_bytes: 4,
      client_address: "127.0.0.1",
      user_agent: "tester",
      http_version: "1.1",
    });
  expect(logs.filter("http_request")).toHaveLength(1);
  expect(JSON.stringify(logs.lines)).not.toContain("hunter2");
});

test("a request during which the process ends has its line, too", () => {
  const program = `
    import { createPooledServer } from "@vg/pooled-server";
    const server = await createPooledServer(() => process.exit(3));
    const { url } = await server.listen(0);
    await fetch(url + "/fatal");`;
  const { status, stdout } = spawnSync(
    process.execPath,
    ["--conditions=@vg/source", "--input-type=module-typescript", "--eval", program],
    { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8", timeout: 20_000 },
  );
  expect(status).toBe(3);
  const lines = stdout.trimEnd().split("\n");
  expect(JSON.parse(lines.at(-1) as string)).toMatchObject({
    message: "http_request",
    path: "/fatal",
    status_code: 500,
    aborted: true,
  });
});

test("its own endpoints have no line, and with accessLog: false nothing has one", async () => {
  const { get, logs, server } = await listen((_request, response) => response.end(), { accessLog: false });
  await get("/");
  await get("/livez");
  await server.close();
  expect(logs.filter("http_request")).toHaveLength(0);
  const other = await listen((_request, response) => response.end());
  await other.get("/metrics");
  await other.get("/");
  await other.server.close();
  expect(other.logs.filter("http_request").map((line) => line["path"])).toEqual(["/"]);
});

test("the options of the access log are those of @vg/logging, but for what the server itself knows", async () => {
  const { get, logs, server } = await listen((_request, response) => response.end(), {
    trustedProxies: ["127.0.0.1"],
    accessLog: {
      skip: ({ path }) => path === "/quiet",
      fields: ({ statusCode }) => ({ seen: statusCode }),
      level: () => "debug",
      userAgent: false,
    },
  });
  logs.logger.level = "debug";
  await get("/quiet");
  await get("/loud", { "x-forwarded-for": "10.0.0.7" });
  await server.close();
  const lines = logs.filter("http_request");
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({ level: "debug", path: "/loud", seen: 200, client_address: "10.0.0.7" });
  expect(lines[0]).not.toHaveProperty("user_agent");
});

test.each([
  [{ accessLog: 5 }, "accessLog must be true, false or an object of options, got 5"],
  [{ accessLog: { trustedProxies: [] } }, "accessLog.trustedProxies is the server's own to set"],
  [{ accessLog: { echoRequestId: false } }, "accessLog.echoRequestId is the server's own to set"],
  [{ accessLog: { skipp: () => true } }, 'unknown option "skipp"'],
  [{ requestTimeoutMs: -1 }, "requestTimeoutMs must be"],
])("%j is refused", async (config, message) => {
  await expect(listen(() => undefined, config as never)).rejects.toThrow(message);
});

test("log and metrics say the same status: the context's where it has one, 499 for a client that left", async () => {
  const arrived = gate();
  const { url, get, logs } = await listen((request, response) => {
    const context = currentRequest() as RequestContext;
    if (request.url === "/slow") return arrived.open();
    context.status = 502;
    response.write("half of a stream that broke");
    response.end();
  });
  await (await get("/broke")).text();
  const client = httpRequest(`${url}/slow`)
    .on("error", () => undefined)
    .end();
  await arrived.opened;
  client.destroy();
  await expect
    .poll(() => logs.find({ path: "/slow" }))
    .toMatchObject({ status_code: 499, level: "warn", aborted: true });
  expect(logs.find({ path: "/broke" })).toMatchObject({ status_code: 502, level: "error" });
  const text = await (await get("/metrics")).text();
  for (const status of [499, 502]) {
    expect(text).toMatch(new RegExp(`http_server_request_duration_seconds_count{.*status_code="${status}".*} 1`));
  }
});
