import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import { setImmediate as turn } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { gate, listen } from "../support/server.ts";
import { BIG_PIECE, BIG_PIECES, hooks, KINDS } from "./services.ts";

const MIB = 1024 * 1024;

describe.each(KINDS)("$name", ({ make }) => {
  test("streams both ways at once: what came is answered before the rest is sent", async () => {
    const { url } = await listen(await make(hooks()));
    const request = httpRequest(`${url}/upper`, { method: "POST", headers: { "content-type": "text/plain" } });
    request.write("first ");
    const [response] = (await once(request, "response")) as [IncomingMessage];
    const [piece] = (await once(response, "data")) as [Buffer];
    expect(piece.toString()).toBe("FIRST ");
    request.end("second");
    let rest = "";
    for await (const chunk of response) rest += String(chunk);
    expect(rest).toBe("SECOND");
  });

  test("server-sent events arrive whole, and inside the request's context", async () => {
    const its = hooks();
    const { get } = await listen(await make(its));
    const response = await get("/events", { "x-request-id": "sse" });
    expect(response.headers.get("content-type")).toMatch(/^text\/event-stream/);
    expect(await response.text()).toBe("data: 0\n\ndata: 1\n\ndata: 2\n\n");
    expect(its.seen).toEqual(["sse", "sse", "sse"]);
  });

  test("an answer is made no faster than its client reads", async () => {
    const its = hooks();
    const { url } = await listen(await make(its));
    const request = httpRequest(`${url}/big`).end();
    const [response] = (await once(request, "response")) as [IncomingMessage];
    response.pause();
    // It stands still when what is between the two is full: well before its end.
    let before = -1;
    while (its.produced !== before) {
      before = its.produced;
      for (let round = 0; round < 200; round++) await turn();
    }
    expect(its.produced).toBeLessThan(BIG_PIECES);
    let bytes = 0;
    for await (const chunk of response) bytes += (chunk as Buffer).length;
    expect(bytes).toBe(BIG_PIECES * BIG_PIECE.length);
    expect(its.produced).toBe(BIG_PIECES);
  });

  test("a body is taken no faster than its handler reads", async () => {
    const mayRead = gate();
    const its = { ...hooks(), mayRead: mayRead.opened };
    const { url } = await listen(await make(its), { maxBodyBytes: 0 });
    const request = httpRequest(`${url}/slow-count`, { method: "POST", headers: { "content-length": 32 * MIB } });
    const answered = once(request, "response") as Promise<[IncomingMessage]>;
    let sent = 0;
    const send = (): void => {
      while (sent < 32 && request.write(Buffer.alloc(MIB))) sent++;
    };
    request.on("drain", () => {
      sent++;
      send();
    });
    send();
    let before = -1;
    while (sent !== before) {
      before = sent;
      for (let round = 0; round < 200; round++) await turn();
    }
    expect(sent).toBeLessThan(32);
    mayRead.open();
    const [response] = await answered;
    let text = "";
    for await (const chunk of response) text += String(chunk);
    expect(JSON.parse(text)).toEqual({ bytes: 32 * MIB });
    request.end();
  });

  test("a big body in chunks arrives whole, and every piece inside the request's context", async () => {
    const its = hooks();
    const { url } = await listen(await make(its));
    async function* pieces(): AsyncGenerator<Uint8Array> {
      for (let piece = 0; piece < 40; piece++) {
        yield Buffer.alloc(100_000, piece);
        await turn();
      }
    }
    const response = await fetch(`${url}/count`, {
      method: "POST",
      headers: { "x-request-id": "big", "content-type": "text/plain" },
      body: ReadableStream.from(pieces()),
      duplex: "half",
    });
    expect(await response.json()).toEqual({ bytes: 4_000_000 });
    expect(new Set(its.seen)).toEqual(new Set(["big"]));
  });

  test("listeners and parsers that wait for a big body are inside the request's context", async () => {
    const its = hooks();
    const { url, logs } = await listen(await make(its));
    const request = httpRequest(`${url}/listen`, {
      method: "POST",
      headers: { "x-request-id": "events", "content-type": "application/x-any" },
    });
    for (let piece = 0; piece < 10; piece++) {
      request.write(Buffer.alloc(100_000));
      await turn();
    }
    request.end();
    const [response] = (await once(request, "response")) as [IncomingMessage];
    let text = "";
    for await (const chunk of response) text += String(chunk);
    expect(JSON.parse(text)).toEqual({ bytes: 1_000_000 });
    await expect.poll(() => logs.find({ message: "http_request" })).toBeDefined();
    expect(its.seen.length).toBeGreaterThan(1);
    expect(new Set(its.seen)).toEqual(new Set(["events"]));
  });
});
