import fc from "fast-check";
import { expect, test } from "vitest";
import { Records } from "../../src/testing/records.ts";
import { RequestParser } from "../../src/testing/request-parser.ts";

function parse(pieces: readonly Uint8Array[]) {
  const records = new Records({ maxRequests: 100, maxBodyBytes: 100_000 });
  const told: string[] = [];
  const parser = new RequestParser({
    started: () => records.add({ connection: 0, onConnection: records.count }),
    head: ({ path }) => void told.push(`head ${path}`),
    complete: ({ path }) => void told.push(`complete ${path}`),
    broken: (reason) => void told.push(reason),
  });
  for (const piece of pieces) parser.push(Buffer.from(piece));
  return { told, requests: records.list.map(({ method, path, body, state }) => [method, path, String(body), state]) };
}

const bodyText = fc.string({ maxLength: 200 });
const request = fc.record({
  method: fc.constantFrom("GET", "POST", "PUT"),
  path: fc.constantFrom("/", "/a?b=c", "/long/er"),
  body: bodyText,
  chunks: fc.option(fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 5 }), { nil: undefined }),
  trailer: fc.boolean(),
  blankLines: fc.nat(2),
});

test("requests are found whole, wherever the bytes are split", () => {
  fc.assert(
    fc.property(fc.array(request, { maxLength: 5 }), fc.array(fc.nat(400), { maxLength: 12 }), (requests, cuts) => {
      const wire = Buffer.concat(
        requests.map(({ method, path, body, chunks, trailer, blankLines }) => {
          const bytes = Buffer.from(body);
          const start = `${"\r\n".repeat(blankLines)}${method} ${path} HTTP/1.1\r\nHost: x\r\n`;
          if (chunks === undefined) {
            return Buffer.concat([Buffer.from(`${start}Content-Length: ${bytes.length}\r\n\r\n`), bytes]);
          }
          const parts = [Buffer.from(`${start}transfer-encoding: chunked\r\n\r\n`)];
          for (let at = 0, i = 0; at < bytes.length; i++) {
            const piece = bytes.subarray(at, at + (chunks[i % chunks.length] as number));
            at += piece.length;
            parts.push(Buffer.from(`${piece.length.toString(16)};x=1\r\n`), piece, Buffer.from("\r\n"));
          }
          parts.push(Buffer.from(`0\r\n${trailer ? "x-sum: 1\r\n" : ""}\r\n`));
          return Buffer.concat(parts);
        }),
      );
      const places = [...new Set([0, ...cuts.filter((cut) => cut < wire.length), wire.length])].toSorted(
        (a, b) => a - b,
      );
      const pieces = places.slice(1).map((end, i) => wire.subarray(places[i], end));
      const { told, requests: seen } = parse(pieces);
      expect(seen).toEqual(requests.map(({ method, path, body }) => [method, path, body, "complete"]));
      expect(told).toEqual(requests.flatMap(({ path }) => [`head ${path}`, `complete ${path}`]));
    }),
    { numRuns: 300 },
  );
});

test.each([
  ["a request line", "what is this\r\n\r\n", 'the client sent the request line "what is this"'],
  ["a header line", "GET / HTTP/1.1\r\nnonsense\r\n\r\n", 'the client sent the header line "nonsense"'],
  ["a chunk size", "GET / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n", 'a chunk of the size "xyz"'],
  ["a head without an end", `GET /${"a".repeat(1_100_000)}`, "a request head of more than 1048576 bytes"],
])("%s that is none is told of", (_name, wire, reason) => {
  expect(parse([Buffer.from(wire)]).told.at(-1)).toContain(reason);
});

test("what came of a request that breaks off is known", () => {
  expect(parse([Buffer.from("POST /a HT")]).requests).toEqual([["", "", "", "head"]]);
  expect(parse([Buffer.from("POST /a HTTP/1.1\r\ncontent-length: 10\r\n\r\n1234")]).requests).toEqual([
    ["POST", "/a", "1234", "body"],
  ]);
});

test("of long bodies and of many requests only so much is kept", () => {
  const records = new Records({ maxRequests: 3, maxBodyBytes: 5 });
  for (let i = 0; i < 20; i++) records.add({ connection: 0, onConnection: i }).addBody(Buffer.from("1234567"));
  expect(records.count).toBe(20);
  expect(records.list.length).toBeLessThanOrEqual(6);
  expect(records.list.at(-1)).toMatchObject({ number: 19, bodyBytes: 7 });
  expect(String(records.list.at(-1)?.body)).toBe("12345");
});
