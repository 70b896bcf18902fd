import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { currentRequest, type BaseServer } from "@vg/pooled-server";
import { expect, test } from "vitest";
import { booksAreClosed } from "../support/books.ts";
import { fakeTime } from "../support/fake-time.ts";
import { listen } from "../support/server.ts";
import { POST, wire } from "../support/wire.ts";

const LIMIT = 1_000;
const CHUNKED = "Transfer-Encoding: chunked";

const chunk = (text: string): string => `${text.length.toString(16)}\r\n${text}\r\n`;

async function readAll(request: IncomingMessage): Promise<string> {
  let text = "";
  for await (const piece of request) text += String(piece);
  return text;
}

const echoLength: BaseServer = async (request, response) => {
  response.end(String((await readAll(request)).length));
};

test("a declared body above the limit gets 413 before it is sent, and its handler never runs", async () => {
  let handled = 0;
  const { server, url, get } = await listen(
    (_request, response) => {
      handled++;
      response.end();
    },
    { maxBodyBytes: LIMIT },
  );
  const client = await wire(url);
  client.send(POST(`Content-Length: ${LIMIT + 1}`));
  const answer = await client.closed;
  expect(answer).toMatch(/^HTTP\/1.1 413 /);
  expect(answer).toMatch(/connection: close/i);
  expect(answer).toContain('"code":"payload_too_large"');
  expect(handled).toBe(0);
  expect(await booksAreClosed(server, get)).toMatchObject({ refused_by_reason: { body_too_large: 1 } });
});

test("a client that was told 413 and sends nothing is 413 in log and metrics, also where bodies have little grace", async () => {
  const { server, url, get, logs } = await listen(echoLength, { maxBodyBytes: LIMIT, bodyGraceMs: 50 });
  const client = await wire(url);
  client.send(POST(`Content-Length: ${LIMIT + 1}`));
  expect(await client.closed).toMatch(/^HTTP\/1.1 413 /);
  await booksAreClosed(server, get);
  expect(logs.find("http_request")).toMatchObject({ status_code: 413 });
});

test("a body at the limit is served, and so is one without a limit", async () => {
  const { url } = await listen(echoLength, { maxBodyBytes: LIMIT });
  const post = async (to: string, body: string | ReadableStream): Promise<string> =>
    (await fetch(to, { method: "POST", body, duplex: "half" } as RequestInit)).text();
  expect(await post(url, "x".repeat(LIMIT))).toBe(String(LIMIT));
  expect(await post(url, new Blob(["x".repeat(LIMIT)]).stream())).toBe(String(LIMIT));
  const open = await listen(echoLength, { maxBodyBytes: 0 });
  expect(await post(open.url, new Blob(["x".repeat(20_000_000)]).stream())).toBe("20000000");
});

test("the client of a body that is far too large gets to read why, though it is sending still", async () => {
  const { server, url, get } = await listen(echoLength, { maxBodyBytes: LIMIT });
  for (const headers of ["Content-Length: 100000000", CHUNKED]) {
    const client = await wire(url);
    client.send(POST(headers));
    const piece = headers === CHUNKED ? chunk("x".repeat(60_000)) : "x".repeat(60_000);
    while (!client.socket.destroyed && !client.received().includes("payload_too_large")) {
      client.send(piece);
      await new Promise(setImmediate);
    }
    expect(client.received()).toMatch(/^HTTP\/1.1 413 /);
    expect(await client.closed).toContain("larger than");
  }
  await booksAreClosed(server, get);
});

/** Handlers that read in their own ways, and what they say of a body that did not come to its end. */
const READERS: Record<string, (request: IncomingMessage) => Promise<unknown>> = {
  "by for await": readAll,
  "by events": (request) =>
    new Promise((resolve, reject) => {
      request.on("data", () => undefined);
      request.on("end", () => resolve("ended"));
      request.on("error", reject);
    }),
  "when all is over": async (request) => {
    const { signal } = currentRequest() as { signal: AbortSignal };
    if (!signal.aborted) await once(signal, "abort");
    return readAll(request);
  },
  "by pauses": async (request) => {
    request.on("data", () => {
      request.pause();
      setTimeout(() => request.resume(), 1);
    });
    await once(request, "end");
  },
};

test.each(Object.keys(READERS))(
  "a body in chunks that grows above the limit gets 413, and a handler that reads it %s never takes the part for the whole",
  async (way) => {
    const outcomes: string[] = [];
    const reasons: unknown[] = [];
    const { server, url, get, logs } = await listen(
      async (request, response) => {
        const { signal } = currentRequest() as { signal: AbortSignal };
        try {
          await READERS[way]?.(request);
          outcomes.push("whole");
          response.end("whole");
        } catch (error) {
          outcomes.push("failed");
          reasons.push((error as { code?: string }).code, (signal.reason as { code?: string }).code);
          throw error;
        }
      },
      { maxBodyBytes: LIMIT },
    );
    const client = await wire(url);
    client.send(POST(CHUNKED) + chunk("x".repeat(900)));
    await new Promise(setImmediate);
    client.send(`${chunk("x".repeat(200))}0\r\n\r\n`);
    expect(await client.closed).toMatch(/^HTTP\/1.1 413 [^]*payload_too_large/);
    await expect.poll(() => outcomes).toEqual(["failed"]);
    expect(reasons).toEqual(["ERR_VG_SERVER_CLIENT_FAULT", "ERR_VG_SERVER_CLIENT_FAULT"]);
    expect(await booksAreClosed(server, get)).toMatchObject({ client_faults: { body_too_large: 1 } });
    expect(logs.find({ message: "http_request" })).toMatchObject({ status_code: 413 });
    expect(logs.find({ message: "A client's connection was ended" })).toMatchObject({ reason: "body_too_large" });
    expect(logs.find({ message: "The request's handler failed" })).toBeUndefined();
  },
);

test("a client that is sending still has time to read its 413, also where its handler has failed with that", async () => {
  // Which stands still: however long this takes, the time to read is not over.
  const time = fakeTime();
  const { url, get, server } = await listen(
    async (request, response) => {
      await READERS["by events"]?.(request);
      response.end("whole");
    },
    { maxBodyBytes: LIMIT, clock: time.clock },
  );
  const client = await wire(url);
  client.send(POST(CHUNKED) + chunk("x".repeat(2_000)));
  await client.until(/^HTTP\/1.1 413 [^]*payload_too_large/);
  expect((await fetch(`${url}/elsewhere`)).status).toBe(200);
  expect(client.socket.readyState).toBe("open");
  await time.advance(500);
  await client.closed;
  await booksAreClosed(server, get);
});

test("a handler that does not read the body is told by its signal", async () => {
  const { server, url, get } = await listen(
    (_request: IncomingMessage, response: ServerResponse) => {
      const { signal } = currentRequest() as { signal: AbortSignal };
      signal.addEventListener("abort", () => response.writeHead(413).end("in my own words"));
    },
    { maxBodyBytes: LIMIT },
  );
  const client = await wire(url);
  client.send(POST(CHUNKED) + chunk("x".repeat(2_000)));
  expect(await client.closed).toMatch(/^HTTP\/1.1 413 [^]*in my own words/);
  await booksAreClosed(server, get);
});

test("an answer that has begun is broken off, so that nobody takes it for a good one", async () => {
  const { server, url, get, logs } = await listen(
    (request, response) => {
      request.on("error", () => undefined).resume();
      response.writeHead(200, { "content-length": 100 }).write("half");
    },
    { maxBodyBytes: LIMIT },
  );
  const client = await wire(url);
  client.send(POST(CHUNKED));
  await client.until("half");
  client.send(chunk("x".repeat(2_000)));
  expect(await client.closed).toMatch(/half$/);
  await booksAreClosed(server, get);
  expect(logs.find({ message: "http_request" })).toMatchObject({ status_code: 413 });
});

test("a client that asks before it sends is told to, or refused without sending", async () => {
  const { url } = await listen(echoLength, { maxBodyBytes: LIMIT });
  const welcome = await wire(url);
  welcome.send(POST("Expect: 100-continue\r\nContent-Length: 5"));
  await welcome.until("100 Continue");
  welcome.send("hello");
  expect(await welcome.until("\r\n5")).toContain("200 OK");
  const unwelcome = await wire(url);
  unwelcome.send(POST("Expect: 100-continue\r\nContent-Length: 5000"));
  const answer = await unwelcome.closed;
  expect(answer).toMatch(/^HTTP\/1.1 413/);
  expect(answer).not.toContain("100 Continue");
});

test("a refused request leaves its connection for the next one", async () => {
  const { url } = await listen(echoLength, { rateLimitPerSecond: 1, clock: { now: () => 0 } });
  const client = await wire(url);
  client.send(`${POST("Content-Length: 3")}abc${POST("Content-Length: 3")}abc${POST("Content-Length: 3")}abc`);
  const answers = await client.until("HTTP/1.1 429", 2);
  expect(answers).toMatch(/^HTTP\/1.1 200 /);
  expect(answers).not.toMatch(/connection: close/i);
});
