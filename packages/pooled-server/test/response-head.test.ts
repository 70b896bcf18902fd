import { once } from "node:events";
import { createServer, type RequestListener, type ServerResponse } from "node:http";
import { createConnection, type AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { expect, onTestFinished, test } from "vitest";
import {
  headerIn,
  ownStoredHead,
  ownWrittenHead,
  type HeadOwner,
  type HeadWatcher,
} from "../src/head/response-head.ts";

type Own = (response: ServerResponse, owner: HeadOwner) => void;

/** Both ways to the same head: where Node.js puts it together, and by `writeHead`. */
const WAYS: [string, Own][] = [
  ["where Node.js stores it", ownStoredHead],
  ["by writeHead", ownWrittenHead],
];

/** The lines of the head that a listener's answer has on the wire, and how often its owner was told of it. */
async function headOf(
  own: Own,
  listener: RequestListener,
): Promise<{ lines: string[]; told: number; contentType: string }> {
  let told = 0;
  let contentType = "";
  const headOut: HeadWatcher["headOut"] = (_owner, headers) => {
    told++;
    contentType = headerIn(headers, "content-type");
  };
  const server = createServer((request, response) => {
    const late = ["x-request-id", "r-1", "x-left", "7"];
    own(response, { lateHeaders: late, headWatcher: { headOut } });
    listener(request, response);
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => void server.close());
  const socket = createConnection((server.address() as AddressInfo).port, "127.0.0.1");
  socket.write("GET / HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
  const [head = ""] = (await text(socket)).split("\r\n\r\n", 1);
  return { lines: head.split("\r\n"), told, contentType };
}

for (const [way, own] of WAYS) {
  const named = (lines: readonly string[], name: string): string[] =>
    lines.filter((line) => line.toLowerCase().startsWith(`${name}:`)).map((line) => line.slice(name.length + 2));

  test(`late headers are in an implicit head, once each, ${way}`, async () => {
    const { lines, told } = await headOf(own, (_, response) => response.end("ok"));
    expect(lines[0]).toBe("HTTP/1.1 200 OK");
    expect(named(lines, "x-request-id")).toEqual(["r-1"]);
    expect(named(lines, "x-left")).toEqual(["7"]);
    expect(named(lines, "content-length")).toEqual(["2"]);
    expect(told).toBe(1);
  });

  const writers: [string, RequestListener][] = [
    ["a record", (_, response) => response.writeHead(201, { "content-type": "a/b" }).end()],
    ["a record after a reason", (_, response) => response.writeHead(201, "Made", { "content-type": "a/b" }).end()],
    ["a flat array", (_, response) => response.writeHead(201, ["content-type", "a/b"]).end()],
    ["setHeader", (_, response) => response.setHeader("content-type", "a/b").writeHead(201).end()],
    [
      "setHeader and a record",
      (_, response) => response.setHeader("x", 1).writeHead(201, { "content-type": "a/b" }).end(),
    ],
  ];
  for (const [how, listener] of writers) {
    test(`late headers stand beside those that the handler gives by ${how}, ${way}`, async () => {
      const { lines, contentType } = await headOf(own, listener);
      expect(lines[0]).toMatch(/^HTTP\/1\.1 201 /);
      expect(contentType).toMatch(/^(content-type,)?a\/b$/i);
      expect(named(lines, "content-type")).toEqual(["a/b"]);
      expect(named(lines, "x-request-id")).toEqual(["r-1"]);
      expect(named(lines, "x-left")).toEqual(["7"]);
    });
  }

  const owners: [string, RequestListener][] = [
    ["a record", (_, response) => response.writeHead(200, { "X-Request-ID": "mine" }).end()],
    ["a flat array", (_, response) => response.writeHead(200, ["X-Request-ID", "mine"]).end()],
    ["setHeader", (_, response) => response.setHeader("X-Request-ID", "mine").end()],
    [
      "setHeader before a record",
      (_, response) => response.setHeader("x-request-id", "mine").writeHead(200, { a: "b" }).end(),
    ],
  ];
  for (const [how, listener] of owners) {
    test(`a header of the handler's own by ${how} stands in the place of the late one, ${way}`, async () => {
      const { lines } = await headOf(own, listener);
      expect(named(lines, "x-request-id")).toEqual(["mine"]);
      expect(named(lines, "x-left")).toEqual(["7"]);
    });
  }

  test(`a head that Node.js refuses is refused, and the next one has the late headers, ${way}`, async () => {
    const { lines } = await headOf(own, (_, response) => {
      expect(() => response.writeHead(200, { "x-bad": "a\r\nb" })).toThrow("Invalid character");
      expect(response.headersSent).toBe(false);
      response.writeHead(500, { "content-length": 0 }).end();
    });
    expect(lines[0]).toMatch(/^HTTP\/1\.1 500 /);
    expect(named(lines, "x-request-id")).toEqual(["r-1"]);
    expect(named(lines, "x-bad")).toEqual([]);
  });

  test(`a second head is refused as ever, ${way}`, async () => {
    const { told } = await headOf(own, (_, response) => {
      response.writeHead(200);
      expect(() => response.writeHead(200)).toThrow(/ERR_HTTP_HEADERS_SENT|after they are sent/);
      response.end();
    });
    expect(told).toBe(1);
  });
}
