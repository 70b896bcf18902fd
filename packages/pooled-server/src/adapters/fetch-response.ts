/** A WHATWG Response onto node's ServerResponse. */
import type { IncomingMessage, ServerResponse } from "node:http";
import { BaseServerError } from "../errors.ts";
import { endWith } from "../request/send-bytes.ts";

/** They belong to a connection, not to the answer (RFC 9110, 7.6.1); node writes its own. */
const OF_CONNECTION = new Set(["keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"]);
const HAS_NO_BODY = new Set([204, 205, 304]);
/** As many turns of the microtask queue as it takes a body that is there at once to show its piece, or its end. */
const TURNS = 8;
const RESOLVED = Promise.resolve();

/**
 * Sends the answer, as fast as the client takes it. Resolves when the last piece is handed over, or the client is gone.
 *
 * @param signal aborts when the client leaves
 * @throws BaseServerError where `answer` is no Response that can be sent
 * @throws whatever its body fails with
 */
export async function sendResponse(
  answer: unknown,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  signal: AbortSignal,
): Promise<void> {
  const response = checked(answer, outgoing);
  const { body } = response;
  // Somebody has answered by hand (`outgoing` is in the second argument of `fetch`), or there is nobody to answer to.
  const client = new Client(incoming, outgoing, signal);
  if (outgoing.headersSent || outgoing.writableEnded || client.isGone) return cancel(body);
  setHead(response, outgoing);
  // Unlike the other two, it may not say how long it would have been (RFC 9110, 15.3.6).
  if (response.status === 205) outgoing.removeHeader("content-length");
  if (body === null || incoming.method === "HEAD" || HAS_NO_BODY.has(response.status)) {
    outgoing.end();
    return cancel(body);
  }
  await sendBody(body, outgoing, client);
}

function checked(answer: unknown, outgoing: ServerResponse): Response {
  if (!isResponse(answer)) {
    // Workers that are told to pass through, and handlers that answer by hand, return nothing.
    if (answer === undefined && outgoing.headersSent) return new Response();
    throw new BaseServerError(`The base server's fetch() must return a Response, got ${kindOf(answer)}`);
  }
  if (answer.status < 200 || answer.status > 599) {
    const what = answer.type === "error" ? "Response.error()" : `a Response with the status ${answer.status}`;
    throw new BaseServerError(`The base server's fetch() returned ${what}, which cannot be sent`);
  }
  if (answer.bodyUsed || answer.body?.locked === true) {
    throw new BaseServerError(
      "The base server's fetch() returned a Response whose body has been read or is being read; return a new one, or a clone() made before",
    );
  }
  return answer;
}

/** By structure: there may be several implementations in one process. */
export function isResponse(value: unknown): value is Response {
  if (value instanceof Response) return true;
  if (typeof value !== "object" || value === null) return false;
  const { status, headers, body } = value as { status?: unknown; headers?: { entries?: unknown }; body?: unknown };
  return typeof status === "number" && typeof headers?.entries === "function" && body !== undefined;
}

function kindOf(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value !== "object") return `a ${typeof value}`;
  return `an object of the class ${(value.constructor as { name?: string } | undefined)?.name ?? "none"}`;
}

function setHead(response: Response, outgoing: ServerResponse): void {
  const { status, statusText, headers } = response;
  // What another server sent has been decoded on its way in, and is no longer as its head says.
  const isDecoded = Boolean(response.url) && response.body !== null && headers.has("content-encoding");
  for (const [name, value] of headers) {
    if (name === "set-cookie" || OF_CONNECTION.has(name)) continue;
    if (isDecoded && (name === "content-encoding" || name === "content-length")) continue;
    // A proxy hands on neither "keep-alive" nor what else the header may name.
    if (name === "connection" && value.toLowerCase() !== "close") continue;
    outgoing.setHeader(name, value);
  }
  const cookies = headers.getSetCookie();
  if (cookies.length > 0) outgoing.setHeader("set-cookie", cookies);
  outgoing.statusCode = status;
  if (statusText) outgoing.statusMessage = statusText;
  // A body that is not as long as was promised shall break, not hang its client or start its next answer.
  if (outgoing.hasHeader("content-length")) outgoing.strictContentLength = true;
}

async function sendBody(body: ReadableStream<Uint8Array>, outgoing: ServerResponse, client: Client): Promise<void> {
  const reader = body.getReader();
  try {
    let piece = reader.read();
    // Most bodies are one piece, which is there at once, and sent with its length.
    if (await isSettled(piece)) {
      const first = await piece;
      if (first.done) return void outgoing.end();
      piece = reader.read();
      if ((await isSettled(piece)) && (await piece).done) return endWith(outgoing, bytesOf(first.value));
      client.watch((reason) => cancelReader(reader, reason));
      await write(outgoing, client, first.value);
    } else {
      client.watch((reason) => cancelReader(reader, reason));
      // Who waits for events wants to know that they will come.
      outgoing.flushHeaders();
    }
    for (let next = await piece; !next.done && !client.isGone; next = await reader.read()) {
      await write(outgoing, client, next.value);
    }
    if (!client.isGone) outgoing.end();
  } catch (error) {
    cancelReader(reader, error);
    throw error;
  } finally {
    client.unwatch();
  }
}

/** Resolves when there is room for the next piece, or nobody to write to. */
async function write(outgoing: ServerResponse, client: Client, chunk: unknown): Promise<void> {
  const bytes = bytesOf(chunk);
  if (client.isGone || bytes.byteLength === 0 || outgoing.write(bytes)) return;
  await client.hasRoom();
}

/** Whether somebody is there to read the answer, and has room for more of it. */
class Client {
  readonly #incoming: IncomingMessage;
  readonly #outgoing: ServerResponse;
  readonly #signal: AbortSignal;
  #onGone: ((reason: Error) => void) | undefined;
  #onRoom: (() => void) | undefined;

  constructor(incoming: IncomingMessage, outgoing: ServerResponse, signal: AbortSignal) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    this.#signal = signal;
  }

  /** Behind another answer in a pipeline a response has no connection yet, and does not hear that it is lost. */
  get isGone(): boolean {
    return this.#outgoing.destroyed || this.#incoming.socket.destroyed;
  }

  /** Calls `onGone` when the client has left. */
  watch(onGone: (reason: Error) => void): void {
    this.#onGone = onGone;
    this.#outgoing.on("close", this.#look);
    this.#outgoing.on("drain", this.#wake);
    // A shutdown aborts it too, after which the body may still have its last word.
    this.#signal.addEventListener("abort", this.#look);
  }

  unwatch(): void {
    this.#outgoing.off("close", this.#look);
    this.#outgoing.off("drain", this.#wake);
    this.#signal.removeEventListener("abort", this.#look);
    this.#wake();
  }

  async hasRoom(): Promise<void> {
    await new Promise<void>((resolve) => (this.#onRoom = resolve));
  }

  readonly #wake = (): void => {
    this.#onRoom?.();
    this.#onRoom = undefined;
  };

  readonly #look = (): void => {
    if (!this.isGone) return;
    this.#onGone?.(new Error("The client has left"));
    this.#wake();
  };
}

function bytesOf(chunk: unknown): Uint8Array {
  if (chunk instanceof Uint8Array) return chunk;
  throw new BaseServerError(
    `A piece of the Response's body must be a Uint8Array, got ${kindOf(chunk)}; send text through a TextEncoderStream`,
  );
}

/** Whether the promise is settled now, or within a few turns of the microtask queue. */
async function isSettled(promise: Promise<unknown>): Promise<boolean> {
  const state = { isSettled: false };
  const note = (): void => void (state.isSettled = true);
  promise.then(note, note);
  for (let turn = 0; turn < TURNS && !state.isSettled; turn++) await RESOLVED;
  return state.isSettled;
}

function cancel(body: ReadableStream<Uint8Array> | null): void {
  if (body !== null && !body.locked) body.cancel().catch(ignore);
}

function cancelReader(reader: ReadableStreamDefaultReader<Uint8Array>, reason: unknown): void {
  reader.cancel(reason).catch(ignore);
}

function ignore(): void {
  // Nobody is left to whom a body that fails while it is cancelled could matter.
}
