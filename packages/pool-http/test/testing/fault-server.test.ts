/** The fault server as a tool of its own, under Node's own client. */
import { once } from "node:events";
import { Agent, request as httpRequest, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { buffer, text } from "node:stream/consumers";
import { gunzipSync } from "node:zlib";
import { afterEach, expect, test } from "vitest";
import {
  body,
  byPath,
  close,
  closedPort,
  drip,
  drippingBody,
  endBody,
  FaultScriptError,
  goAway,
  gzipBomb,
  head,
  hold,
  interimStorm,
  inTurn,
  onEachConnection,
  oversizeBody,
  redirectLoop,
  reply,
  reset,
  resetAfterResponse,
  resetStream,
  retryAfter,
  stall,
  startFaultServer,
  step,
  stopReading,
  truncatedBody,
  truncatedChunks,
  waves,
  type FaultServer,
  type FaultServerOptions,
  type Script,
} from "../../src/testing.ts";
import { heldNow, heldSince } from "../support/resources.ts";
import { settled } from "../support/fault-server.ts";

const agent = new Agent({ keepAlive: true, maxSockets: 1 });
afterEach(() => agent.destroy());

interface Options {
  readonly method?: string;
  readonly body?: string;
  readonly headers?: Record<string, string>;
}

async function ask(server: FaultServer, path = "/", options: Options = {}): Promise<IncomingMessage> {
  const { body: content, ...rest } = options;
  const request = httpRequest(server.url + path, { agent, ...rest });
  request.end(content);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  // What comes after it is the response's to tell.
  request.on("error", () => {});
  response.on("error", () => {});
  return response;
}

async function statusOf(server: FaultServer, path: string): Promise<number | undefined> {
  const response = await ask(server, path);
  await text(response);
  return response.statusCode;
}

const statuses = async (server: FaultServer, count: number): Promise<(number | undefined)[]> => {
  const seen: (number | undefined)[] = [];
  for (let i = 0; i < count; i++) {
    const response = await ask(server);
    await text(response);
    seen.push(response.statusCode);
  }
  return seen;
};

const errorOf = (promise: Promise<unknown>): Promise<unknown> =>
  promise.then(
    () => "none",
    (error: unknown) => error,
  );

test("without a script it answers 200, and records what came", async () => {
  await using server = await startFaultServer();
  const response = await ask(server, "/items?x=1", { method: "POST", body: "grüße", headers: { "X-Mine": "yes" } });
  expect([response.statusCode, await text(response)]).toEqual([200, "ok"]);
  await text(await ask(server));
  expect(server.requests).toMatchObject([
    { number: 0, connection: 0, onConnection: 0, method: "POST", path: "/items?x=1", state: "complete" },
    { number: 1, connection: 0, onConnection: 1, method: "GET", path: "/" },
  ]);
  expect(String(server.requests[0]?.body)).toBe("grüße");
  expect(server.requests[0]).toMatchObject({ bodyBytes: 7, headers: { "x-mine": "yes" } });
  expect(server.requests[0]?.head).toContain("X-Mine: yes");
  expect(server.connections).toMatchObject({ accepted: 1, open: 1, peak: 1 });
});

test("requests get scripts in turn, in waves, by position on their connection, and by path", async () => {
  await using turn = await startFaultServer({ requests: inTurn(reply(500), reply(502), reply(200)) });
  expect(await statuses(turn, 4)).toEqual([500, 502, 200, 200]);
  await using wave = await startFaultServer({ requests: waves([1, reply(200)], [2, reply(429)]) });
  expect(await statuses(wave, 5)).toEqual([200, 429, 429, 200, 429]);
  await using position = await startFaultServer({
    requests: onEachConnection(reply(200), [reply(201, { headers: { connection: "close" } }), close()]),
  });
  expect(await statuses(position, 4)).toEqual([200, 201, 200, 201]);
  await using path = await startFaultServer({ requests: byPath({ "/a": reply(202), "*": reply(404) }) });
  expect([await statusOf(path, "/a?q"), await statusOf(path, "/b")]).toEqual([202, 404]);
});

test("a gate holds a script until the test releases it, and tells when it is reached", async () => {
  await using server = await startFaultServer({
    requests: [head(200, { "content-length": 4 }), hold("rest"), body("rest")],
  });
  const response = await ask(server);
  await server.reached("rest");
  server.release("rest");
  expect(await text(response)).toBe("rest");
  expect(await text(await ask(server))).toBe("rest");
  await server.reached("rest", 2);
  server.shut("rest");
  const held = await ask(server);
  await server.reached("rest", 3);
  agent.destroy();
  await errorOf(text(held));
  await server.connectionsDownTo(0);
});

test("times are those of the sleep that it was given", async () => {
  const slept: number[] = [];
  const sleep = async (ms: number): Promise<void> => void slept.push(ms);
  await using server = await startFaultServer({
    sleep,
    requests: [head(200, { "content-length": 5 }), drip("abcde", { bytes: 2, everyMs: 3_600_000 })],
  });
  expect(await text(await ask(server))).toBe("abcde");
  expect(slept).toEqual([3_600_000, 3_600_000]);
});

test.each<[string, FaultServerOptions["requests"], string]>([
  ["a reset", reset(), "ECONNRESET"],
  ["a truncated body", truncatedBody(), "ECONNRESET"],
  ["truncated chunks", truncatedChunks(), "ECONNRESET"],
  ["a chunk that is cut", truncatedChunks("x", { within: true }), "ECONNRESET"],
])("%s is what the client gets", async (_name, requests, code) => {
  await using server = await startFaultServer({ requests });
  const error = await errorOf(ask(server).then((response) => text(response)));
  expect(error).toMatchObject({ code });
  await server.connectionsDownTo(0);
});

test("a reset some time after each response leaves the connection in use until then", async () => {
  const server = await startFaultServer({
    sleep: () => server.reached("second").then(() => new Promise(setImmediate)),
    requests: inTurn(resetAfterResponse(5), [hold("second"), reply(200)]),
  });
  server.release("second");
  expect(await text(await ask(server))).toBe("ok");
  expect(await text(await ask(server))).toBe("ok");
  await server.connectionsDownTo(0);
  expect(server.connections.accepted).toBe(1);
  await server.close();
});

test.each<[string, Record<string, string>]>([
  ["chunked", { "Transfer-Encoding": "chunked" }],
  ["of a length", { "Content-Length": "2" }],
  ["neither", {}],
])("a body (%s) ends with endBody(), and never by a time limit", async (_name, headers) => {
  await using server = await startFaultServer({ requests: [head(200, headers), body("a"), body("b"), endBody()] });
  for (const _ of [1, 2]) expect(await text(await ask(server))).toBe("ab");
  expect(server.connections.accepted).toBe(Object.keys(headers).length === 0 ? 2 : 1);
});

test("endBody() keeps the connection where no body can follow", async () => {
  const answer = (status: number): Script => [head(status), endBody()];
  await using server = await startFaultServer({ requests: inTurn(answer(204), answer(304), answer(200), reply(200)) });
  const socket = connect(server.port, "127.0.0.1");
  for (const method of ["GET", "GET", "HEAD", "GET"]) {
    socket.write(`${method} / HTTP/1.1\r\nhost: a.test\r\n\r\n`);
    await once(socket, "data");
  }
  expect(server.requests.map(({ method }) => method)).toEqual(["GET", "GET", "HEAD", "GET"]);
  socket.destroy();
});

test("a script for the head runs while the body is still being sent", async () => {
  await using server = await startFaultServer({
    heads: ({ method }) => (method === "POST" ? reply(413, { headers: { connection: "close" } }) : undefined),
  });
  const upload = httpRequest(server.url, { method: "POST", headers: { "content-length": 1000 } });
  upload.on("error", () => {});
  upload.write("a part");
  const [response] = (await once(upload, "response")) as [IncomingMessage];
  expect(response.statusCode).toBe(413);
  upload.destroy();
  await server.connectionsDownTo(0);
  expect(server.requests).toMatchObject([{ state: "body", bodyBytes: 6 }]);
  expect((await ask(server)).statusCode).toBe(200);
});

test("a client that is not read any more cannot go on sending", async () => {
  await using server = await startFaultServer({ heads: () => [stopReading(), stall()] });
  const socket = connect(server.port, "127.0.0.1");
  const chunk = Buffer.alloc(1024 * 1024);
  socket.write(`POST / HTTP/1.1\r\nhost: x\r\ncontent-length: ${100 * chunk.length}\r\n\r\n`);
  await server.reached("never", 0);
  for (let i = 0; i < 100; i++) socket.write(chunk);
  await settled(() => socket.writableLength);
  expect(server.requests[0]?.bodyBytes ?? 0).toBeLessThan(20 * chunk.length);
  socket.destroy();
});

test("a script for connections comes before anything is read", async () => {
  await using server = await startFaultServer({
    connections: (number) => (number === 0 ? [hold("go")] : [reset()]),
  });
  const first = ask(server);
  await server.reached("go");
  expect(server.requestCount).toBe(0);
  server.release("go");
  expect((await first).statusCode).toBe(200);
  agent.destroy();
  expect(await errorOf(ask(server))).toMatchObject({ code: "ECONNRESET" });
  await server.connectionsDownTo(0);
});

test("a port can refuse, and accept again", async () => {
  await using server = await startFaultServer();
  const { port } = server;
  await server.refuseConnections();
  expect(await errorOf(ask(server))).toMatchObject({ code: "ECONNREFUSED" });
  await server.acceptConnections();
  expect((await ask(server)).statusCode).toBe(200);
  expect(server.port).toBe(port);
  const nobody = connect(await closedPort(), "127.0.0.1");
  expect(await once(nobody, "error")).toMatchObject([{ code: "ECONNREFUSED" }]);
});

test("a gzip bomb is correct gzip, and costs nothing once its reader has left", async () => {
  await using server = await startFaultServer({ requests: byPath({ "/small": gzipBomb(3_500_000), "/": gzipBomb() }) });
  const whole = await buffer(await ask(server, "/small"));
  expect(whole.length).toBeLessThan(10_000);
  expect(gunzipSync(whole).equals(Buffer.alloc(3_500_000))).toBe(true);
  const response = await ask(server);
  response.destroy();
  await server.connectionsDownTo(0);
});

test("an oversize body is never in memory as a whole", async () => {
  const size = 2 ** 40;
  await using server = await startFaultServer({ requests: oversizeBody(size) });
  const response = await ask(server);
  expect(response.headers["content-length"]).toBe(String(size));
  const before = process.memoryUsage().arrayBuffers;
  await settled(() => response.readableLength);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(50_000_000);
  response.destroy();
  await server.connectionsDownTo(0);
});

test("interim responses come before the answer", async () => {
  await using server = await startFaultServer({ requests: interimStorm(50) });
  let hints = 0;
  const request = httpRequest(server.url, { agent });
  request.on("information", () => void hints++);
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  expect([hints, response.statusCode]).toEqual([50, 200]);
});

test.each([
  [-1, "-1"],
  [1.5, "1.5"],
  ["soon", "soon"],
  [new Date(0), "Thu, 01 Jan 1970 00:00:00 GMT"],
])("Retry-After may be %s", async (value, header) => {
  await using server = await startFaultServer({ requests: retryAfter(value) });
  const response = await ask(server);
  expect([response.statusCode, response.headers["retry-after"]]).toEqual([503, header]);
});

test("a redirect loop goes round", async () => {
  await using server = await startFaultServer({ requests: redirectLoop(["/a", "/b"]) });
  const location = async (path: string): Promise<string | undefined> => {
    const response = await ask(server, path);
    await text(response);
    return response.headers.location;
  };
  expect([await location("/a"), await location("/b"), await location("/?x")]).toEqual(["/b", "/a", "/a"]);
});

test.each<[string, FaultServerOptions, string, string | undefined]>([
  [
    "a step of HTTP/2",
    { requests: [head(200, { "content-length": 5 }), goAway()] },
    "request 0 (GET /a, connection 0): step 2 of 2, goAway(NO_ERROR), failed: GOAWAY is of HTTP/2, and this is http/1.1",
    "goAway(NO_ERROR)",
  ],
  ["a stream", { requests: resetStream() }, "step 1 of 1, resetStream(REFUSED_STREAM), failed: streams are", undefined],
  [
    "a response before the request",
    { connections: head(200) },
    "FaultServer: connection 0: step 1 of 1, head(200), failed: a response is not possible in a script for connections",
    undefined,
  ],
  [
    "a function of the test",
    {
      requests: step("mine", () => {
        throw new Error("boom");
      }),
    },
    "mine, failed: boom",
    "mine",
  ],
  [
    "a path that nobody thought of",
    { requests: byPath({ "/b": reply(200) }) },
    'byPath has /b, and neither /a nor "*"',
    undefined,
  ],
  [
    "a script that throws for a head",
    {
      heads: () => {
        throw new Error("bang");
      },
    },
    "the function that gives its script failed: bang",
    undefined,
  ],
])("%s that cannot be done is reported by close, and resets its connection", async (_name, options, message, name) => {
  const server = await startFaultServer(options);
  expect(await errorOf(ask(server, "/a?secret").then((response) => text(response)))).toMatchObject({
    code: "ECONNRESET",
  });
  const error = (await errorOf(server.close())) as FaultScriptError;
  expect(error).toBeInstanceOf(FaultScriptError);
  expect(error.message).toContain(message);
  if (name !== undefined) expect(error.step).toBe(name);
  expect(server.failures).toEqual([error]);
});

test("a client that leaves in the middle of a script is no failure of it", async () => {
  const server = await startFaultServer({ requests: [head(200), hold("go"), body("late"), stall()] });
  const response = await ask(server);
  response.destroy();
  await server.connectionsDownTo(0);
  server.release("go");
  await server.close();
  expect(server.failures).toEqual([]);
});

test("what is no request is a complaint, and its connection is reset", async () => {
  await using server = await startFaultServer();
  const socket = connect(server.port, "127.0.0.1");
  socket.write("nonsense\r\n\r\n");
  await once(socket, "error");
  expect(server.complaints).toEqual(['connection 0: the client sent the request line "nonsense"']);
});

test.each<[object, string]>([
  [{ request: reply(200) }, "request"],
  [{ protocol: "http2" }, "protocol"],
  [{ certificate: "bad" }, "certificate"],
  [{ maxRequests: 0 }, "maxRequests"],
  [{ sleep: 5 }, "sleep"],
])("the options %o are refused", async (options, name) => {
  const error = (await errorOf(startFaultServer(options as never))) as Error;
  expect(error).toBeInstanceOf(TypeError);
  expect(error.message).toContain(name);
});

test("steps refuse what they cannot do as they are made", () => {
  expect(() => reply(103)).toThrow("Use head or interim");
  expect(() => drip("x", { bytes: 0 })).toThrow("drip: bytes must be a number from 1, got 0");
  expect(() => waves([0, reply(200)])).toThrow("waves: counts");
});

test("close ends everything that is open, and may be called again", async () => {
  const before = heldNow();
  const server = await startFaultServer({ requests: drippingBody("x".repeat(1000), { everyMs: 1000 }) });
  const response = await ask(server);
  const rest = errorOf(text(response));
  await Promise.all([server.close(), server.close()]);
  expect(await rest).toMatchObject({ code: "ECONNRESET" });
  agent.destroy();
  await new Promise(setImmediate);
  expect(heldSince(before)).toEqual([]);
  await expect(server.acceptConnections()).rejects.toThrow("it is closed");
});
