/** Undoes gzip, deflate, br and zstd, with a limit on what comes out. */
import type { Transform } from "node:stream";
import { promisify } from "node:util";
import * as zlib from "node:zlib";
import { codeOf, tooLarge, undecodable, type Failure } from "../failure.ts";
import { bytesBehind, Inflate, inflateWhole } from "./inflate.ts";
import { isOneFrame, ZstdFrames } from "./zstd-frames.ts";

export const ACCEPT_ENCODING = "gzip, deflate, br, zstd";

/** More than this many layers of encoding is an attack or a mistake. */
const MAX_LAYERS = 5;

/** Inflating this much takes well under a millisecond; it costs less at once than by way of the thread pool. */
const SYNC_INPUT_BYTES = 16 * 1024;
const SYNC_OUTPUT_BYTES = 256 * 1024;

/**
 * Where bytes behind the end of the data are an error: they may be a second part, which would be lost without a word.
 * gzip's decoder goes on with the next member, refuses anything else, and stops at the zeros that archives are padded
 * with; behind the end of deflate, which has no second part, everybody drops what comes.
 */
const STRICT = new Set(["br", "zstd"]);

interface Coding {
  sync(data: Buffer, options: { maxOutputLength: number }): Buffer;
  async(data: Buffer, options: { maxOutputLength: number }): Promise<Buffer>;
  stream(): Transform;
}

const gzip: Coding = { sync: zlib.gunzipSync, async: promisify(zlib.gunzip), stream: () => zlib.createGunzip() };
const CODINGS: Readonly<Record<string, Coding>> = {
  gzip,
  "x-gzip": gzip,
  br: {
    sync: (data, options) => whole(data, zlib.brotliDecompressSync(data, { ...options, info: true })),
    async: async (data, options) => whole(data, await brotliDecompress(data, { ...options, info: true })),
    stream: () => zlib.createBrotliDecompress(),
  },
  zstd: {
    sync: zlib.zstdDecompressSync,
    async: promisify(zlib.zstdDecompress),
    stream: () => zlib.createZstdDecompress(),
  },
  deflate: { sync: zlib.inflateSync, async: promisify(zlib.inflate), stream: () => zlib.createInflate() },
};
/** "deflate" is zlib's format, but some servers send it bare; the first byte tells. */
const BARE_DEFLATE: Coding = {
  sync: zlib.inflateRawSync,
  async: promisify(zlib.inflateRaw),
  stream: () => zlib.createInflateRaw(),
};
const brotliDecompress: (data: Buffer, options: zlib.BrotliOptions) => Promise<Buffer> = promisify(
  zlib.brotliDecompress,
);

/** zlib's answer where `info` was asked for, which its types do not know; fails where it has left out a part of `data`. */
function whole(data: Buffer, answer: unknown): Buffer {
  const { buffer, engine } = answer as { buffer: Buffer; engine: { bytesWritten: number } };
  if (engine.bytesWritten < data.length) throw bytesBehind();
  return buffer;
}

/** The layers to undo, the outermost first; `undefined` where there is none or one that we do not know. */
export function parseEncoding(header: string | undefined): readonly string[] | undefined {
  if (header === undefined) return undefined;
  const layers = header
    .toLowerCase()
    .split(",")
    .map((layer) => layer.trim())
    .filter((layer) => layer !== "" && layer !== "identity")
    .toReversed();
  const known =
    layers.length > 0 && layers.length <= MAX_LAYERS && layers.every((layer) => Object.hasOwn(CODINGS, layer));
  return known ? layers : undefined;
}

/** Inflates a whole body. Throws zlib's errors; ERR_BUFFER_TOO_LARGE where a layer exceeds `limitBytes`. */
export function decode(data: Buffer, layers: readonly string[], limitBytes: number): Buffer | Promise<Buffer> {
  if (data.length === 0) return data;
  if (layers.length === 1 && data.length <= SYNC_INPUT_BYTES && !hasFrames(layers[0] as string, data)) {
    const coding = codingOf(layers[0] as string, data);
    try {
      return coding.sync(data, { maxOutputLength: Math.min(limitBytes, SYNC_OUTPUT_BYTES) });
    } catch (error) {
      if ((error as { code?: unknown }).code !== "ERR_BUFFER_TOO_LARGE" || limitBytes <= SYNC_OUTPUT_BYTES) throw error;
    }
  }
  return decodeLayers(data, layers, limitBytes);
}

/** The same, with failures as values. */
export function decodeBody(
  data: Buffer,
  layers: readonly string[],
  limitBytes: number,
): Buffer | Failure | Promise<Buffer | Failure> {
  const failed = (error: unknown): Failure =>
    codeOf(error) === "ERR_BUFFER_TOO_LARGE" ? tooLarge(limitBytes + 1, limitBytes) : undecodable(error);
  try {
    const decoded = decode(data, layers, limitBytes);
    return Buffer.isBuffer(decoded) ? decoded : decoded.catch(failed);
  } catch (error) {
    return failed(error);
  }
}

async function decodeLayers(data: Buffer, layers: readonly string[], limitBytes: number): Promise<Buffer> {
  let decoded = data;
  for (const layer of layers) {
    decoded = hasFrames(layer, decoded)
      ? await inflateWhole(decoded, inflate(layer), limitBytes)
      : await codingOf(layer, decoded).async(decoded, { maxOutputLength: limitBytes });
  }
  return decoded;
}

/** The transforms that inflate a stream, in order. */
export function decodeStreams(layers: readonly string[]): Transform[] {
  return layers.map(inflate);
}

function inflate(layer: string): Inflate {
  return new Inflate({
    start: (first) => codingOf(layer, first).stream(),
    dropsRest: !STRICT.has(layer),
    frames: layer === "zstd" ? new ZstdFrames() : undefined,
  });
}

/** Several, which zlib's functions for a whole body take for one. */
function hasFrames(layer: string, data: Buffer): boolean {
  return layer === "zstd" && !isOneFrame(data);
}

function isBareDeflate(data: Uint8Array): boolean {
  return ((data[0] ?? 0) & 0x0f) !== 8;
}

function codingOf(layer: string, data: Buffer): Coding {
  const bare = layer === "deflate" && isBareDeflate(data);
  return bare ? BARE_DEFLATE : (CODINGS[layer] as Coding);
}
