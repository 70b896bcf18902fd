import { EventEmitter, once } from "node:events";
import { createServer, type IncomingMessage, request as httpRequest, type Server } from "node:http";
import { connect as connectHttp2, constants, createServer as createHttp2, type Http2Server } from "node:http2";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { accessLog } from "@vg/logging/access-log";
import { expect, test } from "vitest";
import { runProgram, parseLines } from "../support/run.ts";
import { lineStream } from "./line-stream.ts";
import { ask, rawClient } from "./servers.ts";

async function listen(server: Server | Http2Server): Promise<{ port: number } & AsyncDisposable> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      if ("closeAllConnections" in server) server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

test("HTTP/2 by its compatibility API: pieces, HEAD, a request's body, a client that cancels, a server that breaks off", async () => {
  const log = lineStream();
  const access = accessLog(log.logger);
  const hanging = new EventEmitter();
  const server = createHttp2(
    access.wrap((request, response) => {
      if (request.url === "/hang") {
        response.write("first");
        hanging.emit("hang");
      } else if (request.url === "/destroy") {
        response.write("half");
        response.stream.destroy();
      } else if (request.url === "/echo") {
        request.on("data", () => undefined).on("end", () => response.end("got it"));
      } else {
        response.write("one");
        response.end("zwei");
      }
    }),
  );
  await using running = await listen(server);
  const client = connectHttp2(`http://127.0.0.1:${running.port}`);
  const done = async (headers: Record<string, string>, body?: string): Promise<void> => {
    const stream = client.request(headers, { endStream: body === undefined });
    stream.on("error", () => undefined);
    if (body !== undefined) stream.end(body);
    stream.resume();
    await once(stream, "close");
  };
  await done({ ":path": "/a?token=t1" });
  await done({ ":path": "/a", ":method": "HEAD" });
  await done({ ":path": "/echo", ":method": "POST" }, "12345");
  await done({ ":path": "/destroy" });
  const hung = once(hanging, "hang");
  const cancelled = client.request({ ":path": "/hang" });
  cancelled.on("error", () => undefined);
  await hung;
  cancelled.close(constants.NGHTTP2_CANCEL);
  const lines = await log.requests(5);
  client.close();
  expect(lines).toMatchObject([
    { path: "/a", query: "token=[redacted]", status_code: 200, response_bytes: 7, http_version: "2.0" },
    { method: "HEAD", status_code: 200, response_bytes: 0 },
    { method: "POST", request_bytes: 5, response_bytes: 6, client_address: "127.0.0.1" },
    { path: "/destroy", status_code: 500, aborted: true },
    { path: "/hang", status_code: 499, aborted: true, response_bytes: 5 },
  ]);
  expect(access.getStats().in_flight).toBe(0);
});

test("an upgraded connection has its line when it ends, with the status that the program wrote", async () => {
  const log = lineStream();
  const access = accessLog(log.logger);
  const server = createServer((_request, response) => response.end());
  access.attach(server);
  server.on("upgrade", (request: IncomingMessage, socket: Duplex) => {
    socket.on("error", () => undefined).on("end", () => socket.end());
    socket.resume();
    if (request.url === "/no") socket.end("HTTP/1.1 403 Forbidden\r\n\r\n");
    else socket.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n");
  });
  server.on("connect", (_request: IncomingMessage, socket: Duplex) => socket.end("HTTP/1.1 502 Bad Gateway\r\n\r\n"));
  await using running = await listen(server);
  const upgrade = (path: string) => `GET ${path} HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n`;
  const first = await rawClient(running, upgrade("/yes"));
  await once(first, "data");
  expect(log.lines).toHaveLength(0);
  first.end();
  await log.requests(1);
  (await rawClient(running, upgrade("/no"))).resume();
  await log.requests(2);
  (await rawClient(running, "CONNECT db:5432 HTTP/1.1\r\nhost: db:5432\r\n\r\n")).resume();
  const lines = await log.requests(3);
  expect(lines).toMatchObject([
    { method: "GET", path: "/yes", status_code: 101, upgrade: "echo", level: "info" },
    { path: "/no", status_code: 403, level: "warn" },
    { method: "CONNECT", path: "db:5432", status_code: 502 },
  ]);
});

test("an access log does not make a server take upgrades that it did not take", async () => {
  const log = lineStream();
  const server = createServer((_request, response) => response.end("plain"));
  const detach = accessLog(log.logger).attach(server);
  await using running = await listen(server);
  const headers = { connection: "upgrade", upgrade: "websocket" };
  expect((await ask(running, "/", { headers })).body).toBe("plain");
  await log.requests(1);
  const own = (): void => undefined;
  server.on("upgrade", own);
  expect(server.listenerCount("upgrade")).toBe(2);
  server.removeListener("upgrade", own);
  expect(server.listenerCount("upgrade")).toBe(0);
  detach();
  expect(server.eventNames().includes("newListener")).toBe(false);
  await ask(running, "/again");
  expect(log.lines).toHaveLength(1);
});

test("a listener for checkContinue that hands on to the request's listener makes one line", async () => {
  const log = lineStream();
  const server = createServer((request, response) => {
    request.resume().on("end", () => response.end("ok"));
  });
  accessLog(log.logger).attach(server);
  server.on("checkContinue", (request, response) => {
    response.writeContinue();
    server.emit("request", request, response);
  });
  await using running = await listen(server);
  const request = httpRequest({
    port: running.port,
    host: "127.0.0.1",
    method: "PUT",
    headers: { expect: "100-continue" },
  });
  request.on("continue", () => request.end("body"));
  request.flushHeaders();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  response.resume();
  await once(response, "end");
  await log.requests(1);
  await ask(running, "/last");
  expect((await log.requests(2)).map((line) => line["request_bytes"])).toEqual([4, 0]);
});

test("what a listener throws or rejects with reaches the caller, and is in the line", async () => {
  const log = lineStream();
  const access = accessLog(log.logger);
  const throwing = access.wrap((): void => {
    throw new Error("at once");
  });
  const rejecting = access.wrap(async () => {
    throw new Error("later");
  });
  const caught: unknown[] = [];
  const server = createServer((request, response) => {
    void (async () => {
      try {
        await (request.url === "/now" ? throwing : rejecting)(request, response);
      } catch (error) {
        caught.push((error as Error).message);
        response.writeHead(500).end();
      }
    })();
  });
  await using running = await listen(server);
  await ask(running, "/now");
  await ask(running, "/later");
  expect(caught).toEqual(["at once", "later"]);
  expect(await log.requests(2)).toMatchObject([
    { status_code: 500, error: { message: "at once" } },
    { status_code: 500, error: { message: "later" } },
  ]);
});

test("a process that dies of a handler logs the requests that were under way, once each", async () => {
  const { code, stdout } = await runProgram(`
    import { createServer, get } from "node:http";
    import { createLogger } from "@vg/logging";
    import { accessLog } from "@vg/logging/access-log";
    const access = accessLog(createLogger());
    let waiting = 0;
    const server = createServer(access.wrap((request, response) => {
      if (request.url === "/throw") throw new Error("nobody catches this");
      if (++waiting === 2) get({ port, path: "/throw" }).on("error", () => {});
    }));
    let port;
    server.listen(0, "127.0.0.1", () => {
      port = server.address().port;
      for (const path of ["/a", "/b"]) get({ port, path }).on("error", () => {});
    });
  `);
  expect(code).toBe(1);
  const lines = parseLines(stdout);
  expect(lines.map((line) => String(line["path"])).toSorted()).toEqual(["/a", "/b", "/throw"]);
  expect(lines.find((line) => line["path"] === "/throw")).toMatchObject({
    status_code: 500,
    aborted: true,
    error: { message: "nobody catches this" },
  });
});

test("two access logs on one request make one line, by the outer one", async () => {
  const outer = lineStream();
  const inner = lineStream();
  const listener = accessLog(inner.logger).wrap((_request, response) => void response.end("x"));
  await using running = await listen(createServer(accessLog(outer.logger).wrap(listener)));
  await ask(running, "/");
  await outer.requests(1);
  expect([outer.lines.length, inner.lines.length]).toEqual([1, 0]);
});
