import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { connect, type AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { runInContext } from "@vg/logging";
import { accessLog, type AccessLogOptions, type FollowedRequest } from "@vg/logging/access-log";
import { captureLogs } from "@vg/logging/testing";
import { expect, onTestFinished, test } from "vitest";

const IDS = { trace_id: "4bf92f3577b34da6a3ce929d0e0e4736", span_id: "00f067aa0ba902b7", request_id: "r-1" };

/** A server that follows its requests itself. */
async function following(
  handle: (request: IncomingMessage, response: ServerResponse, followed: FollowedRequest | undefined) => void,
  options: AccessLogOptions = {},
) {
  const logs = captureLogs({ caller: "off" });
  const access = accessLog(logs.logger, options);
  const server = createServer((request, response) => {
    const context = { ...IDS };
    const followed = access.begin(request, response, context);
    runInContext(context, () => handle(request, response, followed));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => void server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { logs, access, url };
}

test("the line says what whoever follows the request says, once, with the request's context and what was counted", async () => {
  const { logs, access, url } = await following((request, response, followed) => {
    request.resume();
    response.once("close", () => {
      followed?.ended(299, true, "/things/:id");
      followed?.ended(500, false);
    });
    request.once("end", () => response.end("12345"));
  });
  expect(await (await fetch(`${url}/things/7`, { method: "POST", body: "123" })).text()).toBe("12345");
  await expect.poll(() => logs.lines.length).toBe(1);
  expect(logs.lines[0]).toMatchObject({
    message: "http_request",
    ...IDS,
    method: "POST",
    path: "/things/7",
    status_code: 299,
    route: "/things/:id",
    request_bytes: 3,
    response_bytes: 5,
  });
  expect(access.getStats()).toEqual({ requests_total: 1, skipped_total: 0, aborted_total: 0, in_flight: 0 });
});

test("it is written in the request's context wherever its end is told, and with its error", async () => {
  let told!: () => void;
  const { logs, url } = await following((_request, response, followed) => {
    response.end();
    told = () => {
      if (followed !== undefined) followed.error = new RangeError("boom");
      followed?.ended(503, false);
    };
  });
  await fetch(url);
  expect(logs.lines).toHaveLength(0);
  told();
  expect(logs.lines[0]).toMatchObject({ ...IDS, level: "error", aborted: true, error: { message: "boom" } });
});

test("a request that is skipped is not followed, and one that is followed has no second line from another access log", async () => {
  const inner = captureLogs();
  const { logs, access, url } = await following(
    (request, response, followed) => {
      response.once("close", () => followed?.ended(response.statusCode, true));
      const listener = accessLog(inner.logger).wrap((_request: IncomingMessage, answer: ServerResponse) =>
        answer.end(),
      );
      listener(request, response);
    },
    { skip: ({ path }) => path === "/quiet" },
  );
  await fetch(`${url}/quiet`);
  await fetch(`${url}/loud`);
  await expect.poll(() => logs.lines.length).toBe(1);
  expect(logs.lines[0]).toMatchObject({ path: "/loud" });
  expect(inner.lines.map((line) => line["path"])).toEqual(["/quiet"]);
  expect(access.getStats()).toMatchObject({ requests_total: 2, skipped_total: 1 });
});

test("a logger that is wrapped, and throws, costs its own line and nothing else", async () => {
  const { logger, lines } = captureLogs();
  const wrapped = new Proxy(logger, {
    get: (target, name, receiver): unknown =>
      name === "warn"
        ? () => {
            throw new Error("no more");
          }
        : Reflect.get(target, name, name === "info" ? target : receiver),
  });
  const access = accessLog(wrapped);
  const server = createServer((request, response) => {
    const followed = access.begin(request, response, { ...IDS });
    response.once("close", () => followed?.ended(request.url === "/warn" ? 404 : 200, true));
    response.end();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => void server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  await fetch(`${url}/warn`);
  await fetch(`${url}/info`);
  await expect.poll(() => lines.map((line) => line["path"])).toEqual(["/info"]);
  expect(lines[0]).toMatchObject(IDS);
  expect(access.getStats().in_flight).toBe(0);
});

test("an upgrade that is followed has the protocol, the time of its answer, and the line when its end is told", async () => {
  const logs = captureLogs({ caller: "off" });
  const access = accessLog(logs.logger, { skip: ({ path }) => path === "/skipped" });
  const server = createServer((_request, response) => response.end());
  const followed: (FollowedRequest | undefined)[] = [];
  server.on("upgrade", (request: IncomingMessage, socket: Duplex) => {
    followed.push(access.beginUpgrade(request, socket, { ...IDS }));
    socket.end("HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n");
    socket.resume();
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => void server.close());
  for (const path of ["/socket", "/skipped"]) {
    const client = connect((server.address() as AddressInfo).port, "127.0.0.1");
    client.write(`GET ${path} HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n`);
    client.resume().once("end", () => client.end());
    await once(client, "close");
  }
  // Its connection is closed, which is not the end that counts here.
  expect(logs.lines).toEqual([]);
  expect(access.getStats().in_flight).toBe(1);
  const [first, skipped] = followed;
  expect(skipped).toBeUndefined();
  first?.ended(101, true, "/sockets/:id");
  first?.ended(500, false);
  expect(logs.lines).toMatchObject([
    { ...IDS, path: "/socket", status_code: 101, route: "/sockets/:id", upgrade: "echo", ttfb_ms: expect.any(Number) },
  ]);
  expect(access.getStats()).toMatchObject({ requests_total: 2, skipped_total: 1, in_flight: 0 });
});
