/** Many requests on one connection: how they share it, and what becomes of each when it ends. */
import { execFile } from "node:child_process";
import { constants } from "node:http2";
import { createServer } from "node:net";
import { Readable } from "node:stream";
import { promisify } from "node:util";
import { gzipSync } from "node:zlib";
import { expect, test, vi } from "vitest";
import { HttpPool, type HttpPoolOptions, type HttpTlsError } from "../src/index.ts";
import { makeCertificates } from "./support/certificates.ts";
import {
  closedPort,
  deferred,
  faultServer,
  httpServer,
  listening,
  okServer,
  poolClosedTo,
  rejection,
  reply,
  turns,
} from "./support/fault-server.ts";
import {
  DATA,
  END_HEADERS,
  END_STREAM,
  frame,
  GOAWAY,
  HEADERS,
  numbers,
  rawHttp2Server,
  RST_STREAM,
  STATUS_103,
  STATUS_200,
} from "./support/http2-frames.ts";
import { answer, http2HoldServer, http2OkServer, http2Server } from "./support/http2-server.ts";
import { expectRoomBeside } from "./support/load.ts";
import { withFakeTime } from "./support/fake-time.ts";

const certificates = await makeCertificates();

const secure = (options: object = {}) => ({ ...certificates.server, ...options });
const h2 = (options: HttpPoolOptions = {}) =>
  new HttpPool({ http2: "auto", tls: { ca: certificates.ca }, retryBaseMs: 1, retryCapMs: 1, ...options });
const many = <T>(count: number, make: (index: number) => Promise<T>) =>
  Promise.all(Array.from({ length: count }, (_, index) => make(index)));

test("a burst to an origin that nobody knows yet shares one dial and one connection", async () => {
  await using server = await http2OkServer(secure());
  await using pool = h2();
  const responses = await many(80, () => pool.get(server.url));
  expect(responses.every(({ status }) => status === 200)).toBe(true);
  expect(server.accepted()).toBe(1);
  expect(server.peakStreams()).toBeGreaterThan(40);
  await turns(2);
  expect(pool.getStats()).toMatchObject({ connect_count: 1, idle_connections: 1, open_connections: 1 });
  pool.closeIdleConnections();
  await many(80, () => pool.get(server.url));
  expect(server.accepted()).toBe(2);
});

test("a connection carries no more requests than the server allows, and maxConnsPerHost bounds the connections", async () => {
  await using server = await http2OkServer(secure({ settings: { maxConcurrentStreams: 3 } }));
  await using pool = h2({ maxConnsPerHost: 2 });
  await many(40, () => pool.get(server.url));
  expect(server.peakStreams()).toBe(3);
  expect(server.accepted()).toBe(2);
  expect(pool.getStats()).toMatchObject({ success_count: 40, retry_count: 0, connect_count: 2 });
});

test("maxStreamsPerConn holds where the server allows more", async () => {
  await using server = await http2OkServer(secure());
  await using pool = h2({ maxStreamsPerConn: 2, maxConnsPerHost: 1 });
  await many(20, () => pool.get(server.url));
  expect([server.peakStreams(), server.accepted()]).toEqual([2, 1]);
});

test("what the server allows may change on the way, down to nothing", async () => {
  const hold = deferred();
  await using server = await http2HoldServer(hold.promise, secure({ settings: { maxConcurrentStreams: 1 } }));
  await using pool = h2({ maxConnsPerHost: 1 });
  const held = pool.get(`${server.url}/hold`);
  const waiting = many(4, () => pool.get(server.url));
  while (server.taken.length < 1) await turns(1);
  server.sessions[0]?.settings({ maxConcurrentStreams: 5 });
  await waiting;
  expect(server.accepted()).toBe(1);
  server.sessions[0]?.settings({ maxConcurrentStreams: 0 });
  hold.resolve();
  await held;
  await server.socketsDownTo(0);
  expect((await pool.get(server.url)).status).toBe(200);
  expect(server.accepted()).toBe(2);
});

test("auto speaks HTTP/1.1 to a server that knows no other, over as many connections as it takes", async () => {
  await using server = await okServer(secure());
  await using pool = h2({ maxConnsPerHost: 5 });
  await many(40, () => pool.get(server.url));
  expect(server.peak()).toBe(5);
  await using plain = await faultServer((socket) => socket.write(reply(200)));
  expect((await pool.get(plain.url)).status).toBe(200);
});

test("on speaks HTTP/2 without TLS by prior knowledge, and refuses what speaks no HTTP/2", async () => {
  await using server = await http2Server((stream, headers) => answer(stream, String(headers[":scheme"])));
  await using pool = h2({ http2: "on" });
  expect(await (await pool.get(server.url)).text()).toBe("http");
  await using old = await httpServer((_request, response) => response.end("ok"), secure());
  const error = await rejection<HttpTlsError>(pool.get(old.url));
  expect(error.code).toBe("ERR_VG_HTTP_TLS");
  await using plain = await faultServer((socket) => socket.write(reply(400)));
  const refused = await rejection(pool.get(plain.url, { maxRetries: 0 }));
  expect(refused).toMatchObject({ code: "ERR_VG_HTTP_CONNECT" });
});

test("off asks for HTTP/1.1 only", async () => {
  await using server = await http2Server((stream) => answer(stream), secure({ allowHTTP1: false }));
  await using pool = h2({ http2: "off" });
  await rejection(pool.get(server.url, { maxRetries: 0 }));
  expect(server.taken).toEqual([]);
});

test("a dial that many wait for fails for all of them at once, and once", async () => {
  const port = await closedPort();
  await using pool = h2({ maxRetries: 0 });
  const errors = await many(10, () => rejection(pool.get(`https://127.0.0.1:${port}/`)));
  expect(errors.map((error) => (error as { code?: string }).code)).toEqual(Array(10).fill("ERR_VG_HTTP_CONNECT"));
  await poolClosedTo(pool, 0);
  expect(pool.getStats()).toMatchObject({ connect_failure_count: 1, open_connections: 0, queued: 0 });
});

test("bodies of every kind go there and come back", async () => {
  await using server = await http2Server((stream, headers) => {
    if (headers["content-length"] === undefined && headers[":method"] === "POST") stream.respond({ ":status": 201 });
    else stream.respond({ ":status": 200, "x-length": String(headers["content-length"]) });
    stream.pipe(stream);
  }, secure());
  await using pool = h2();
  const big = Buffer.alloc(3_000_000, "abc");
  const bodies = ["text", big, new Blob([big]), new Uint8Array([1, 2, 3])];
  for (const body of bodies) {
    const response = await pool.post(server.url, body);
    const expected = body instanceof Blob ? big : Buffer.from(body as string);
    expect(Buffer.compare(Buffer.from(await response.bytes()), expected)).toBe(0);
    expect(response.header("x-length")).toBe(String(expected.length));
  }
  const streamed = await pool.post(server.url, Readable.from([big, Buffer.from("end")]), { stream: true });
  let length = 0;
  for await (const chunk of streamed.body) length += (chunk as Buffer).length;
  expect([streamed.status, length]).toEqual([201, big.length + 3]);
  expect(await (await pool.get(server.url)).text()).toBe("");
  expect(server.accepted()).toBe(1);
  expect(pool.getStats().bytes_sent).toBe(4 + 2 * big.length + 3 + big.length + 3);
});

test("headers, redirects, compression, HEAD, 204 and trailers mean what they mean in HTTP/1.1", async () => {
  await using server = await http2Server((stream, headers) => {
    switch (headers[":path"]) {
      case "/gzip":
        return answer(stream, gzipSync("inflated"), { "content-encoding": "gzip", "set-cookie": ["a=1", "b=2"] });
      case "/moved":
        return answer(stream, "", { ":status": 302, location: "/end?of=it" });
      case "/empty":
        stream.respond({ ":status": 204 }, { endStream: true });
        return;
      case "/trailers":
        stream.respond({ ":status": 200 }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "x-end": "1" }));
        return void stream.end("body");
      case "/early":
        stream.additionalHeaders({ ":status": 103, link: "</style.css>" });
        return answer(stream, "after 103");
      default:
        return answer(stream, JSON.stringify(headers), { "content-length": undefined });
    }
  }, secure());
  await using pool = h2();
  const gzip = await pool.get(`${server.url}/gzip`);
  expect([await gzip.text(), gzip.headers["set-cookie"]]).toEqual(["inflated", ["a=1", "b=2"]]);
  const moved = await pool.get(`${server.url}/moved`, {
    headers: { host: "named.test", te: "gzip", "x-many": ["1", "2"] },
  });
  const seen = (await moved.json()) as Record<string, unknown>;
  expect(seen).toMatchObject({ ":path": "/end?of=it", ":authority": "named.test", "x-many": "1, 2" });
  expect(Object.keys(seen).filter((name) => ["host", "te", "connection"].includes(name))).toEqual([]);
  const head = await pool.head(`${server.url}/gzip`);
  expect([head.status, (await head.bytes()).length]).toEqual([200, 0]);
  expect((await pool.get(`${server.url}/empty`)).status).toBe(204);
  expect(await (await pool.get(`${server.url}/trailers`)).text()).toBe("body");
  expect(await (await pool.get(`${server.url}/early`)).text()).toBe("after 103");
  expect(server.accepted()).toBe(1);
});

test("GOAWAY: what the server had not taken is sent elsewhere whatever its method, the rest ends where it is", async () => {
  const hold = deferred();
  await using server = await http2Server((stream, _headers, number) => {
    if (number === 0) void hold.promise.then(() => answer(stream, "first"));
    // It is above the last that the server takes.
    else if (number === 1) stream.session?.goaway(constants.NGHTTP2_NO_ERROR, 1);
    else answer(stream, "elsewhere");
  }, secure());
  await using pool = h2({ maxRetries: 0 });
  const first = pool.post(`${server.url}/1`, "one");
  while (server.taken.length < 1) await turns(1);
  const second = await pool.post(`${server.url}/2`, "two");
  expect([await second.text(), second.attempts.map(({ cause }) => cause)]).toEqual(["elsewhere", ["first", "resend"]]);
  expect(pool.getStats()).toMatchObject({ open_connections: 2, retry_count: 0, stale_resends: 1 });
  hold.resolve();
  expect(await (await first).text()).toBe("first");
  await server.socketsDownTo(1);
  expect((await pool.get(server.url)).status).toBe(200);
  expect(server.accepted()).toBe(2);
});

test("a graceful GOAWAY between requests costs none", async () => {
  await using server = await http2Server((stream) => answer(stream), secure());
  await using pool = h2({ maxRetries: 0 });
  for (let round = 0; round < 5; round++) {
    await pool.post(server.url, "x");
    for (const session of server.sessions) if (!session.destroyed) session.close();
    expect((await pool.post(server.url, "x")).status).toBe(200);
  }
  expect(server.taken.length).toBe(10);
});

test("REFUSED_STREAM is retried for every method, because the server did nothing", async () => {
  let refused = 0;
  const done: string[] = [];
  await using server = await http2Server((stream, headers) => {
    if (refused++ < 2) return stream.close(constants.NGHTTP2_REFUSED_STREAM);
    done.push(String(headers[":path"]));
    answer(stream);
  }, secure());
  await using pool = h2();
  const response = await pool.post(`${server.url}/pay`, "x");
  expect(response.attempts.map(({ error_code }) => error_code)).toEqual([
    "HTTP2_REFUSED_STREAM",
    "HTTP2_REFUSED_STREAM",
    undefined,
  ]);
  expect([done, server.accepted()]).toEqual([["/pay"], 1]);
  refused = -10;
  const error = await rejection(pool.post(`${server.url}/pay`, "x", { maxRetries: 0 }));
  expect(error).toMatchObject({ sent: false, retryable: true });
});

test.each([
  ["INTERNAL_ERROR", constants.NGHTTP2_INTERNAL_ERROR],
  ["CANCEL", constants.NGHTTP2_CANCEL],
  ["NO_ERROR", constants.NGHTTP2_NO_ERROR],
])("a stream reset with %s is retried for GET and not for POST, and the connection stays", async (name, code) => {
  await using server = await http2Server((stream, headers) => {
    if (headers[":path"] !== "/reset" || server.taken.filter((line) => line === "GET /reset").length > 1) {
      return answer(stream);
    }
    stream.close(code);
  }, secure());
  await using pool = h2();
  const response = await pool.get(`${server.url}/reset`);
  expect(response.attempts.map(({ error_code }) => error_code)).toEqual([`HTTP2_${name}`, undefined]);
  server.taken.length = 0;
  const error = await rejection(pool.post(`${server.url}/reset`, "x"));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_NETWORK" });
  expect([server.taken.length, server.accepted()]).toEqual([1, 1]);
});

test("a body that breaks off is no answer, however it breaks off", async () => {
  await using server = await http2Server((stream, headers) => {
    stream.respond({ ":status": 200, ...(headers[":path"] === "/declared" ? { "content-length": "100" } : {}) });
    stream.write("half", () => {
      if (headers[":path"] === "/declared") stream.end();
      else stream.session?.destroy();
    });
  }, secure());
  await using pool = h2({ maxRetries: 0 });
  for (const path of ["declared", "session"]) {
    expect(await rejection(pool.get(`${server.url}/${path}`))).toMatchObject({ code: "ERR_VG_HTTP_NETWORK" });
    const stream = await pool.get(`${server.url}/${path}`, { stream: true });
    expect(await rejection(stream.text())).toMatchObject({ code: "ERR_VG_HTTP_NETWORK" });
  }
  expect(pool.getStats()).toMatchObject({ in_flight: 0 });
});

test.each([
  ["without an error", constants.NGHTTP2_NO_ERROR],
  ["with CANCEL", constants.NGHTTP2_CANCEL],
  ["with INTERNAL_ERROR", constants.NGHTTP2_INTERNAL_ERROR],
])("a stream that is reset %s in the middle of a body is no answer", async (_how, code) => {
  await using server = await rawHttp2Server((socket, stream) => {
    socket.write(frame(HEADERS, END_HEADERS, stream, STATUS_200));
    socket.write(frame(DATA, 0, stream, Buffer.from("half")));
    socket.write(frame(RST_STREAM, 0, stream, numbers(code)));
  });
  await using pool = h2({ http2: "on", maxRetries: 0 });
  expect(await rejection(pool.get(server.url))).toMatchObject({ code: "ERR_VG_HTTP_NETWORK" });
  const stream = await pool.get(server.url, { stream: true });
  expect(await rejection(stream.text())).toMatchObject({ code: "ERR_VG_HTTP_NETWORK" });
});

test.each<[string, (stream: number) => Buffer]>([
  ["REFUSED_STREAM", (stream) => frame(RST_STREAM, 0, stream, numbers(constants.NGHTTP2_REFUSED_STREAM))],
  ["GOAWAY", () => frame(GOAWAY, 0, 0, numbers(0, constants.NGHTTP2_NO_ERROR))],
])("a POST whose headers came is not sent again, though a %s came with them and denies it", async (_what, denial) => {
  let posted = 0;
  await using server = await rawHttp2Server((socket, stream) => {
    posted++;
    // An answer, or only a sign of one: either way the server has looked at it.
    const began = posted === 1 ? STATUS_200 : STATUS_103;
    socket.write(Buffer.concat([frame(HEADERS, END_HEADERS, stream, began), denial(stream)]));
  });
  await using pool = h2({ http2: "on", maxRetries: 3 });
  for (const expected of [1, 2]) {
    const error = await rejection(pool.post(server.url, "x"));
    expect(error).toMatchObject({ code: "ERR_VG_HTTP_NETWORK", sent: true });
    expect(posted).toBe(expected);
  }
});

test("a body that has come whole is whole, however late it is read", async () => {
  await using server = await rawHttp2Server((socket, stream) => {
    socket.write(frame(HEADERS, END_HEADERS, stream, STATUS_200));
    socket.write(frame(DATA, 0, stream, Buffer.alloc(10_000)));
    socket.write(frame(DATA, END_STREAM, stream, Buffer.alloc(10_000)));
    socket.write(frame(RST_STREAM, 0, stream, numbers(constants.NGHTTP2_NO_ERROR)));
  });
  await using pool = h2({ http2: "on", maxRetries: 0 });
  const response = await pool.get(server.url, { stream: true });
  await pool.get(server.url);
  await turns(5);
  expect((await response.bytes()).length).toBe(20_000);
});

test("GOAWAY with an error: only what is above its last stream is sent again", async () => {
  const posted: number[] = [];
  await using server = await rawHttp2Server((socket, stream) => {
    posted.push(stream);
    // 3 was processed, 5 was not.
    if (posted.length === 3) socket.end(frame(GOAWAY, 0, 0, numbers(3, constants.NGHTTP2_INTERNAL_ERROR)));
    if (posted.length > 3) socket.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, STATUS_200));
  });
  await using pool = h2({ http2: "on", maxRetries: 0 });
  const results = await many(3, (index) =>
    pool.post(`${server.url}/${index}`, "").then(
      ({ status }) => status as unknown,
      (error: { code: string }) => error.code,
    ),
  );
  expect(results).toEqual(["ERR_VG_HTTP_NETWORK", "ERR_VG_HTTP_NETWORK", 200]);
  expect([posted, server.accepted()]).toEqual([[1, 3, 5, 1], 2]);
});

test("a dying connection takes its requests along: those that may be repeated are, the others are named", async () => {
  const arrived = new Map<string, number>();
  await using server = await http2Server((stream, headers, number) => {
    const key = `${headers[":method"]} ${headers[":path"]}`;
    arrived.set(key, (arrived.get(key) ?? 0) + 1);
    if (number === 9) for (const socket of server.sockets) socket.destroy();
    else if (number > 9) answer(stream);
  }, secure());
  await using pool = h2();
  const results = await many(10, (index) =>
    pool
      .do({
        method: index % 2 === 0 ? "GET" : "POST",
        url: `${server.url}/${index}`,
        body: index % 2 === 0 ? null : "x",
      })
      .then(
        ({ status }) => status as unknown,
        (error: { code: string }) => error.code,
      ),
  );
  expect(results).toEqual(Array.from({ length: 10 }, (_, i) => (i % 2 === 0 ? 200 : "ERR_VG_HTTP_NETWORK")));
  for (const [key, count] of arrived) if (key.startsWith("POST")) expect([key, count]).toEqual([key, 1]);
  expect(pool.getStats()).toMatchObject({ open_connections: 1, in_flight: 0 });
});

test("one request that is given up costs the others nothing", async () => {
  const hold = deferred();
  await using server = await http2Server((stream) => void hold.promise.then(() => answer(stream)), secure());
  await using pool = h2();
  const abort = new AbortController();
  const given = rejection(pool.get(server.url, { signal: abort.signal }));
  const kept = many(3, () => pool.post(server.url, "x"));
  while (server.taken.length < 4) await turns(1);
  abort.abort(new Error("no more"));
  expect((await given).message).toBe("no more");
  expect(await rejection(pool.get(server.url, { timeoutMs: 20 }))).toMatchObject({ code: "ERR_VG_HTTP_TIMEOUT" });
  hold.resolve();
  expect((await kept).map(({ status }) => status)).toEqual([200, 200, 200]);
  expect([server.accepted(), pool.getStats().open_connections]).toEqual([1, 1]);
});

test.each([
  ["answers a PING keeps", true],
  ["answers no PING loses", false],
])("after a request was given up, a server that %s the connection", async (_what, alive) => {
  let asked = 0;
  await using server = await rawHttp2Server(
    (socket, stream) => {
      if (asked++ > 0) socket.write(frame(HEADERS, END_HEADERS | END_STREAM, stream, STATUS_200));
    },
    { answersPing: alive },
  );
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    await using pool = h2({ http2: "on", maxRetries: 0, timeoutMs: 100_000 });
    const abort = new AbortController();
    const given = rejection(pool.get(server.url, { signal: abort.signal }));
    while (server.sockets.size < 1 || pool.getStats().connect_count < 1) await turns(1);
    await turns(5);
    abort.abort(new Error("too slow"));
    await given;
    await turns(5);
    vi.advanceTimersByTime(6000);
    if (!alive) await server.socketsDownTo(0);
    expect((await pool.get(server.url)).status).toBe(200);
    expect(server.accepted()).toBe(alive ? 1 : 2);
  } finally {
    vi.useRealTimers();
  }
});

test("neither an idle HTTP/2 connection nor an unread stream keeps the process alive, a stream that is read does", async () => {
  await using server = await http2Server((stream, headers) => {
    stream.respond({ ":status": 200 });
    stream.write("1");
    if (headers[":path"] === "/read") setTimeout(() => stream.end("2"), 50);
    if (headers[":path"] === "/whole") stream.end();
  });
  const source = new URL("../src/index.ts", import.meta.url).href;
  const script = `
    const { HttpPool } = await import(${JSON.stringify(source)});
    const pool = new HttpPool({ http2: "on" });
    const url = ${JSON.stringify(server.url)};
    console.log(await (await pool.get(url + "/whole")).text());
    const read = await pool.get(url + "/read", { stream: true });
    console.log(await read.text());
    await pool.get(url + "/unread", { stream: true });`;
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["--conditions=@vg/source", "--input-type=module", "-e", script],
    { timeout: 20_000 },
  );
  expect(stdout).toBe("1\n12\n");
});

test("a slow reader holds back its own stream only", async () => {
  // Node's server refuses streams while more than 10 MB wait to be sent, so they are not larger.
  await using server = await http2Server(
    (stream, headers) => answer(stream, headers[":path"] === "/big" ? Buffer.alloc(1_000_000) : "small"),
    secure(),
  );
  await using pool = h2();
  const big = await many(8, () => pool.get(`${server.url}/big`, { stream: true }));
  for (let i = 0; i < 20; i++) expect(await (await pool.get(`${server.url}/small`)).text()).toBe("small");
  for (const response of big) expect((await response.bytes()).length).toBe(1_000_000);
  const left = await pool.get(`${server.url}/big`, { stream: true });
  await left.discard();
  expect((await pool.get(server.url)).status).toBe(200);
  expect(server.accepted()).toBe(1);
});

test("an answer that comes before all of the request has left is an answer", async () => {
  await using server = await http2Server((stream) => {
    stream.respond({ ":status": 413 });
    stream.end("too much");
  }, secure());
  await using pool = h2();
  let closed = false;
  const endless = new Readable({
    read() {
      setImmediate(() => this.push(Buffer.alloc(16_384)));
    },
    destroy(_error, done) {
      closed = true;
      done(null);
    },
  });
  const response = await pool.post(server.url, endless);
  expect([response.status, await response.text()]).toEqual([413, "too much"]);
  await turns(3);
  expect(closed).toBe(true);
  expect((await pool.get(server.url)).status).toBe(413);
  expect(server.accepted()).toBe(1);
});

test("a body whose source fails fails its own request, for the source's reason", async () => {
  await using server = await http2Server((stream) => void stream.resume().on("end", () => answer(stream)), secure());
  await using pool = h2();
  const broken = async function* (): AsyncGenerator<Uint8Array> {
    yield Buffer.from("some");
    throw new Error("disk full");
  };
  const error = await rejection<Error & { cause: Error }>(pool.post(server.url, broken()));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_REQUEST", cause: { message: "disk full" } });
  expect((await pool.post(server.url, "x")).status).toBe(200);
  expect(server.accepted()).toBe(1);
});

test("headers above maxHeaderBytes are refused, and the connection stays", async () => {
  await using server = await http2Server(
    (stream, headers) => answer(stream, "ok", headers[":path"] === "/big" ? { "x-big": "x".repeat(3000) } : {}),
    secure(),
  );
  await using pool = h2({ maxHeaderBytes: 2048, maxRetries: 0 });
  const error = await rejection(pool.get(`${server.url}/big`));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_PROTOCOL" });
  expect(error.message).toContain("maxHeaderBytes");
  expect((await pool.get(server.url)).status).toBe(200);
});

test("an idle HTTP/2 connection leaves after idleConnTimeoutMs, a busy one does not", () =>
  withFakeTime(async (pass) => {
    const hold = deferred();
    await using server = await http2HoldServer(hold.promise, secure());
    await using pool = h2({ idleConnTimeoutMs: 20 });
    const held = pool.get(`${server.url}/hold`);
    await pool.get(server.url);
    pass(60);
    await turns(5);
    expect(server.sockets.size).toBe(1);
    hold.resolve();
    await held;
    await turns(5);
    pass(20);
    await server.socketsDownTo(0);
  }));

test("a connection whose life has ended takes no more requests, and ends after those that it has", async () => {
  const hold = deferred();
  await using server = await http2HoldServer(hold.promise, secure());
  const clock = { ms: 0, now: () => clock.ms };
  await using pool = h2({ maxConnLifetimeMs: 1000, clock, random: () => 0 });
  const held = [pool.get(`${server.url}/hold`), pool.get(`${server.url}/hold`)];
  while (server.taken.length < 2) await turns(1);
  clock.ms = 999;
  await pool.get(server.url);
  expect(server.accepted()).toBe(1);
  clock.ms = 1000;
  await pool.get(server.url);
  expect(server.accepted()).toBe(2);
  hold.resolve();
  await Promise.all(held);
  await server.socketsDownTo(1);
});

test("a server that says nothing after it was connected is no HTTP/2 server, and the limits of a dial hold for it", async () => {
  await using plain = await listening(
    createServer((socket) => void socket.on("error", () => {}).resume()),
    "http",
  );
  await using pool = h2({ http2: "on", connectTimeoutMs: 30, maxRetries: 0 });
  const error = await rejection(pool.get(plain.url));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_TIMEOUT", limit: "connectTimeoutMs" });
  expect(error.message).toContain("no HTTP/2 settings within connectTimeoutMs (30 ms)");
  await plain.socketsDownTo(0);
});

test("destroy ends all streams of a connection at once", async () => {
  await using server = await http2Server(() => {}, secure());
  const pool = h2();
  const requests = Array.from({ length: 5 }, () => rejection(pool.get(server.url)));
  while (server.taken.length < 5) await turns(1);
  pool.destroy();
  for (const error of await Promise.all(requests)) expect(error).toMatchObject({ code: "ERR_VG_HTTP_CLOSED" });
  await server.socketsDownTo(0);
});

test("a busy HTTP/2 origin makes room for another one that maxTotalConns keeps out", async () => {
  await using busy = await http2OkServer(secure());
  await using quiet = await http2Server((stream) => answer(stream), secure());
  await using pool = h2({ maxTotalConns: 1, maxConnsPerHost: 1 });
  await expectRoomBeside(pool, busy, quiet);
});

test("bodies of strings go over HTTP/2 as over HTTP/1.1", async () => {
  const bodies: string[] = [];
  await using server = await http2Server((stream) => {
    let body = "";
    stream.setEncoding("utf8");
    stream.on("data", (chunk: string) => (body += chunk));
    stream.on("end", () => {
      bodies.push(body);
      answer(stream);
    });
  }, secure());
  await using pool = h2();
  await pool.post(server.url, Readable.from(["a", "ü"]));
  await pool.post(
    server.url,
    (async function* () {
      yield "b";
    })(),
  );
  expect(bodies).toEqual(["aü", "b"]);
});
