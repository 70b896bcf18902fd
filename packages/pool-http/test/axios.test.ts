import { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import axios, { AxiosError, CanceledError, type AxiosInstance, type AxiosProgressEvent } from "axios";
import { expect, test, vi } from "vitest";
import { createAxiosAdapter } from "../src/axios.ts";
import { HttpPool } from "../src/index.ts";
import { echoServer, expectSettled, type Echo } from "./support/echo-server.ts";
import { closedPort, rejection } from "./support/fault-server.ts";

const server = (onHang: () => void = () => {}) =>
  echoServer(({ url }, response) => {
    if (url === "/gzip") response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("inflated"));
    else if (url === "/404") response.writeHead(404, { "content-type": "application/json" }).end('{"error":"none"}');
    else if (url === "/500") response.writeHead(501).end("broken");
    else if (url === "/from") response.writeHead(302, { location: "/to" }).end();
    else if (url === "/loop") response.writeHead(302, { location: "/loop" }).end();
    else if (url === "/bom") response.end("\ufefftext");
    else if (url === "/big") response.writeHead(200, { "content-length": 300_000 }).end(Buffer.alloc(300_000, "x"));
    else if (url === "/hang") onHang();
    else return false;
    return true;
  });

const clientOf = (pool: HttpPool, config: object = {}): AxiosInstance =>
  axios.create({ adapter: createAxiosAdapter(pool, axios), ...config });

test("axios sends and reads JSON, forms and params", async () => {
  await using upstream = await server();
  await using pool = new HttpPool();
  const client = clientOf(pool, { baseURL: upstream.url, headers: { "X-Own": "1" } });
  const { data, status, statusText, headers, config, request } = await client.post<Echo>(
    "/a",
    { a: 1 },
    { params: { q: "1 2" } },
  );
  expect(data).toMatchObject({ method: "POST", url: "/a?q=1+2", body: '{"a":1}' });
  expect(data.headers).toMatchObject({ "content-type": "application/json", "x-own": "1", "content-length": "7" });
  expect([status, statusText, headers["content-type"], headers["set-cookie"]]).toEqual([
    200,
    "OK",
    "application/json",
    ["a=1", "b=2"],
  ]);
  expect(config.url).toBe("/a");
  expect(request).toMatchObject({ method: "POST", res: { responseUrl: `${upstream.url}/a?q=1+2` } });
  const form = await client.postForm<Echo>("/form", { a: "b", file: Buffer.from("bytes") });
  expect(form.data.headers["content-type"]).toMatch(/^multipart\/form-data; ?boundary=/);
  expect(form.data.body).toContain("bytes");
  const encoded = await client.post<Echo>("/", new URLSearchParams({ a: "1" }));
  expect(encoded.data.body).toBe("a=1");
  const streamed = await client.put<Echo>("/", Readable.from(["str", "eam"]));
  expect(streamed.data.body).toBe("stream");
  const auth = await client.get<Echo>("/", { auth: { username: "u", password: "p" } });
  expect(auth.data.headers["authorization"]).toBe(`Basic ${Buffer.from("u:p").toString("base64")}`);
  expect(pool.getStats()).toMatchObject({ request_count: 5, success_count: 5, connect_count: 1 });
  await expectSettled(pool, upstream);
});

test("axios reads every type of response", async () => {
  await using upstream = await server();
  await using pool = new HttpPool({ baseUrl: upstream.url });
  const client = clientOf(pool);
  expect((await client.get<string>("/gzip", { responseType: "text" })).data).toBe("inflated");
  const raw = await client.get<Buffer>("/gzip", { responseType: "arraybuffer", decompress: false });
  expect(raw.data).toEqual(gzipSync("inflated"));
  expect((await client.get<string>("/bom")).data).toBe("text");
  const { data: blob } = await client.get<Blob>("/gzip", { responseType: "blob" });
  expect(await blob.text()).toBe("inflated");
  const { data: stream } = await client.get<Readable>("/big", { responseType: "stream" });
  expect((await text(stream)).length).toBe(300_000);
  expect((await client.head("/")).data).toBe("");
  const { request, data } = await client.get<Echo>("/from");
  expect([data.url, (request as { res: { responseUrl: string } }).res.responseUrl]).toEqual([
    "/to",
    `${upstream.url}/to`,
  ]);
  expect(await rejection(client.get("/from", { maxRedirects: 0 }))).toMatchObject({ response: { status: 302 } });
  await expectSettled(pool, upstream);
});

test("axios reports progress", async () => {
  await using upstream = await server();
  await using pool = new HttpPool();
  const client = clientOf(pool, { baseURL: upstream.url });
  const down: AxiosProgressEvent[] = [];
  const up: AxiosProgressEvent[] = [];
  const { data } = await client.get<string>("/big", { onDownloadProgress: (event) => down.push(event) });
  expect(data.length).toBe(300_000);
  expect(down.at(-1)).toMatchObject({ loaded: 300_000, total: 300_000, progress: 1, download: true });
  const sent = await client.post<Echo>("/", "x".repeat(200_000), { onUploadProgress: (event) => up.push(event) });
  expect(sent.data.body.length).toBe(200_000);
  expect(up.length).toBeGreaterThan(1);
  expect(up.at(-1)).toMatchObject({ loaded: 200_000, total: 200_000, upload: true });
  const stream = await client.get<Readable>("/big", {
    responseType: "stream",
    onDownloadProgress: (event) => down.push(event),
  });
  await text(stream.data);
  expect(down.at(-1)).toMatchObject({ loaded: 300_000 });
  await expectSettled(pool, upstream);
});

test("a failure is an AxiosError with code, request and response", async () => {
  await using upstream = await server();
  await using pool = new HttpPool({ maxRetries: 0 });
  const client = clientOf(pool, { baseURL: upstream.url });
  const missing = await rejection<AxiosError>(client.get("/404"));
  expect(missing).toBeInstanceOf(AxiosError);
  expect(missing).toMatchObject({
    code: "ERR_BAD_REQUEST",
    status: 404,
    response: { data: { error: "none" } },
    message: "Request failed with status code 404",
  });
  expect(await rejection(client.get("/500"))).toMatchObject({ code: "ERR_BAD_RESPONSE", response: { status: 501 } });
  expect((await client.get("/404", { validateStatus: (status) => status === 404 })).status).toBe(404);
  const late = await rejection<AxiosError>(client.get("/hang", { timeout: 10 }));
  expect(late).toMatchObject({
    code: "ECONNABORTED",
    message: "timeout of 10ms exceeded",
    cause: { code: "ERR_VG_HTTP_TIMEOUT" },
  });
  const clear = { timeout: 10, transitional: { clarifyTimeoutError: true }, timeoutErrorMessage: "too slow" };
  expect(await rejection(client.get("/hang", clear))).toMatchObject({ code: "ETIMEDOUT", message: "too slow" });
  expect(await rejection(client.get("/loop"))).toMatchObject({ code: "ERR_FR_TOO_MANY_REDIRECTS" });
  expect(await rejection(client.get("/big", { maxContentLength: 10 }))).toMatchObject({ code: "ERR_BAD_RESPONSE" });
  const dead = await rejection<AxiosError>(client.get(`http://127.0.0.1:${await closedPort()}/`));
  expect(dead).toMatchObject({
    code: "ECONNREFUSED",
    request: { method: "GET" },
    cause: { code: "ERR_VG_HTTP_CONNECT" },
  });
  expect(dead.response).toBeUndefined();
  expect(await rejection(client.get("/", { socketPath: "/tmp/x" }))).toMatchObject({ code: "ERR_NOT_SUPPORT" });
  await expectSettled(pool, upstream);
});

test("an abort is axios's own cancellation, by signal and by token", async () => {
  let hanging = 0;
  await using upstream = await server(() => hanging++);
  await using pool = new HttpPool();
  const client = clientOf(pool, { baseURL: upstream.url });
  const abort = new AbortController();
  const bySignal = rejection(client.get("/hang", { signal: abort.signal }));
  const source = axios.CancelToken.source();
  const byToken = rejection(client.get("/hang", { cancelToken: source.token }));
  await vi.waitFor(() => expect(hanging).toBe(2));
  abort.abort();
  source.cancel("enough");
  expect(await bySignal).toBeInstanceOf(CanceledError);
  expect(axios.isCancel(await byToken)).toBe(true);
  await upstream.socketsDownTo(0);
  expect(pool.getStats()).toMatchObject({ canceled_count: 2, in_flight: 0 });
});

test("maxContentLength holds for every type of response, inflated and with a listener, and 0 is a limit", async () => {
  await using upstream = await server();
  await using pool = new HttpPool({ baseUrl: upstream.url, maxRetries: 0 });
  const client = clientOf(pool);
  const exceeded = { code: "ERR_BAD_RESPONSE", message: "maxContentLength size of 1000 exceeded" };
  const limit = { maxContentLength: 1000 };
  expect(await rejection(client.get("/big", limit))).toMatchObject(exceeded);
  expect(await rejection(client.get("/big", { ...limit, onDownloadProgress: () => {} }))).toMatchObject(exceeded);
  const { data } = await client.get<Readable>("/big", { ...limit, responseType: "stream" });
  expect(await rejection(text(data))).toMatchObject(exceeded);
  const nothing = { code: "ERR_BAD_RESPONSE", message: "maxContentLength size of 0 exceeded" };
  expect(await rejection(client.get("/bom", { maxContentLength: 0 }))).toMatchObject(nothing);
  expect((await client.head("/", { maxContentLength: 0 })).status).toBe(200);
  const headers = { "accept-encoding": "gzip" };
  expect(await rejection(client.get("/gzip", { headers, maxContentLength: 3 }))).toMatchObject({
    code: "ERR_BAD_RESPONSE",
  });
  expect((await client.get("/big", { maxContentLength: -1 })).status).toBe(200);
  await upstream.socketsDownTo(1);
});

test("maxBodyLength refuses what is in memory before anything is sent, and ends a stream that is longer", async () => {
  await using upstream = await server();
  await using pool = new HttpPool({ baseUrl: upstream.url });
  const client = clientOf(pool, { maxBodyLength: 10 });
  const refused = { code: "ERR_BAD_REQUEST", message: "Request body larger than maxBodyLength limit" };
  const form = new FormData();
  form.append("field", "some text");
  const params = new URLSearchParams({ field: "some text" });
  for (const body of ["x".repeat(11), "ü".repeat(6), Buffer.alloc(11), new Blob(["x".repeat(11)]), form, params]) {
    expect(await rejection(client.post("/", body))).toMatchObject(refused);
  }
  expect(pool.getStats().request_count).toBe(0);
  expect((await client.post<Echo>("/", "x".repeat(10))).data.body).toBe("x".repeat(10));
  expect((await client.post<Echo>("/", Readable.from(["12345", "67890"]))).data.body).toBe("1234567890");
  const source = Readable.from(["12345", "678901"]);
  const error = await rejection(client.post("/", source));
  expect(error).toMatchObject({ code: "ERR_FR_MAX_BODY_LENGTH_EXCEEDED", message: refused.message });
  expect(error).toBeInstanceOf(AxiosError);
  expect(source.destroyed).toBe(true);
});

test("a form and a Blob keep their types under a limit and with a listener", async () => {
  await using upstream = await server();
  await using pool = new HttpPool({ baseUrl: upstream.url });
  const client = clientOf(pool, { maxBodyLength: 1000, onUploadProgress: () => {} });
  const form = new FormData();
  form.append("field", "some text");
  const sent = await client.post<Echo>("/", form);
  expect(sent.data.headers["content-type"]).toMatch(/^multipart\/form-data; boundary=/);
  expect(sent.data.body).toContain("some text");
  const typed = await client.post<Echo>("/", new Blob(["{}"], { type: "application/json" }));
  expect([typed.data.headers["content-type"], typed.data.body]).toEqual(["application/json", "{}"]);
  const plain = await client.post<Echo>("/", new Blob(["x"]));
  expect(plain.data.headers["content-type"]).toBe("application/octet-stream");
});

test("a body whose encoding the caller has asked for is undone, but with decompress: false", async () => {
  await using upstream = await server();
  await using pool = new HttpPool({ baseUrl: upstream.url });
  const client = clientOf(pool, { headers: { "Accept-Encoding": "gzip" } });
  const whole = await client.get<string>("/gzip");
  expect([whole.data, whole.headers["content-encoding"]]).toEqual(["inflated", undefined]);
  const streamed = await client.get<Readable>("/gzip", { responseType: "stream" });
  expect(await text(streamed.data)).toBe("inflated");
  const raw = await client.get<Buffer>("/gzip", { responseType: "arraybuffer", decompress: false });
  expect([raw.data, raw.headers["content-encoding"]]).toEqual([gzipSync("inflated"), "gzip"]);
  await expectSettled(pool, upstream);
});

test("a listener of progress hears of every kind of body in memory, and what it throws ends no request", async () => {
  await using upstream = await server();
  await using pool = new HttpPool({ baseUrl: upstream.url });
  const client = clientOf(pool);
  for (const body of [
    "x".repeat(9),
    Buffer.alloc(9),
    new Blob(["x".repeat(9)]),
    new URLSearchParams({ a: "1234567" }),
  ]) {
    const up: AxiosProgressEvent[] = [];
    await client.post("/", body, { onUploadProgress: (event) => up.push(event) });
    expect(up).toHaveLength(1);
    expect(up[0]).toMatchObject({ loaded: 9, total: 9, progress: 1, bytes: 9, lengthComputable: true, upload: true });
    expect(up[0]?.rate).toBeGreaterThan(0);
  }
  const down: AxiosProgressEvent[] = [];
  await client.get("/big", { onDownloadProgress: (event) => down.push(event) });
  // The first piece and the last; in between no more than three a second.
  expect(down.reduce((sum, { bytes }) => sum + bytes, 0)).toBe(300_000);
  expect(down.at(-1)).toMatchObject({ loaded: 300_000, total: 300_000, progress: 1, estimated: 0, download: true });
  await expectSettled(pool, upstream);
});

test("a token that outlives its requests does not keep them", async () => {
  await using upstream = await server();
  await using pool = new HttpPool({ baseUrl: upstream.url });
  const client = clientOf(pool);
  const source = axios.CancelToken.source();
  const token = source.token as typeof source.token & { _listeners?: unknown[] | null };
  for (let i = 0; i < 3; i++) await client.get("/bom", { cancelToken: token });
  const { data } = await client.get<Readable>("/big", { cancelToken: token, responseType: "stream" });
  expect(token._listeners).toHaveLength(1);
  await text(data);
  await vi.waitFor(() => expect(token._listeners).toHaveLength(0));
});
