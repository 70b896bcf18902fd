import { currentRequest } from "@vg/pooled-server";
import { expect, test } from "vitest";
import { booksAreClosed } from "../support/books.ts";
import { gate, listen } from "../support/server.ts";
import { GET, POST, wire } from "../support/wire.ts";

const statusesIn = (text: string): string[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3})/g)].map(([, status]) => status ?? "");

test.each([
  ["no HTTP at all", "\u0016\u0003\u0001 hello\r\n\r\n"],
  ["a method that is none", "FETCH / HTTP/1.1\r\nHost: test\r\n\r\n"],
  ["a version that is none", "GET / HTTP/9.x\r\nHost: test\r\n\r\n"],
  ["a header without a name", "GET / HTTP/1.1\r\nHost: test\r\n: nothing\r\n\r\n"],
  ["a length that is no number", POST("Content-Length: many")],
  ["two lengths", POST("Content-Length: 5\r\nContent-Length: 6")],
  ["a length and chunks", POST("Content-Length: 5\r\nTransfer-Encoding: chunked")],
])("%s gets 400 as a document, is counted and logged, and the connection ends", async (_name, text) => {
  const { server, url, get, logs } = await listen((_request, response) => response.end("ok"));
  const client = await wire(url);
  client.send(text);
  const answer = await client.closed;
  expect(answer).toMatch(/^HTTP\/1\.1 400 Bad Request\r\nConnection: close/);
  expect(JSON.parse(answer.slice(answer.indexOf("\r\n\r\n")))).toEqual({
    error: { code: "invalid_request", message: "The request is not valid HTTP.", type: "api_error" },
  });
  expect(await booksAreClosed(server, get)).toMatchObject({ client_faults: { malformed: 1 } });
  expect(logs.find({ message: "A client's connection was ended" })).toMatchObject({
    level: "warn",
    reason: "malformed",
    client_address: "127.0.0.1",
    faults: 1,
  });
});

test("many of a kind make one line, and every one is counted", async () => {
  const { server, url, logs } = await listen((_request, response) => response.end("ok"));
  for (let i = 0; i < 20; i++) {
    const client = await wire(url);
    client.send("garbage\r\n\r\n");
    await client.closed;
  }
  expect(server.getAdmissionStats().client_faults.malformed).toBe(20);
  expect(logs.lines.filter(({ message }) => message === "A client's connection was ended")).toHaveLength(1);
});

test("a head above maxHeaderBytes gets 431, and its client can read that though it sends on", async () => {
  const { server, url, get } = await listen((_request, response) => response.end("ok"), { maxHeaderBytes: 4_096 });
  const client = await wire(url);
  client.send("GET / HTTP/1.1\r\nHost: test\r\n");
  for (let i = 0; i < 2_000 && !client.socket.destroyed && client.received() === ""; i++) {
    client.send(`x-${i}: ${"y".repeat(500)}\r\n`);
    await new Promise(setImmediate);
  }
  expect(await client.closed).toMatch(/^HTTP\/1\.1 431 [^]*headers_too_large/);
  expect(await booksAreClosed(server, get)).toMatchObject({ client_faults: { headers_too_large: 1 } });
});

test("more header fields than maxHeaderCount get 431, not a request that lacks some", async () => {
  const { server, url, get } = await listen((_request, response) => response.end("ok"), { maxHeaderCount: 20 });
  const fields = (count: number): string => Array.from({ length: count }, (_, i) => `x-${i}: 1\r\n`).join("");
  for (const [count, status] of [
    [19, "200"],
    [20, "431"],
    [300, "431"],
  ] as const) {
    const client = await wire(url);
    client.send(`GET / HTTP/1.1\r\nHost: test\r\n${fields(count)}\r\n`);
    expect(statusesIn(await client.until("\r\n\r\n"))).toEqual([status]);
  }
  const { refused_by_reason, client_faults } = await booksAreClosed(server, get);
  // Some versions of Node.js refuse by themselves what they would have to leave out.
  expect(refused_by_reason.too_many_headers + client_faults.headers_too_large).toBe(2);
});

test.each([
  ["without a Host header", "GET / HTTP/1.1\r\n\r\n", "400", "invalid_request", "no_host"],
  [
    "that expects what nobody knows",
    "GET / HTTP/1.1\r\nHost: test\r\nExpect: the-unexpected\r\n\r\n",
    "417",
    "invalid_request",
    "expectation",
  ],
] as const)("a request %s is refused, counted and logged like others", async (_, sent, status, code, reason) => {
  const { server, url, get, logs } = await listen((_request, response) => response.end("ok"));
  const client = await wire(url);
  client.send(sent);
  const answer = await client.closed;
  expect(statusesIn(answer)).toEqual([status]);
  expect(answer).toContain(code);
  expect(answer).toContain("x-request-id");
  expect((await booksAreClosed(server, get)).refused_by_reason[reason]).toBe(1);
  expect(logs.find({ message: "http_request" })).toMatchObject({ status_code: Number(status) });
});

test("a request of HTTP/1.0 needs no Host header", async () => {
  const { url } = await listen((_request, response) => response.end("ok"));
  const client = await wire(url);
  client.send("GET / HTTP/1.0\r\n\r\n");
  expect(statusesIn(await client.closed)).toEqual(["200"]);
});

test("a body that turns out malformed gets 400, aborts its handler, and is logged as 400", async () => {
  const begun = gate();
  const failed = gate<unknown>();
  const { server, url, get, logs } = await listen(async (request) => {
    const { signal } = currentRequest() as { signal: AbortSignal };
    try {
      for await (const _ of request) begun.open();
    } catch (error) {
      failed.open([error, signal.aborted]);
      throw error;
    }
  });
  const client = await wire(url);
  client.send(`${POST("Transfer-Encoding: chunked")}5\r\nhello\r\n`);
  await begun.opened;
  client.send("no length\r\n");
  expect(await client.closed).toMatch(/^HTTP\/1\.1 400 [^]*invalid_request/);
  expect(await failed.opened).toMatchObject([{ code: "ERR_VG_SERVER_CLIENT_FAULT", reason: "malformed" }, true]);
  expect(await booksAreClosed(server, get)).toMatchObject({ client_faults: { malformed: 1 } });
  expect(logs.find({ message: "http_request" })).toMatchObject({ status_code: 400 });
});

test("garbage behind good requests leaves these their answers, in order, and gets its own after them", async () => {
  const release = gate();
  const { server, url, get } = await listen(async (request, response) => {
    await release.opened;
    response.end(`answer to ${request.url}`);
  });
  const client = await wire(url);
  client.send(`${GET("/1")}${GET("/2")}garbage\r\n\r\nmore garbage`);
  await expect.poll(() => server.getAdmissionStats().client_faults.malformed).toBe(1);
  client.send("and more");
  release.open();
  const answers = await client.closed;
  expect(statusesIn(answers)).toEqual(["200", "200", "400"]);
  expect(answers.indexOf("answer to /1")).toBeLessThan(answers.indexOf("answer to /2"));
  await booksAreClosed(server, get);
});

test("a flood of pipelined requests is answered in order, and no more of them than allowed are handled at once", async () => {
  let handledNow = 0;
  let handledAtMost = 0;
  const full = gate();
  const { server, url, get } = await listen(
    async (_request, response) => {
      handledAtMost = Math.max(handledAtMost, ++handledNow);
      if (handledNow === 10) full.open();
      await full.opened;
      handledNow--;
      response.end("ok");
    },
    { maxPipelinedRequests: 10 },
  );
  const client = await wire(url);
  client.send(GET().repeat(500));
  const answers = statusesIn(await client.closed);
  expect(answers.slice(0, 11)).toEqual([...Array.from({ length: 10 }, () => "200"), "503"]);
  expect(handledAtMost).toBe(10);
  const stats = await booksAreClosed(server, get);
  expect(stats.refused_by_reason.pipelining).toBeGreaterThan(0);
  expect(stats.admitted_count).toBe(10);
});

test("a connection has as many requests as maxRequestsPerSocket, and the rest are counted", async () => {
  const { server, url, get } = await listen((_request, response) => response.end("ok"), { maxRequestsPerSocket: 2 });
  const client = await wire(url);
  client.send(GET().repeat(3));
  expect(statusesIn(await client.until("HTTP/1.1 503"))).toEqual(["200", "200", "503"]);
  expect(await booksAreClosed(server, get)).toMatchObject({ client_faults: { max_requests: 1 } });
});

test("what follows a request that ends the connection is not worked on, and is nobody's failure", async () => {
  const seen: unknown[] = [];
  const { server, url, get, logs } = await listen(
    (request, response) => {
      seen.push(request.url);
      response.end("ok");
    },
    { maxBodyBytes: 10 },
  );
  const client = await wire(url);
  client.send(`${GET("/1")}${POST("Content-Length: 20", "/2")}${"x".repeat(20)}${GET("/3")}`);
  expect(statusesIn(await client.closed)).toEqual(["200", "413"]);
  await booksAreClosed(server, get);
  expect(seen).toEqual(["/1"]);
  const statuses = logs.filter({ message: "http_request" }).map((line) => [line["path"], line["status_code"]]);
  expect(statuses).toEqual(
    expect.arrayContaining([
      ["/1", 200],
      ["/2", 413],
      ["/3", 499],
    ]),
  );
});
