import { ServerResponse, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Logger } from "@vg/logging";
import type { AccessLog, FollowedRequest } from "@vg/logging/access-log";
import { statusOfBroken } from "../request/ending.ts";
import { NodeRequestContext } from "../request/request-context.ts";

interface Surroundings {
  readonly logger: Logger;
  readonly accessLog: AccessLog | undefined;
  readonly clock: { now(): number };
  /** Told once: of the status that went out, or of what stands for it where none did. */
  readonly onAnswer: (context: NodeRequestContext, status: number) => void;
}

type Method = (this: never, ...args: unknown[]) => unknown;
type Methods = Record<"write" | "end", Method>;

const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})/;
/** As long as such a line is. */
const STATUS_LINE_BYTES = 12;

/**
 * An upgrade, from its request to the end of its connection. Its answer is what somebody writes to the socket, of which the
 * first piece is looked at; it is answered once and over once, however its socket dies.
 */
export class Upgrade {
  readonly context: NodeRequestContext;
  readonly socket: Duplex;
  /** Whether admission has a part of it to get back. */
  isAdmitted = false;
  /** What was answered; 0 as long as nothing was. */
  status = 0;
  readonly #followed: FollowedRequest | undefined;
  readonly #onAnswer: Surroundings["onAnswer"];

  constructor(request: IncomingMessage, socket: Duplex, { logger, accessLog, clock, onAnswer }: Surroundings) {
    // It answers refusals; who takes the socket writes to that.
    const response = new ServerResponse(request);
    this.context = new NodeRequestContext(request, response, logger, clock.now());
    this.socket = socket;
    this.#onAnswer = onAnswer;
    this.#followed = accessLog?.beginUpgrade(request, socket, this.context.line);
    onFirstPiece(socket, (piece) => {
      // What is no HTTP at all is not the client's fault.
      this.#answered(Number(STATUS_LINE.exec(piece)?.[1] ?? 500));
    });
  }

  /** The connection is closed, or about to be. The first call counts. */
  over(): void {
    const { context, socket } = this;
    if (context.isOver) return;
    context.isOver = true;
    if (context.timer !== undefined) clearTimeout(context.timer);
    const isAnswered = this.status !== 0;
    if (!isAnswered) this.#answered(statusOfBroken(socket as Socket, context.abortReason));
    context.abort(new Error("The connection is closed"));
    this.#followed?.ended(this.status, isAnswered, context.route);
  }

  #answered(status: number): void {
    this.status = status;
    // So long and no longer: a connection that is taken may stay for days.
    clearTimeout(this.context.timer);
    this.#onAnswer(this.context, status);
  }
}

/** Calls `told` with the beginning of what is written first. Methods that others put there, before or after, stay. */
function onFirstPiece(socket: Duplex, told: (piece: string) => void): void {
  const methods = socket as unknown as Methods;
  let isWaiting = true;
  for (const name of ["write", "end"] as const) {
    const plain = methods[name];
    const watching: Method = function (...args) {
      const [chunk] = args;
      if (isWaiting && chunk !== undefined && chunk !== null && typeof chunk !== "function") {
        isWaiting = false;
        told(beginningOf(chunk));
      }
      if (!isWaiting && methods[name] === watching) methods[name] = plain;
      return plain.apply(this, args);
    };
    methods[name] = watching;
  }
}

function beginningOf(chunk: unknown): string {
  if (typeof chunk === "string") return chunk;
  return ArrayBuffer.isView(chunk)
    ? Buffer.from(chunk.buffer, chunk.byteOffset, Math.min(chunk.byteLength, STATUS_LINE_BYTES)).toString("latin1")
    : "";
}
