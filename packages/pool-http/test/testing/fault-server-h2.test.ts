import { once } from "node:events";
import { request as httpsRequest } from "node:https";
import type { IncomingMessage } from "node:http";
import { connect, type ClientHttp2Session, type ClientHttp2Stream, type IncomingHttpHeaders } from "node:http2";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import {
  body,
  byPath,
  close,
  closeAfterResponse,
  drippingBody,
  endBody,
  goAway,
  gzipBomb,
  head,
  hold,
  interimStorm,
  inTurn,
  oversizeBody,
  raw,
  redirect,
  reply,
  reset,
  resetAfterHeaders,
  resetAfterResponse,
  resetStream,
  retryAfter,
  stall,
  startFaultServer,
  waves,
  wrongEncoding,
  type FaultServer,
} from "../../src/testing.ts";

function session(server: FaultServer): ClientHttp2Session & AsyncDisposable {
  const client = connect(server.url, server.ca === "" ? {} : { ca: server.ca });
  client.on("error", () => {});
  return client as ClientHttp2Session & AsyncDisposable;
}

interface Answer {
  readonly status?: number | undefined;
  readonly headers?: IncomingHttpHeaders;
  readonly body?: string;
  readonly code: string | undefined;
}

async function ask(client: ClientHttp2Session, path = "/", content?: string): Promise<Answer> {
  let failure: NodeJS.ErrnoException | undefined;
  const stream: ClientHttp2Stream = client.request(
    { ":path": path, ":method": content === undefined ? "GET" : "POST" },
    { endStream: content === undefined },
  );
  stream.on("error", (error: NodeJS.ErrnoException) => (failure = error));
  if (content !== undefined) stream.end(content);
  let headers: IncomingHttpHeaders & { ":status"?: number | undefined } = {};
  stream.on("response", (fields) => (headers = fields));
  const chunks: Buffer[] = [];
  stream.on("data", (chunk: Buffer) => void chunks.push(chunk));
  await new Promise((resolve) => stream.once("close", resolve));
  const broken = failure !== undefined || stream.aborted;
  return {
    status: headers[":status"],
    headers,
    body: String(Buffer.concat(chunks)),
    code: broken ? (failure?.message ?? "aborted") : undefined,
  };
}

test.each(["h2", "h2c"] as const)(
  "%s: requests are recorded with their bodies, and answered side by side",
  async (protocol) => {
    await using server = await startFaultServer({
      protocol,
      requests: byPath({ "/held": [hold("go"), reply(200, { body: "held" })], "*": reply(201, { body: "ü" }) }),
    });
    const client = session(server);
    const held = ask(client, "/held");
    await server.reached("go");
    expect(await ask(client, "/other?x", "grüße")).toMatchObject({ status: 201, body: "ü", code: undefined });
    server.release("go");
    expect(await held).toMatchObject({ status: 200, body: "held" });
    client.close();
    await server.connectionsDownTo(0);
    expect(server.requests).toMatchObject([
      { number: 0, onConnection: 0, method: "GET", path: "/held", state: "complete" },
      { number: 1, onConnection: 1, method: "POST", path: "/other?x", state: "complete", bodyBytes: 7 },
    ]);
    expect(String(server.requests[1]?.body)).toBe("grüße");
    expect(server.connections).toMatchObject({ accepted: 1, peak: 1 });
  },
);

test("a client that asks for HTTP/1.1 gets it from the same server", async () => {
  await using server = await startFaultServer({ protocol: "h2" });
  const request = httpsRequest(server.url, { ca: server.ca, agent: false });
  request.end();
  const [response] = (await once(request, "response")) as [IncomingMessage];
  expect([response.httpVersion, await text(response)]).toEqual(["1.1", "ok"]);
});

test("the faults of responses are the same as in HTTP/1.1", async () => {
  await using server = await startFaultServer({
    protocol: "h2c",
    requests: byPath({
      "/drip": drippingBody("abc", { everyMs: 1 }),
      "/large": oversizeBody(300_000),
      "/bomb": gzipBomb(3_000_000),
      "/wrong": wrongEncoding(),
      "/storm": interimStorm(20),
      "/later": retryAfter(2),
      "/moved": redirect("/drip"),
      "/own": [head(200, { "transfer-encoding": "chunked", "x-a": ["1", "2"] }), body("a"), body("b"), endBody()],
    }),
  });
  const client = session(server);
  expect(await ask(client, "/drip")).toMatchObject({ status: 200, body: "abc" });
  expect((await ask(client, "/large")).body?.length).toBe(300_000);
  expect((await ask(client, "/bomb")).headers?.["content-encoding"]).toBe("gzip");
  expect(await ask(client, "/wrong")).toMatchObject({ body: "this is plain text" });
  expect(await ask(client, "/storm")).toMatchObject({ status: 200, body: "ok" });
  expect((await ask(client, "/later")).headers?.["retry-after"]).toBe("2");
  expect((await ask(client, "/moved")).headers?.location).toBe("/drip");
  expect(await ask(client, "/own")).toMatchObject({ body: "ab", headers: { "x-a": "1, 2" } });
  client.destroy();
});

test("REFUSED_STREAM and other codes reset one stream, and its connection goes on", async () => {
  await using server = await startFaultServer({
    protocol: "h2",
    requests: inTurn(
      resetStream(),
      [head(200), body("part"), resetStream("INTERNAL_ERROR")],
      resetStream(8),
      reply(200),
    ),
  });
  const client = session(server);
  expect((await ask(client)).code).toContain("NGHTTP2_REFUSED_STREAM");
  expect(await ask(client)).toMatchObject({ code: expect.stringContaining("NGHTTP2_INTERNAL_ERROR") });
  await ask(client);
  expect(await ask(client)).toMatchObject({ status: 200, code: undefined });
  expect(server.connections.accepted).toBe(1);
  client.destroy();
});

test("GOAWAY in the middle of a burst: earlier streams are answered, later ones are not processed", async () => {
  await using server = await startFaultServer({
    protocol: "h2c",
    requests: waves([2, [hold("answer"), reply(200)]], [1, [goAway(), reply(200)]], [100, reply(500)]),
  });
  const client = session(server);
  const burst = Array.from({ length: 6 }, (_, i) => ask(client, `/${i}`));
  await server.reached("answer", 2);
  await expect.poll(() => server.requestCount).toBeGreaterThanOrEqual(3);
  server.release("answer");
  const answers = await Promise.all(burst);
  expect(answers.slice(0, 3).map(({ status }) => status)).toEqual([200, 200, 200]);
  for (const { status } of answers.slice(3)) expect(status).toBeUndefined();
  for (const { unprocessed } of server.requests.slice(3)) expect(unprocessed).toBe(true);
});

test.each(["h2", "h2c"] as const)(
  "%s: GOAWAY may exclude the request that brings it, with a code",
  async (protocol) => {
    await using server = await startFaultServer({
      protocol,
      requests: goAway({ includingThis: true, code: "ENHANCE_YOUR_CALM" }),
    });
    const client = session(server);
    const told = once(client, "goaway");
    const answer = await ask(client);
    expect(answer.status).toBeUndefined();
    expect((await told).slice(0, 2)).toEqual([11, 0]);
  },
);

test("the whole connection may be reset, closed, or stall", async () => {
  await using server = await startFaultServer({
    protocol: "h2",
    requests: byPath({
      "/reset": reset(),
      "/part": resetAfterHeaders(),
      "/later": resetAfterResponse(1),
      "/close": closeAfterResponse(),
      "/stall": stall(),
    }),
  });
  expect((await ask(session(server), "/reset")).status).toBeUndefined();
  expect(await ask(session(server), "/part")).toMatchObject({ status: 200, body: "part", code: expect.any(String) });
  expect(await ask(session(server), "/later")).toMatchObject({ status: 200, body: "ok", code: undefined });
  expect(await ask(session(server), "/close")).toMatchObject({ status: 200, body: "ok", code: undefined });
  await server.connectionsDownTo(0);
  const client = session(server);
  const stalled = ask(client, "/stall");
  await server.requestsComplete(5);
  client.destroy();
  await stalled;
  await server.connectionsDownTo(0);
});

test("raw bytes are of HTTP/1.1, and the error says so", async () => {
  const server = await startFaultServer({ protocol: "h2c", requests: [raw("x"), close()] });
  await ask(session(server));
  await expect(server.close()).rejects.toThrow(
    "step 1 of 2, raw(1 bytes), failed: writing raw bytes is not possible in HTTP/2",
  );
});

test("an upload that is cut is recorded as far as it came", async () => {
  await using server = await startFaultServer({ protocol: "h2c", heads: () => [hold("head"), stall()] });
  const client = session(server);
  const upload = client.request({ ":method": "POST", ":path": "/" });
  upload.on("error", () => {});
  upload.write("a part");
  await server.reached("head");
  await expect.poll(() => server.requests[0]?.bodyBytes).toBe(6);
  client.destroy();
  await server.connectionsDownTo(0);
  expect(server.requests).toMatchObject([{ state: "body", method: "POST" }]);
});
