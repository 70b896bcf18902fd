import { ServerResponse, type IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import { onFirstAnswer } from "@vg/internal";
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
    onFirstAnswer(socket, (status) => {
      // What comes when it is over is no answer any more; what is no HTTP at all is not the client's fault.
      if (!this.context.isOver) this.#answered(status || 500);
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
