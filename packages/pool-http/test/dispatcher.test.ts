import { Readable } from "node:stream";
import { errors, FormData as UndiciFormData, interceptors, type Dispatcher } from "undici";
import { expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";
import { echoServer, expectSettled, type Echo } from "./support/echo-server.ts";
import {
  closedPort,
  deferred,
  faultServer,
  httpServer,
  rejection,
  reply,
  settled,
  turns,
} from "./support/fault-server.ts";
import { withFakeTime } from "./support/fake-time.ts";

type Options = Parameters<Dispatcher["request"]>[0];
type Heard = [string, ...unknown[]];

/** Dispatches and notes, in order, what the handler is told; `act` may do something at each of it. */
function listen(
  dispatcher: Dispatcher,
  options: Dispatcher.DispatchOptions,
  act: (what: string, controller: Dispatcher.DispatchController) => void = () => {},
): { heard: Heard[]; ended: Promise<Heard[]>; more: boolean } {
  const heard: Heard[] = [];
  const { promise, resolve } = deferred<Heard[]>();
  let controller!: Dispatcher.DispatchController;
  const note = (what: string, ...rest: unknown[]): void => {
    heard.push([what, ...rest]);
    act(what, controller);
  };
  const more = dispatcher.dispatch(options, {
    onRequestStart: (given) => {
      controller = given;
      note("start");
    },
    onResponseStart: (_controller, status, headers, text) => note("response", status, headers, text),
    onResponseData: (_controller, chunk) => note("data", chunk.toString()),
    onResponseEnd: (_controller, trailers) => {
      note("end", trailers);
      resolve(heard);
    },
    onResponseError: (_controller, error) => {
      note("error", error);
      resolve(heard);
    },
    onBodySent: (chunk) => note("sent", chunk.toString()),
    onRequestSent: () => note("all sent"),
    onResponseStarted: () => note("answer begins"),
  });
  return { heard, ended: promise, more };
}

test("a handler is told of everything, in undici's order", async () => {
  await using server = await faultServer((socket) =>
    socket.write(
      "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" +
        "HTTP/1.1 200 Very Well\r\nX-Case: 1\r\ntransfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n" +
        "3\r\none\r\n0\r\nX-End: yes\r\n\r\n",
    ),
  );
  await using pool = new HttpPool();
  let raw: unknown;
  let rawTrailers: unknown;
  const { ended } = listen(
    pool.dispatcher,
    { origin: server.url, path: "/", method: "POST", body: "hello" },
    (what, controller) => {
      if (what === "response") raw = controller.rawHeaders;
      if (what === "end") rawTrailers = controller.rawTrailers;
    },
  );
  expect(await ended).toMatchObject([
    ["start"],
    ["sent", "hello"],
    ["all sent"],
    ["answer begins"],
    ["response", 103, { link: "</a>" }, "Early Hints"],
    ["answer begins"],
    ["response", 200, { "x-case": "1" }, "Very Well"],
    ["data", "one"],
    ["end", { "x-end": "yes" }],
  ]);
  expect(String((raw as Buffer[])[0])).toBe("X-Case");
  expect((rawTrailers as Buffer[]).map(String)).toEqual(["X-End", "yes"]);
  await expectSettled(pool, server);
});

test.each<[string, () => unknown, string, string | undefined]>([
  ["a string, without a type of its own", () => "hé", "hé", undefined],
  ["a Buffer", () => Buffer.from("raw"), "raw", undefined],
  ["a Uint8Array", () => new TextEncoder().encode("raw"), "raw", undefined],
  ["a Readable", () => Readable.from(["str", "eam"]), "stream", undefined],
  ["a web stream", () => new Blob(["web"]).stream(), "web", undefined],
  ["an array of chunks", () => ["a", Buffer.from("b")], "ab", undefined],
  [
    "a generator",
    () =>
      (function* () {
        yield "gen";
      })(),
    "gen",
    undefined,
  ],
  ["a Blob", () => new Blob(["blob"], { type: "text/x-blob" }), "blob", "text/x-blob"],
  ["null", () => null, "", undefined],
  ["an empty string", () => "", "", undefined],
])("dispatch sends %s as a body", async (_name, make, body, type) => {
  await using server = await echoServer();
  await using pool = new HttpPool();
  const options = { origin: server.url, path: "/", method: "POST", body: make() } as Options;
  const echo = (await (await pool.dispatcher.request(options)).body.json()) as Echo;
  expect([echo.body, echo.headers["content-type"]]).toEqual([body, type]);
  await expectSettled(pool, server);
});

test("dispatch sends forms, undici's and Node's", async () => {
  await using server = await echoServer();
  await using pool = new HttpPool();
  for (const form of [new UndiciFormData(), new FormData()]) {
    form.set("a", "b");
    const options = { origin: server.url, path: "/", method: "POST", body: form } as Options;
    const echo = (await (await pool.dispatcher.request(options)).body.json()) as Echo;
    expect(echo.headers["content-type"]).toMatch(/^multipart\/form-data; boundary=/);
    expect(echo.body).toContain('name="a"');
  }
});

test.each<[string, Options["headers"]]>([
  ["a record", { "X-One": "1", "x-two": ["2", "3"], "x-none": undefined, "x-four": 4 }],
  ["a flat array", ["X-One", "1", "x-two", "2", "x-two", "3", "x-four", "4"]],
  [
    "pairs",
    new Map<string, string | string[]>([
      ["X-One", "1"],
      ["x-two", ["2", "3"]],
      ["x-four", "4"],
    ]),
  ],
])("dispatch takes headers as %s, over the pool's", async (_name, headers) => {
  await using server = await echoServer();
  await using pool = new HttpPool({ headers: { "x-one": "pool", "x-pool": "p" } });
  const { body } = await pool.dispatcher.request({
    origin: server.url,
    path: "/",
    method: "GET",
    headers: headers ?? null,
  });
  const echo = (await body.json()) as Echo;
  expect(echo.headers).toMatchObject({ "x-one": "1", "x-two": "2, 3", "x-four": "4", "x-pool": "p" });
  expect(echo.headers["accept-encoding"]).toBeUndefined();
});

test("a stream goes out with the length that the caller names", async () => {
  await using server = await echoServer();
  await using pool = new HttpPool();
  const body = Readable.from([Buffer.from("abcd")]);
  const options = { origin: server.url, path: "/", method: "PUT", body, headers: { "content-length": "4" } } as const;
  const echo = (await (await pool.dispatcher.request(options)).body.json()) as Echo;
  expect([echo.body, echo.headers["content-length"], echo.headers["transfer-encoding"]]).toEqual([
    "abcd",
    "4",
    undefined,
  ]);
});

test("the path goes out byte by byte, the query after it, and stays below the base URL", async () => {
  await using server = await echoServer();
  await using pool = new HttpPool();
  const url = async (dispatcher: Dispatcher, options: Partial<Options>): Promise<string> =>
    ((await (await dispatcher.request({ path: "/", method: "GET", ...options })).body.json()) as Echo).url;
  const { dispatcher } = pool;
  expect(await url(dispatcher, { origin: server.url, path: "/a/../b//c%7e?x=[1]" })).toBe("/a/../b//c%7e?x=[1]");
  expect(await url(dispatcher, { origin: new URL(server.url), query: { a: "1 2", b: [1, 2] } })).toBe(
    "/?a=1%202&b=1&b=2",
  );
  await using based = new HttpPool({ baseUrl: `${server.url}/v1` });
  expect(await url(based.dispatcher, { path: "/models" })).toBe("/v1/models");
  expect(await url(based.dispatcher, { origin: server.url, path: "/v1/models" })).toBe("/v1/models");
  for (const out of [
    { path: "/../v2" },
    { origin: server.url, path: "/v2" },
    { origin: "http://127.0.0.2", path: "/v1/" },
    { path: server.url },
  ]) {
    expect(await rejection(url(based.dispatcher, out))).toBeInstanceOf(errors.InvalidArgumentError);
  }
});

test.each([
  "/v1/..\xc0\xafadmin",
  "/v1/..\xef\xbc\x8fadmin",
  "/v1/\xef\xbc\x8e\xef\xbc\x8e/admin",
  "/v1/x#/../../admin",
  "/v1/x#/..%2f..%2fadmin",
  "/v1/..#x",
  "/v1/../v1/..#",
  "/v1//../admin",
  "/v1/%2f/../admin",
  "/v1/x/\\/../../admin",
])("a path that goes out as it is (%j) does not leave the base URL", async (path) => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool({ baseUrl: `${server.url}/v1` });
  for (const at of [{ origin: server.url, path }, { path: path.slice("/v1".length) }]) {
    const { ended } = listen(pool.dispatcher, { ...at, method: "GET" });
    expect(await ended).toMatchObject([["error", { code: "UND_ERR_INVALID_ARG" }]]);
  }
  expect(server.requests.length).toBe(0);
});

test("plain dots that stay below the base URL go out as they are", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool({ baseUrl: `${server.url}/v1` });
  const path = "/v1/a-b/../c_d/~e/?x=//../%2f";
  await listen(pool.dispatcher, { origin: server.url, path, method: "GET" }).ended;
  expect(server.requests[0]?.line).toBe(`GET ${path} HTTP/1.1`);
});

test("raw bytes and a # that stay below the base URL go out as they are", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool({ baseUrl: `${server.url}/v1` });
  const path = "/v1//caf\xe9/..\xec\x95\x88//x/y..?a=\xe9#b";
  await listen(pool.dispatcher, { origin: server.url, path, method: "GET" }).ended;
  expect(server.requests[0]?.line).toBe(`GET ${path} HTTP/1.1`);
});

test("interceptors of a pool with a base URL see the whole URL", async () => {
  await using server = await echoServer();
  await using pool = new HttpPool({ baseUrl: `${server.url}/v1` });
  const seen: unknown[] = [];
  const look: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) => {
    seen.push([options.origin, options.path]);
    return dispatch(options, handler);
  };
  const { body } = await pool.dispatcher.compose([look]).request({ path: "/models", method: "GET" });
  expect(await body.json()).toMatchObject({ url: "/v1/models" });
  expect(seen).toEqual([[server.url, "/v1/models"]]);
});

/** Bytes whose ArrayBuffer somebody else has got. */
function transferred(bytes: NodeJS.ArrayBufferView<ArrayBuffer> = new Uint8Array([1, 2, 3])): typeof bytes {
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

test.each<[string, object, string]>([
  ["no origin", { origin: undefined }, "UND_ERR_INVALID_ARG"],
  ["an origin of another protocol", { origin: "ftp://127.0.0.1" }, "UND_ERR_INVALID_ARG"],
  ["a path without a slash", { path: "a" }, "UND_ERR_INVALID_ARG"],
  ["a path with a line break", { path: "/\r\n" }, "UND_ERR_INVALID_ARG"],
  ["a method that is none", { method: "G T" }, "UND_ERR_INVALID_ARG"],
  ["a header with a line break", { headers: { "x-a": "1\r\nx: 2" } }, "UND_ERR_INVALID_ARG"],
  ["an odd number of headers", { headers: ["x"] }, "UND_ERR_INVALID_ARG"],
  ["transfer-encoding", { headers: { "transfer-encoding": "chunked" } }, "UND_ERR_INVALID_ARG"],
  ["a content-length that is no number", { headers: { "content-length": "-1" } }, "UND_ERR_INVALID_ARG"],
  ["expect", { headers: { expect: "100-continue" } }, "UND_ERR_NOT_SUPPORTED"],
  ["a body that is none", { method: "POST", body: 5 }, "UND_ERR_INVALID_ARG"],
  ["bytes that are gone", { method: "PUT", body: transferred() }, "UND_ERR_INVALID_ARG"],
  ["numbers that are gone", { method: "PUT", body: transferred(new Uint16Array(2)) }, "UND_ERR_INVALID_ARG"],
  [
    "a DataView that is gone",
    { method: "PUT", body: transferred(new DataView(new ArrayBuffer(2))) },
    "UND_ERR_INVALID_ARG",
  ],
  ["an ArrayBuffer that is gone", { method: "PUT", body: transferred().buffer }, "UND_ERR_INVALID_ARG"],
  ["another server's name", { origin: "https://127.0.0.1:1", servername: "example.com" }, "UND_ERR_INVALID_ARG"],
  ["a negative timeout", { headersTimeout: -1 }, "UND_ERR_INVALID_ARG"],
  ["CONNECT", { method: "CONNECT" }, "UND_ERR_NOT_SUPPORTED"],
  ["an upgrade", { upgrade: "websocket" }, "UND_ERR_NOT_SUPPORTED"],
])("dispatch refuses %s with undici's error, before anything is sent", async (_name, options, code) => {
  await using pool = new HttpPool();
  const { ended, more } = listen(pool.dispatcher, {
    origin: "http://127.0.0.1:1",
    path: "/",
    method: "GET",
    ...options,
  });
  expect(await ended).toMatchObject([["error", { code }]]);
  expect(more).toBe(false);
  expect(pool.getStats()).toMatchObject({ request_count: 0, open_connections: 0 });
});

test("upgrade() and connect() reject with a reason", async () => {
  await using pool = new HttpPool({ baseUrl: "http://127.0.0.1:1" });
  const upgraded = await rejection(pool.dispatcher.upgrade({ path: "/" }));
  expect(upgraded).toMatchObject({
    code: "UND_ERR_NOT_SUPPORTED",
    message: expect.stringContaining("undici Agent") as string,
  });
  const connected = await rejection(pool.dispatcher.connect({ origin: "http://127.0.0.1:1", path: "/" }));
  expect(connected).toMatchObject({ code: "UND_ERR_NOT_SUPPORTED" });
});

test("a handler of undici 7 is refused with the way to serve it", async () => {
  await using pool = new HttpPool();
  const handler = { onConnect() {}, onHeaders() {}, onData() {}, onComplete() {}, onError() {} } as object;
  const dispatch = (): boolean =>
    pool.dispatcher.dispatch({ origin: "http://127.0.0.1:1", path: "/", method: "GET" }, handler);
  expect(dispatch).toThrow("legacyDispatcher");
  expect(() => pool.dispatcher.dispatch({ path: "/", method: "GET" }, null as never)).toThrow(
    errors.InvalidArgumentError,
  );
});

test("pause and resume reach the server", async () => {
  let written = 0;
  await using server = await httpServer((_request, response) => {
    const block = Buffer.alloc(64 * 1024);
    const fill = (): void => {
      while (written < 64 * 1024 * 1024) {
        written += block.length;
        if (!response.write(block)) return void response.once("drain", fill);
      }
      response.end();
    };
    fill();
  });
  await using pool = new HttpPool();
  const answered = deferred();
  let controller!: Dispatcher.DispatchController;
  const { ended } = listen(pool.dispatcher, { origin: server.url, path: "/", method: "GET" }, (what, given) => {
    controller = given;
    if (what !== "response") return;
    given.pause();
    answered.resolve();
  });
  await answered.promise;
  await settled(() => written);
  expect(controller.paused).toBe(true);
  expect(pool.getStats().bytes_received).toBeLessThan(1024 * 1024);
  controller.resume();
  const heard = await ended;
  expect(heard.at(-1)?.[0]).toBe("end");
  expect(pool.getStats().bytes_received).toBe(64 * 1024 * 1024);
});

test("an abort is told at once, wherever the request is", async () => {
  await using server = await faultServer((socket, { line }) => {
    if (line.includes("/body")) socket.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n");
  });
  await using pool = new HttpPool({ maxConnsPerHost: 1 });
  const { dispatcher } = pool;
  const reason = new Error("enough");
  const abortAt = (when: string, path: string): Promise<Heard[]> =>
    listen(dispatcher, { origin: server.url, path, method: "GET" }, (what, controller) => {
      if (what === when) controller.abort(reason);
    }).ended;
  expect(await abortAt("start", "/")).toEqual([["start"], ["error", reason]]);
  expect((await abortAt("all sent", "/")).at(-1)).toEqual(["error", reason]);
  expect((await abortAt("response", "/body")).at(-1)).toEqual(["error", reason]);
  expect((await abortAt("data", "/body")).at(-1)).toEqual(["error", reason]);

  const abort = new AbortController();
  const holding = listen(dispatcher, { origin: server.url, path: "/", method: "GET" });
  const queued = rejection(dispatcher.request({ origin: server.url, path: "/", method: "GET", signal: abort.signal }));
  abort.abort(reason);
  expect(await queued).toBe(reason);
  await turns(2);
  expect(pool.getStats()).toMatchObject({ in_flight: 1, canceled_count: 5 });
  await dispatcher.destroy();
  expect((await holding.ended).at(-1)?.[1]).toBeInstanceOf(errors.ClientDestroyedError);
  await server.socketsDownTo(0);
});

test("a handler that throws has its request aborted, and is told of its own error", async () => {
  await using server = await faultServer((socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\none"));
  await using pool = new HttpPool();
  const thrown = new Error("of the handler");
  for (const when of ["start", "sent", "response", "data"]) {
    const { ended } = listen(pool.dispatcher, { origin: server.url, path: "/", method: "PUT", body: "x" }, (what) => {
      if (what === when) throw thrown;
    });
    expect((await ended).at(-1)).toEqual(["error", thrown]);
  }
  expect(pool.getStats()).toMatchObject({ canceled_count: 4, retry_count: 0, in_flight: 0 });
  await server.socketsDownTo(0);
});

test("errors are those that undici's callers test for", async () => {
  await using silent = await faultServer(() => {});
  await using broken = await faultServer((socket) => socket.end());
  await using garbage = await faultServer((socket) => socket.write("no http at all\r\n\r\n"));
  await using pool = new HttpPool({ maxRetries: 0, maxConnsPerHost: 1, queueTimeoutMs: 5, timeoutMs: 5000 });
  const { dispatcher } = pool;
  const failure = (origin: string, options: object = {}): Promise<Error> =>
    rejection(dispatcher.request({ origin, path: "/", method: "GET", ...options }));
  expect(await failure(`http://127.0.0.1:${await closedPort()}`)).toMatchObject({
    code: "ECONNREFUSED",
    syscall: "connect",
  });
  expect(await failure(broken.url)).toBeInstanceOf(errors.SocketError);
  expect(await failure(garbage.url)).toMatchObject({ name: "HTTPParserError" });
  const late = await failure(silent.url, { headersTimeout: 5 });
  expect(late).toBeInstanceOf(errors.HeadersTimeoutError);
  expect(late.cause).toMatchObject({ code: "ERR_VG_HTTP_TIMEOUT", limit: "attemptTimeoutMs" });
  const holding = failure(silent.url);
  expect(await failure(silent.url)).toBeInstanceOf(errors.ConnectTimeoutError);
  pool.destroy();
  expect(await holding).toBeInstanceOf(errors.ClientDestroyedError);
  expect(await failure(silent.url)).toMatchObject({ code: "UND_ERR_DESTROYED", cause: { code: "ERR_VG_HTTP_CLOSED" } });
});

test("silence in a body is undici's BodyTimeoutError, and a source's error is its own", async () => {
  await using server = await faultServer((socket) => socket.write("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\none"));
  await using pool = new HttpPool();
  const { body } = await pool.dispatcher.request({ origin: server.url, path: "/", method: "GET", bodyTimeout: 5 });
  expect(await rejection(body.text())).toBeInstanceOf(errors.BodyTimeoutError);
  const gone = new Error("disk gone");
  const source = new Readable({
    read() {
      this.destroy(gone);
    },
  });
  const failed = pool.dispatcher.request({ origin: server.url, path: "/", method: "POST", body: source });
  expect(await rejection(failed)).toBe(gone);
});

test("headersTimeout begins when the request has been sent, and may be followed by a retry", () =>
  withFakeTime(async (pass) => {
    await using server = await faultServer((socket, { number }) => {
      if (number !== 1) socket.write(reply(200, "late"));
      else setImmediate(pass, 30);
    });
    await using pool = new HttpPool({ retryBaseMs: 0 });
    async function* slow(): AsyncGenerator<Buffer> {
      yield Buffer.from("ab");
      await turns(2);
      pass(60);
      yield Buffer.from("cd");
    }
    const options = { origin: server.url, path: "/", headersTimeout: 30 } as const;
    const headers = { "content-length": "4" };
    const uploaded = await pool.dispatcher.request({ ...options, method: "PUT", headers, body: Readable.from(slow()) });
    expect(await uploaded.body.text()).toBe("late");
    const got = pool.dispatcher.request({ ...options, method: "GET" });
    // The retry waits for a timer, too, of no length.
    while (server.requests.length < 3) {
      await turns(1);
      pass(0);
    }
    expect(await (await got).body.text()).toBe("late");
    expect(pool.getStats()).toMatchObject({ retries_by_cause: { timeout: 1 }, success_count: 2 });
  }));

test("retries are the pool's own policy, and redirects the caller's", async () => {
  await using server = await faultServer((socket, { line, number }) => {
    if (line.includes("/from")) socket.write(reply(302, "", { location: "/to" }));
    else socket.write(number % 2 === 0 ? reply(503) : reply(200));
  });
  await using pool = new HttpPool({ retryBaseMs: 1 });
  const { dispatcher } = pool;
  const status = async (options: Partial<Options>, by: Dispatcher = dispatcher): Promise<number> => {
    const { statusCode, body } = await by.request({ origin: server.url, path: "/", method: "GET", ...options });
    await body.dump();
    return statusCode;
  };
  expect(await status({})).toBe(200);
  expect(await status({ method: "POST" })).toBe(503);
  server.requests.length = 0;
  expect(await status({ method: "POST", idempotent: true })).toBe(200);
  server.requests.length = 0;
  expect(await status({ idempotent: false })).toBe(503);
  expect(await status({ path: "/from" })).toBe(302);
  expect(await status({ path: "/from" }, dispatcher.compose(interceptors.redirect({ maxRedirections: 1 })))).toBe(200);
});
