import { gzipSync, brotliCompressSync, deflateRawSync, deflateSync, zstdCompressSync } from "node:zlib";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { HttpPool, HttpProtocolError } from "../src/index.ts";
import { decodeBody, decodeStreams } from "../src/exchange/decode.ts";
import { httpServer, rejection } from "./support/fault-server.ts";

const CODINGS: Record<string, (data: string | Buffer) => Buffer> = {
  gzip: gzipSync,
  deflate: deflateSync,
  "bare deflate": deflateRawSync,
  br: brotliCompressSync,
  zstd: zstdCompressSync,
};
const named = (coding: string): string => coding.split(" ").at(-1) as string;

const server = (coding: string, pieces: readonly Buffer[]) =>
  httpServer((_request, response) => {
    response.setHeader("content-encoding", named(coding));
    const send = (at: number): void => {
      const piece = pieces[at];
      if (piece === undefined) return void response.end();
      response.write(piece);
      setImmediate(send, at + 1);
    };
    send(0);
  });

/** How a body is read: each gives its text, or fails. */
const READERS: Record<string, (pool: HttpPool, url: string) => Promise<string>> = {
  "in memory": async (pool, url) => (await pool.get(url)).text(),
  "as a stream": async (pool, url) => (await pool.get(url, { stream: true })).text(),
  "by fetch": async (pool, url) => (await pool.fetch(url)).text(),
  "by fetch, piece by piece": async (pool, url) => {
    let text = "";
    for await (const piece of (await pool.fetch(url)).body as ReadableStream<Uint8Array>)
      text += Buffer.from(piece).toString();
    return text;
  },
};
const READS = Object.entries(READERS);

test.each(READS)("a byte behind the end of deflate does not hang its reader: %s", async (_name, read) => {
  for (const coding of ["deflate", "bare deflate"]) {
    const body = CODINGS[coding]!;
    for (const pieces of [[Buffer.concat([body("hi"), Buffer.from("\n")])], [body("hi"), Buffer.from("\n")]]) {
      await using upstream = await server(coding, pieces);
      await using pool = new HttpPool();
      expect(await read(pool, upstream.url)).toBe("hi");
    }
  }
});

test.each(READS)(
  "many bytes behind the end of deflate are read away, and the connection is kept: %s",
  async (_name, read) => {
    await using upstream = await server("deflate", [
      deflateSync("hi"),
      ...Array.from({ length: 30 }, () => Buffer.alloc(20_000, 1)),
    ]);
    await using pool = new HttpPool();
    expect(await read(pool, upstream.url)).toBe("hi");
    await pool.health(upstream.url);
  },
);

test.each(READS)("a zstd body of several frames is read to its end: %s", async (_name, read) => {
  const long = "x".repeat(300_000);
  const frames = [zstdCompressSync("one "), zstdCompressSync(""), zstdCompressSync(long), zstdCompressSync(" three")];
  // A skippable frame of five bytes.
  const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 5, 0, 0, 0, 1, 2, 3, 4, 5]);
  const all = Buffer.concat([...frames.slice(0, 2), skippable, ...frames.slice(2)]);
  for (const pieces of [
    [all],
    [all.subarray(0, 7), all.subarray(7, 30), all.subarray(30)],
    [...all].map((byte) => Buffer.from([byte])),
  ]) {
    await using upstream = await server("zstd", pieces);
    await using pool = new HttpPool();
    expect(await read(pool, upstream.url)).toBe(`one ${long} three`);
  }
});

test("zstd frames that inflate to more than maxResponseBytes together are refused", async () => {
  const frame = zstdCompressSync("x".repeat(60_000));
  await using upstream = await server("zstd", [Buffer.concat([frame, frame])]);
  await using pool = new HttpPool({ maxResponseBytes: 100_000 });
  expect(await rejection(pool.get(upstream.url))).toMatchObject({ code: "ERR_VG_HTTP_BODY_TOO_LARGE" });
});

test.each(READS)("what follows br or zstd and is no part of it fails, and is not dropped: %s", async (_name, read) => {
  for (const coding of ["br", "zstd"]) {
    const body = CODINGS[coding]!;
    const rests = [Buffer.from("\n"), Buffer.alloc(200_000, 1), ...(coding === "br" ? [body("second")] : [])];
    for (const rest of rests) {
      for (const pieces of [[Buffer.concat([body("first"), rest])], [body("first"), rest]]) {
        await using upstream = await server(coding, pieces);
        await using pool = new HttpPool();
        const error = await rejection(read(pool, upstream.url));
        expect(error.cause instanceof HttpProtocolError ? error.cause : error).toMatchObject({
          code: "ERR_VG_HTTP_PROTOCOL",
        });
      }
    }
  }
});

test("reading always ends, whatever stands before, in and behind compressed data", async () => {
  const bytes = fc.uint8Array({ maxLength: 40 }).map((array) => Buffer.from(array));
  const large = fc.constantFrom("ones", "zeros").map((what) => Buffer.alloc(70_000, what === "ones" ? 1 : 0));
  const part = fc.oneof(
    bytes,
    large,
    fc
      .tuple(fc.constantFrom(...Object.keys(CODINGS)), fc.oneof(bytes, large))
      .map(([coding, data]) => CODINGS[coding]!(data)),
  );
  const cut = (data: Buffer, sizes: readonly number[]): Buffer[] => {
    const pieces: Buffer[] = [];
    let at = 0;
    for (const size of sizes) pieces.push(data.subarray(at, (at += size)));
    return [...pieces, data.subarray(at)];
  };
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom("gzip", "deflate", "br", "zstd"),
      fc.array(part, { minLength: 1, maxLength: 4 }),
      fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 6 }),
      fc.nat(1000),
      async (coding, parts, sizes, cutOff) => {
        const all = Buffer.concat(parts);
        const data = cutOff < 200 ? all.subarray(0, Math.max(0, all.length - cutOff)) : all;
        const buffered = await decodeBody(data, [coding], 10_000_000);
        const [stream] = decodeStreams([coding]);
        const read = async (): Promise<Buffer | undefined> => {
          const chunks: Buffer[] = [];
          try {
            for await (const chunk of stream!) chunks.push(chunk as Buffer);
          } catch {
            return undefined;
          }
          return Buffer.concat(chunks);
        };
        const streamed = read();
        for (const piece of cut(data, sizes)) {
          if (stream!.destroyed) break;
          // As `pipeline` writes: a callback that does not come shows as a write that waits.
          if (stream!.write(piece) || stream!.destroyed) continue;
          await new Promise<void>((resolve) => stream!.once("drain", resolve).once("close", resolve));
        }
        if (!stream!.destroyed) stream!.end();
        // The two agree, but for gzip's padding, which zlib takes as it comes.
        const result = await streamed;
        if (coding !== "gzip") expect(result).toEqual(Buffer.isBuffer(buffered) ? buffered : undefined);
      },
    ),
    { numRuns: 400 },
  );
});
