import type { IncomingMessage } from "node:http";
import type { Duplex } from "node:stream";
import { NOT_BAGGED, onFirstAnswer } from "@vg/internal";
import type { AccessLines, Headers } from "./access-lines.ts";
import { doneOn, openOn, openUntilTold, told } from "./connections.ts";
import { admit, CLIENT_CLOSED_REQUEST, Exchange } from "./exchange.ts";
import { exchangeOf } from "./node-exchange.ts";
import type { RequestLineContext } from "./request-context.ts";

const EXCHANGE: unique symbol = Symbol("vg.logging.upgrade");

interface TrackedSocket extends Duplex {
  [EXCHANGE]?: UpgradeExchange;
}

/**
 * A request whose connection is handed to the program: WebSocket and other upgrades, CONNECT. Its answer is what the
 * program writes to the socket, of which the first line is looked at; its end is the connection's.
 */
class UpgradeExchange extends Exchange {
  readonly response = undefined;
  readonly #socket: TrackedSocket;
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
  }

  watch(): void {
    this.#socket[EXCHANGE] = this;
    onFirstAnswer(this.#socket, (status) => {
      this.markFirstByte();
      this.answered = status;
    });
    if (this.context === undefined) openOn(this.#socket, this);
    else openUntilTold(this);
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
  if (exchangeOf(request) !== undefined || (socket as TrackedSocket)[EXCHANGE] !== undefined) {
    return undefined;
  }
  const exchange = new UpgradeExchange(lines, request, socket, context);
  if (!admit(exchange)) return undefined;
  exchange.watch();
  return exchange;
}
