/** What servers, networks and proxies do wrong, by name. Each is made of steps, and can be a part of a longer script. */
import { constants, crc32, deflateRawSync } from "node:zlib";
import type { FaultHeaders, Script, Step } from "./script.ts";
import { body, checkNumber, close, drip, endBody, head, meanwhile, raw, reply, reset, step, wait } from "./steps.ts";

// ---- connections that break ------------------------------------------------------------------------------------------

/** The request has come whole, and no byte of an answer goes back. */
export function resetBeforeHeaders(): Script {
  return [reset()];
}

/** Headers that promise a body, a part of it, and a reset. */
export function resetAfterHeaders(part = "part"): Script {
  return [head(200, { "content-length": Buffer.byteLength(part) + 100 }), body(part), written(), reset()];
}

/** A whole response, and `ms` later a reset, whatever the connection does by then: how pools get dead connections. */
export function resetAfterResponse(ms: number, response: Step = reply(200)): Script {
  return [response, meanwhile([sent(), wait(ms), reset()])];
}

/** A whole response, and the connection ends, of which the headers gave no warning. */
export function closeAfterResponse(response: Step = reply(200)): Script {
  return [response, close()];
}

/**
 * The head breaks off in the middle of a header's name, and the connection ends. For a stall: `raw` and `stall`. Not in
 * HTTP/2.
 */
export function halfHeader(): Script {
  return [
    step("halfHeader()", (exchange) => {
      if (exchange.protocol !== "h2") return exchange.write("HTTP/1.1 200 OK\r\ncontent-le");
      throw new Error("half a head is of HTTP/1.1; in HTTP/2 the head is a frame, so use close() or resetStream()");
    }),
    close(),
  ];
}

// ---- bodies that are wrong -------------------------------------------------------------------------------------------

/** `content-length` says 100 more than what comes before the connection ends. */
export function truncatedBody(part = "only this"): Script {
  return [head(200, { "content-length": Buffer.byteLength(part) + 100 }), body(part), close()];
}

/** A chunked body without its last chunk; with `within` it ends in the middle of one. In HTTP/2 both break off alike. */
export function truncatedChunks(part = "only this", { within = false }: { within?: boolean } = {}): Script {
  const rest = step("a part of a chunk", (exchange) => {
    if (exchange.protocol === "h2") return exchange.body(part);
    return exchange.write(`${(Buffer.byteLength(part) + 100).toString(16)}\r\n${part}`);
  });
  const cut = within ? rest : body(part);
  return [head(200, { "transfer-encoding": "chunked" }), cut, close()];
}

/** A body that comes by and by. See {@link drip}. */
export function drippingBody(
  content: string | Uint8Array,
  pace: { bytes?: number; everyMs?: number } = {},
  headers: FaultHeaders = {},
): Script {
  return [head(200, { "content-length": Buffer.byteLength(content), ...headers }), drip(content, pace), endBody()];
}

/**
 * A body of so many bytes, of which no more than 64 KiB are in memory at once. `declared`: with its `content-length`
 * (default), or in chunks.
 */
export function oversizeBody(bytes: number, { declared = true }: { declared?: boolean } = {}): Script {
  checkNumber("oversizeBody", "bytes", bytes, 1);
  const framing = declared ? { "content-length": bytes } : { "transfer-encoding": "chunked" };
  return [head(200, framing), filler(bytes), endBody()];
}

/**
 * A correct gzip body that inflates to so many bytes of zeros (default 1 GiB), about a thousand times its size. It is
 * made while it is sent, so it costs the server nothing when the client leaves.
 */
export function gzipBomb(inflatedBytes: number = 1024 ** 3, headers: FaultHeaders = {}): Script {
  checkNumber("gzipBomb", "inflatedBytes", inflatedBytes, 1);
  return [
    head(200, { "content-encoding": "gzip", "transfer-encoding": "chunked", ...headers }),
    step(`gzip of ${inflatedBytes} zeros`, async (exchange) => {
      for (const piece of gzipOfZeros(inflatedBytes)) {
        await exchange.body(piece);
        // Others run meanwhile.
        await new Promise(setImmediate);
      }
    }),
    endBody(),
  ];
}

/** A body that is not in the encoding that its headers name. */
export function wrongEncoding(encoding = "gzip", content: string | Uint8Array = "this is plain text"): Script {
  return [reply(200, { body: content, headers: { "content-encoding": encoding } })];
}

// ---- heads that are wrong --------------------------------------------------------------------------------------------

/** Instead of a response, what another protocol would say. Not in HTTP/2. */
export function garbage(bytes: string | Uint8Array = "220 mail.test ESMTP ready\r\n"): Script {
  return [raw(bytes)];
}

/**
 * A whole response, and behind it bytes that nobody asked for; a client that takes them for the answer to its next
 * request is poisoned. Default: a second response, with the body "poison". Not in HTTP/2.
 */
export function garbageAfterResponse(
  bytes: string | Uint8Array = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison",
  response: Step = reply(200),
): Script {
  return [response, raw(bytes)];
}

/** A response whose headers have so many bytes, in one line or in lines of 1000 bytes. */
export function oversizeHeaders(bytes: number, { oneLine = false }: { oneLine?: boolean } = {}): Script {
  checkNumber("oversizeHeaders", "bytes", bytes, 1);
  const line = `x-filler: ${"x".repeat(988)}\r\n`;
  return [
    step(`${bytes} bytes of headers`, async (exchange) => {
      if (exchange.protocol === "h2") {
        const lines = Array.from({ length: Math.ceil(bytes / line.length) }, () => "x".repeat(988));
        await exchange.respond(200, { "x-filler": oneLine ? "x".repeat(bytes) : lines });
        return exchange.end();
      }
      await exchange.write("HTTP/1.1 200 OK\r\n");
      if (oneLine) {
        await exchange.write("x-filler: ");
        for (let left = bytes; left > 0; left -= BLOCK_BYTES) await exchange.write(BLOCK.subarray(0, left));
        await exchange.write("\r\n");
      } else {
        for (let at = 0; at < bytes; at += line.length) await exchange.write(line);
      }
      await exchange.write("content-length: 0\r\n\r\n");
    }),
  ];
}

/** So many interim responses (103 Early Hints unless told otherwise), and then what `script` says. */
export function interimStorm(count: number, script: Script = reply(200), status = 103): Script {
  checkNumber("interimStorm", "count", count, 0);
  const storm = step(`${count} times ${status}`, async (exchange) => {
    for (let i = 0; i < count; i++) await exchange.respond(status, status === 103 ? { link: "</style.css>" } : {});
  });
  return [storm, ...[script].flat()];
}

// ---- answers that refuse ---------------------------------------------------------------------------------------------

/**
 * A refusal with `Retry-After`: seconds as a number (negative ones, fractions, as they are), a date, or any text, which
 * clients should take for none. Default status 503.
 */
export function retryAfter(value: number | Date | string, { status = 503 }: { status?: number } = {}): Script {
  const text = value instanceof Date ? value.toUTCString() : String(value);
  return [reply(status, { body: "try later", headers: { "retry-after": text } })];
}

/** A redirect; 302 unless told otherwise. */
export function redirect(location: string, { status = 302 }: { status?: number } = {}): Script {
  return [reply(status, { body: "", headers: { location } })];
}

// ---- their parts -----------------------------------------------------------------------------------------------------

const BLOCK_BYTES = 64 * 1024;
const BLOCK = Buffer.alloc(BLOCK_BYTES, "x");

function filler(bytes: number): Step {
  return step(`${bytes} bytes of body`, async (exchange) => {
    for (let left = bytes; left > 0; left -= BLOCK_BYTES) await exchange.body(BLOCK.subarray(0, left));
  });
}

/** What was written leaves this process. */
function written(): Step {
  return step("written()", ({ protocol }) => turns(protocol === "h2" ? HTTP2_TURNS : 2));
}

/** A whole response has left this process; with HTTP/1.1 it has when its step is done. */
function sent(): Step {
  return step("sent()", ({ protocol }) => turns(protocol === "h2" ? HTTP2_TURNS : 0));
}

/** HTTP/2 gathers its frames first, and writes the end of a body only after the turns of the event loop that the rest took. */
const HTTP2_TURNS = 8;

async function turns(count: number): Promise<void> {
  for (let n = 0; n < count; n++) await new Promise(setImmediate);
}

const ZEROS = Buffer.alloc(1024 * 1024);
const GZIP_HEAD = Buffer.from([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
/** Empty and final (RFC 1951, section 3.2.6). */
const LAST_BLOCK = Buffer.from([3, 0]);

/** RFC 1952, from blocks that end at whole bytes and may so be repeated. */
function* gzipOfZeros(count: number): Generator<Buffer> {
  const deflated = (bytes: Buffer): Buffer => deflateRawSync(bytes, { finishFlush: constants.Z_FULL_FLUSH, level: 9 });
  const block = deflated(ZEROS);
  let sum = 0;
  yield GZIP_HEAD;
  for (let left = count; left > 0; left -= ZEROS.length) {
    const zeros = ZEROS.subarray(0, left);
    sum = crc32(zeros, sum);
    yield zeros.length === ZEROS.length ? block : deflated(zeros);
  }
  const tail = Buffer.alloc(8);
  tail.writeUInt32LE(sum, 0);
  tail.writeUInt32LE(count % 2 ** 32, 4);
  yield Buffer.concat([LAST_BLOCK, tail]);
}
