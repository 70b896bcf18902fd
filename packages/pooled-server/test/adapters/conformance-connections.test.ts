import { describe, expect, test } from "vitest";
import { wire } from "../support/wire.ts";
import { listen } from "../support/server.ts";
import { hooks, KINDS } from "./services.ts";

describe.each(KINDS)("$name", ({ make }) => {
  test("one connection serves many requests, also after a body that nobody read", async () => {
    const { url } = await listen(await make(hooks()));
    const { socket, until } = await wire(url);
    const body = "x".repeat(300_000);
    for (let round = 1; round <= 3; round++) {
      const post = `POST /ignore HTTP/1.1\r\nhost: h\r\ncontent-type: text/x\r\ncontent-length: ${body.length}\r\n\r\n`;
      socket.write(`${post}${body}GET /text HTTP/1.1\r\nhost: h\r\n\r\n`);
      expect((await until("some text", round)).match(/HTTP\/1\.1 200/g)).toHaveLength(2 * round);
    }
    socket.destroy();
  });

  test("pipelined requests are answered in their order", async () => {
    const { url } = await listen(await make(hooks()));
    const { socket, until } = await wire(url);
    socket.write(
      ["/rejects", "/text", "/orgs/a/items/1", "/orgs/a/items/2"]
        .map((path) => `GET ${path} HTTP/1.1\r\nhost: h\r\n\r\n`)
        .join(""),
    );
    const text = await until('"id":"2"');
    const places = ["HTTP/1.1 500", "some text", '"id":"1"', '"id":"2"'].map((each) => text.indexOf(each));
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    expect(places).not.toContain(-1);
    socket.destroy();
  });

  test("a malformed request is a 400, and the server goes on", async () => {
    const { url, get } = await listen(await make(hooks()));
    const { socket, until, closed } = await wire(url);
    socket.write("GET /text HTTP/1.1\r\nhost: h\r\nbroken header\r\n\r\n");
    expect(await until("HTTP/1.1 400")).not.toContain("some text");
    await closed;
    expect((await get("/text")).status).toBe(200);
  });

  test("a client that waits for 100 Continue gets it, and its answer", async () => {
    const { url } = await listen(await make(hooks()));
    const { socket, until } = await wire(url);
    socket.write(
      "POST /count HTTP/1.1\r\nhost: h\r\ncontent-type: text/x\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n",
    );
    await until("HTTP/1.1 100 Continue");
    socket.write("body");
    await until('{"bytes":4}');
    socket.destroy();
  });

  test("an upgrade that nobody takes is an ordinary request", async () => {
    const { url } = await listen(await make(hooks()));
    const { socket, until } = await wire(url);
    socket.write("GET /text HTTP/1.1\r\nhost: h\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n");
    expect(await until("some text")).toContain("HTTP/1.1 200");
    socket.destroy();
  });

  test("a connection that ends within a body ends its request, and nothing else", async () => {
    const { url, get, logs } = await listen(await make(hooks()));
    const { socket } = await wire(url);
    socket.write("POST /count HTTP/1.1\r\nhost: h\r\ncontent-type: text/x\r\ncontent-length: 100\r\n\r\nhalf");
    await expect
      .poll(async () => /http_server_active_requests 1/.test(await (await get("/metrics")).text()))
      .toBe(true);
    socket.destroy();
    await expect.poll(() => logs.find({ message: "http_request" })).toMatchObject({ path: "/count", status_code: 499 });
    expect((await get("/text")).status).toBe(200);
  });
});
