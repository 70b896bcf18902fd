/** The steps of which scripts are made. Faults that users meet often have names of their own in faults.ts. */
import { headText } from "./http1.ts";
import type { FaultExchange, FaultHeaders, Script, Step } from "./script.ts";

export interface ReplyOptions {
  /** Default "ok"; none with 204 and 304. */
  readonly body?: string | Uint8Array | undefined;
  /** On top of `content-length`, which is right unless it is among them. */
  readonly headers?: FaultHeaders | undefined;
  readonly statusText?: string | undefined;
}

/** A whole and correct response. */
export function reply(status: number, options: ReplyOptions = {}): Step {
  checkStatus("reply", status, 200);
  const bodiless = status === 204 || status === 304;
  const content = Buffer.from((options.body ?? (bodiless ? "" : "ok")) as string);
  const given = options.headers ?? {};
  const names = new Set(Object.keys(given).map((name) => name.toLowerCase()));
  const framed = bodiless || names.has("content-length") || names.has("transfer-encoding");
  const headers = framed ? given : { "content-length": content.length, ...given };
  return step(`reply(${status})`, async (exchange) => {
    // RFC 9110, section 9.3.2: as for GET, without the body.
    const bytes = exchange.request?.method === "HEAD" ? EMPTY : content;
    if (exchange.protocol === "http/1.1" && !names.has("transfer-encoding")) {
      // In one piece, as servers send small answers.
      const text = Buffer.from(headText(status, options.statusText ?? "Scripted", headers));
      return exchange.write(Buffer.concat([text, bytes]));
    }
    await exchange.respond(status, headers, options.statusText);
    if (bytes.length > 0) await exchange.body(bytes);
    exchange.end();
  });
}

/** A response's status line and headers, and no more. A body follows with `body` or `drip`. */
export function head(status: number, headers: FaultHeaders = {}, statusText?: string): Step {
  checkStatus("head", status, 100);
  return step(`head(${status})`, (exchange) => exchange.respond(status, headers, statusText));
}

/** A piece of the body, as a chunk where the head said `transfer-encoding: chunked`. */
export function body(bytes: string | Uint8Array): Step {
  return step(`body(${Buffer.byteLength(bytes)} bytes)`, (exchange) => exchange.body(bytes));
}

/**
 * The end of a body: the last chunk, the end of the stream in HTTP/2, and that of the connection where the head named
 * neither `transfer-encoding` nor `content-length`. Nothing where it named a length.
 */
export function endBody(): Step {
  return step("endBody()", (exchange) => exchange.end());
}

/** Bytes as they are, whatever they mean. */
export function raw(bytes: string | Uint8Array): Step {
  return step(`raw(${Buffer.byteLength(bytes)} bytes)`, (exchange) => exchange.write(bytes));
}

/** A piece of the body, in parts of `bytes` bytes (default 1), `everyMs` (default 100) apart. */
export function drip(
  content: string | Uint8Array,
  { bytes = 1, everyMs = 100 }: { bytes?: number; everyMs?: number } = {},
): Step {
  checkNumber("drip", "bytes", bytes, 1);
  checkNumber("drip", "everyMs", everyMs, 0);
  const all = Buffer.from(content as string);
  return step(`drip(${bytes} bytes each ${everyMs} ms)`, async (exchange) => {
    for (let at = 0; at < all.length; at += bytes) {
      if (at > 0) await exchange.sleep(everyMs);
      await exchange.body(all.subarray(at, at + bytes));
    }
  });
}

/** Nothing more, for as long as the client stays. */
export function stall(): Step {
  return step("stall()", (exchange) => forever(exchange.signal));
}

/** Waits, by the server's `sleep`. */
export function wait(ms: number): Step {
  checkNumber("wait", "ms", ms, 0);
  return step(`wait(${ms})`, (exchange) => exchange.sleep(ms));
}

/** Waits until the test calls `server.release(gate)`; `server.reached(gate)` tells the test that it is here. */
export function hold(gate: string): Step {
  return step(`hold(${JSON.stringify(gate)})`, (exchange) => exchange.hold(gate));
}

/** Ends the connection in order (FIN), after what was written. */
export function close(): Step {
  return step("close()", (exchange) => exchange.close());
}

/** Ends the connection with a TCP reset (RST); what was written may be lost. */
export function reset(): Step {
  return step("reset()", (exchange) => exchange.reset());
}

/** Runs a script beside this one, so that the connection's next request is answered meanwhile. */
export function meanwhile(script: Script): Step {
  const names = [script].flat().map(({ name }) => name);
  return step(`meanwhile(${names.join(", ")})`, (exchange) => exchange.meanwhile(script));
}

/** Reads nothing more from the client: what it sends fills the buffers, and then it waits. */
export function stopReading(): Step {
  return step("stopReading()", (exchange) => exchange.stopReading());
}

/** HTTP/2: resets the stream. "REFUSED_STREAM" (default) says that nothing was done about the request. */
export function resetStream(code: string | number = "REFUSED_STREAM"): Step {
  return step(`resetStream(${code})`, (exchange) => exchange.resetStream(code));
}

export interface GoAwayOptions {
  /** Default "NO_ERROR". */
  readonly code?: string | number | undefined;
  /** Whether this request is among those that are not processed any more. Default false. */
  readonly includingThis?: boolean | undefined;
}

/** HTTP/2: GOAWAY. Later streams of the connection are recorded as `unprocessed`, and not answered. */
export function goAway({ code = "NO_ERROR", includingThis = false }: GoAwayOptions = {}): Step {
  return step(`goAway(${code})`, (exchange) => exchange.goAway({ code, includingThis }));
}

/** A step of your own; `name` shows in errors. */
export function step(name: string, run: (exchange: FaultExchange) => void | Promise<void>): Step {
  return { name, run };
}

const EMPTY = Buffer.alloc(0);

function forever(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

export function checkNumber(owner: string, name: string, value: number, min: number): void {
  if (typeof value !== "number" || !(value >= min) || !Number.isFinite(value)) {
    throw new TypeError(`${owner}: ${name} must be a number from ${min}, got ${String(value)}`);
  }
}

function checkStatus(owner: string, status: number, min: number): void {
  if (Number.isInteger(status) && status >= min && status <= 999) return;
  const hint = owner === "reply" ? " Use head or interimStorm for a 1xx." : "";
  throw new TypeError(`${owner}: status must be a whole number from ${min} to 999, got ${String(status)}.${hint}`);
}
