import { Transform, type TransformCallback } from "node:stream";
import type { ZstdFrames } from "./zstd-frames.ts";

export interface InflateOptions {
  /** Makes the decoder, once the first bytes are there. */
  readonly start: (first: Buffer) => Transform;
  /** What follows the end of the compressed data is dropped; otherwise it is an error. */
  readonly dropsRest: boolean;
  /** Where the data may consist of several frames. */
  readonly frames: ZstdFrames | undefined;
}

/**
 * One of Node's decoders, but one that always comes to an end. Node's never call back for a write that goes on behind
 * the end of the compressed data, so whoever writes to them, and `pipeline`, would wait for ever.
 */
export class Inflate extends Transform {
  readonly #options: InflateOptions;
  #decoder: Transform | undefined;
  /** The decoder has said its last. */
  #ended = false;
  /** Of the write or the end that is going on. */
  #done: TransformCallback | undefined;

  constructor(options: InflateOptions) {
    super();
    this.#options = options;
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    if (chunk.length === 0) return done();
    if (this.#ended) return this.#rest(done);
    this.#decoder ??= this.#begin(this.#options.start(chunk));
    this.#done = done;
    this.#write(this.#decoder, chunk, 0);
  }

  override _flush(done: TransformCallback): void {
    if (this.#decoder === undefined || this.#ended) return done();
    this.#done = done;
    this.#decoder.end();
  }

  override _read(size: number): void {
    this.#decoder?.resume();
    super._read(size);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#decoder?.destroy();
    callback(error);
  }

  /** Frame by frame, for a decoder that is given the next one in the same write leaves it out. */
  #write(decoder: Transform, chunk: Buffer, at: number): void {
    const to = this.#options.frames?.read(chunk, at) ?? chunk.length;
    decoder.write(at === 0 && to === chunk.length ? chunk : chunk.subarray(at, to), (error) => {
      // That it failed is told by its "error".
      if (error || this.destroyed) return;
      if (to < chunk.length) this.#write(decoder, chunk, to);
      else this.#settle();
    });
  }

  #begin(decoder: Transform): Transform {
    decoder.on("data", (data: Buffer) => {
      if (!this.push(data)) decoder.pause();
    });
    decoder.once("end", () => {
      this.#ended = true;
      // Before its time, so something is left that it did not take.
      if (decoder.writableEnded) this.#settle();
      else this.#rest((error) => this.#settle(error));
    });
    return decoder.on("error", (error) => this.destroy(error));
  }

  #rest(done: TransformCallback): void {
    done(this.#options.dropsRest ? null : bytesBehind());
  }

  #settle(error?: Error | null): void {
    const done = this.#done;
    this.#done = undefined;
    done?.(error);
  }
}

/** For data that has more behind it than it should. */
export function bytesBehind(): Error {
  const error = new Error("bytes follow behind the end of the compressed data");
  return Object.assign(error, { code: "ERR_VG_HTTP_PROTOCOL" });
}

/** Inflates a whole body by way of a stream; fails with ERR_BUFFER_TOO_LARGE, as zlib's functions, beyond the limit. */
export async function inflateWhole(data: Buffer, inflate: Inflate, limitBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let size = 0;
  inflate.end(data);
  for await (const chunk of inflate as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > limitBytes) {
      throw Object.assign(new Error("the inflated body is too large"), { code: "ERR_BUFFER_TOO_LARGE" });
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}
