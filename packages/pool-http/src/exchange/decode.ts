/** Undoes gzip, deflate, br and zstd, with a limit on what comes out. */
import { Transform, type TransformCallback } from "node:stream";
import { promisify } from "node:util";
import * as zlib from "node:zlib";
import { codeOf, tooLarge, undecodable, type Failure } from "../failure.ts";

export const ACCEPT_ENCODING = "gzip, deflate, br, zstd";

/** More than this many layers of encoding is an attack or a mistake. */
const MAX_LAYERS = 5;

/** Inflating this much takes well under a millisecond; it costs less at once than by way of the thread pool. */
const SYNC_INPUT_BYTES = 16 * 1024;
const SYNC_OUTPUT_BYTES = 256 * 1024;

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
    sync: zlib.brotliDecompressSync,
    async: promisify(zlib.brotliDecompress),
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
  if (layers.length === 1 && data.length <= SYNC_INPUT_BYTES) {
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
    decoded = await codingOf(layer, decoded).async(decoded, { maxOutputLength: limitBytes });
  }
  return decoded;
}

/** The transforms that inflate a stream, in order. */
export function decodeStreams(layers: readonly string[]): Transform[] {
  return layers.map((layer) => (layer === "deflate" ? new EitherInflate() : (CODINGS[layer] as Coding).stream()));
}

function isBareDeflate(data: Uint8Array): boolean {
  return ((data[0] ?? 0) & 0x0f) !== 8;
}

function codingOf(layer: string, data: Buffer): Coding {
  const bare = layer === "deflate" && isBareDeflate(data);
  return bare ? BARE_DEFLATE : (CODINGS[layer] as Coding);
}

/** "deflate" in a stream: its first byte tells whether it is zlib's format or bare. */
class EitherInflate extends Transform {
  #inflate: Transform | undefined;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#inflate ??= this.#start(isBareDeflate(chunk) ? BARE_DEFLATE.stream() : zlib.createInflate());
    this.#inflate.write(chunk, done);
  }

  override _flush(done: TransformCallback): void {
    if (this.#inflate === undefined) return done();
    this.#inflate.once("end", () => done()).end();
  }

  override _read(size: number): void {
    this.#inflate?.resume();
    super._read(size);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#inflate?.destroy();
    callback(error);
  }

  #start(inflate: Transform): Transform {
    inflate.on("data", (data: Buffer) => {
      if (!this.push(data)) inflate.pause();
    });
    return inflate.on("error", (error) => this.destroy(error));
  }
}
