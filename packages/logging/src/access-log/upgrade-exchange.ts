import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { NOT_BAGGED } from "@vg/internal";
import type { AccessLines, Headers } from "./access-lines.ts";
import { doneOn, openOn, openUntilTold, told } from "./connections.ts";
import { admit, CLIENT_CLOSED_REQUEST, Exchange } from "./exchange.ts";
import { exchangeOf } from "./node-exchange.ts";
import type { RequestLineContext } from "./request-context.ts";

const EXCHANGE: unique symbol = Symbol("vg.logging.upgrade");
const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})/;

type Method = (this: never, ...args: unknown[]) => unknown;
interface TrackedSocket {
  [EXCHANGE]?: UpgradeExchange;
  write: Method;
  end: Method;
}

/**
 * A request whose connection is handed to the program: WebSocket and other upgrades, CONNECT. Its answer is what the
 * program writes to the socket, of which the first line is looked at; its end is the connection's.
 */
class UpgradeExchange extends Exchange {
  readonly response = undefined;
  readonly #socket: Duplex;
  readonly write: Method;
  readonly end: Method;
  answered = 0;
  bagIndex: number = NOT_BAGGED;

  /** @param context of a request whose end somebody else tells */
  constructor(lines: AccessLines, request: IncomingMessage, socket: Duplex, context?: RequestLineContext) {
    const { method = "", url = "/", headers, httpVersion } = request;
    super(lines, request, method, url, headers as Headers, httpVersion, context);
    this.#socket = socket;
    const { upgrade } = request.headers;
    if (typeof upgrade === "string") this.upgrade = upgrade.slice(0, 64);
    this.clientAddress = lines.settings.clients?.of(request.socket.remoteAddress, this.headers);
    this.write = socket.write as Method;
    this.end = socket.end as Method;
  }

  watch(): void {
    const socket = this.#socket as unknown as TrackedSocket;
    socket[EXCHANGE] = this;
    socket.write = firstWrite;
    socket.end = firstEnd;
    if (this.context === undefined) openOn(this.#socket, this);
    else openUntilTold(this);
  }

  answer(socket: TrackedSocket, chunk: unknown): void {
    socket.write = this.write;
    socket.end = this.end;
    this.markFirstByte();
    const text = typeof chunk === "string" ? chunk : Buffer.isBuffer(chunk) ? chunk.toString("latin1", 0, 16) : "";
    this.answered = Number(STATUS_LINE.exec(text)?.[1] ?? 0);
  }

  responseHeader(): undefined {
    return undefined;
  }

  connectionLost(): void {
    const status = this.answered !== 0 ? this.answered : this.#socket.readableEnded ? CLIENT_CLOSED_REQUEST : 500;
    this.ended(status, this.answered !== 0);
  }

  ended(statusCode: number, isComplete: boolean, route?: string): void {
    if (this.isFinished) return;
    if (this.context === undefined) doneOn(this.#socket, this);
    else told(this);
    if (route !== undefined) this.knownRoute = route;
    this.finish(statusCode, isComplete);
  }
}

/** @param context of a request whose end somebody else tells */
export function beginUpgrade(
  lines: AccessLines,
  request: IncomingMessage,
  socket: Duplex,
  context?: RequestLineContext,
): UpgradeExchange | undefined {
  if (exchangeOf(request) !== undefined || (socket as unknown as TrackedSocket)[EXCHANGE] !== undefined) {
    return undefined;
  }
  const exchange = new UpgradeExchange(lines, request, socket, context);
  if (!admit(exchange)) return undefined;
  exchange.watch();
  return exchange;
}

function firstWrite(this: TrackedSocket, ...args: unknown[]): unknown {
  const exchange = this[EXCHANGE] as UpgradeExchange;
  exchange.answer(this, args[0]);
  return exchange.write.apply(this as never, args);
}

function firstEnd(this: TrackedSocket, ...args: unknown[]): unknown {
  const exchange = this[EXCHANGE] as UpgradeExchange;
  if (args[0] !== undefined && typeof args[0] !== "function") exchange.answer(this, args[0]);
  return exchange.end.apply(this as never, args);
}
