import type { IncomingMessage, Server } from "node:http";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { Logger } from "@vg/logging";
import type { AccessLog } from "@vg/logging/access-log";
import type { Admission } from "../admission/admission.ts";
import { RequestTimeoutError } from "../errors.ts";
import { ownHead } from "../head/response-head.ts";
import {
  answerWith,
  FAILED,
  problemOf,
  SHUTTING_DOWN,
  TIMED_OUT,
  type Problem,
  type RenderProblem,
} from "../request/problem.ts";
import { runInRequest, type NodeRequestContext } from "../request/request-context.ts";
import type { UpgradeListener } from "./adapter.ts";
import { Upgrade } from "./upgrade.ts";

/**
 * How long an upgrade may go without an answer where nothing else limits that: one that no listener wants, or whose client
 * has ended its side, which nobody notices who does not read.
 */
const ANSWER_MS = 60_000;

interface Surroundings {
  readonly logger: Logger;
  readonly accessLog: AccessLog | undefined;
  readonly clock: { now(): number };
  readonly refusing: () => boolean;
  readonly admission: Pick<Admission<NodeRequestContext>, "admitUpgrade" | "upgradeOver">;
  readonly renderProblem: RenderProblem;
  /** How long a listener has until it answers; 0 is `ANSWER_MS`. */
  readonly requestTimeoutMs: number;
  /** Each counts as a request, once it is answered. */
  readonly onAnswer: (context: NodeRequestContext, status: number) => void;
}

/**
 * Hands upgrades to whoever takes them. node:http forgets a socket that it has handed over, so it is this class that
 * can cut it at the end; else an open WebSocket would hold the server open for ever.
 */
export class Upgrades {
  readonly #server: Server;
  readonly #around: Surroundings;
  readonly #listeners = new Set<UpgradeListener>();
  readonly #open = new Set<Upgrade>();

  constructor(server: Server, around: Surroundings) {
    this.#server = server;
    this.#around = around;
    // Clients that could speak HTTP/2, too (Java's, curl's with --http2), offer that with ordinary requests.
    Object.assign(server, {
      shouldUpgradeCallback: ({ headers }: IncomingMessage) =>
        this.#listeners.size > 0 && headers.upgrade?.toLowerCase() !== "h2c",
    });
  }

  add(listener: UpgradeListener): void {
    // With this listener, node:http no longer handles upgrades as the requests that they also are.
    if (this.#listeners.size === 0) this.#server.on("upgrade", (...upgrade) => this.#handle(...upgrade));
    this.#listeners.add(listener);
  }

  /** Tells those who have a socket that it will be cut. */
  drain(reason: Error): void {
    for (const { context } of this.#open) context.drain(reason);
  }

  /** Cuts the sockets that are still open, and closes their books: nobody waits for the sockets' own events. */
  cut(reason: Error): void {
    for (const upgrade of this.#open) {
      upgrade.context.abort(reason);
      upgrade.socket.destroy();
      this.#over(upgrade);
    }
  }

  #handle(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    // Until a listener has its own: a client that resets its connection is no error of ours.
    socket.on("error", () => undefined);
    const upgrade = new Upgrade(request, socket, this.#around);
    this.#open.add(upgrade);
    socket.once("close", () => this.#over(upgrade));
    runInRequest(upgrade.context, () => {
      try {
        this.#serve(upgrade, head);
      } catch (error) {
        this.#failed(upgrade, error);
      }
    });
  }

  #serve(upgrade: Upgrade, head: Buffer): void {
    const { refusing, admission } = this.#around;
    const { context, socket } = upgrade;
    if (refusing()) {
      this.#refuse(upgrade, SHUTTING_DOWN);
      return;
    }
    const refusal = admission.admitUpgrade(context);
    if (refusal !== undefined) {
      this.#refuse(upgrade, refusal);
      return;
    }
    upgrade.isAdmitted = true;
    const waitMs = this.#around.requestTimeoutMs || ANSWER_MS;
    context.timer = setTimeout(() => this.#timedOut(upgrade, waitMs), waitMs).unref();
    for (const listener of this.#listeners) {
      const result: unknown = listener(context.request, socket, head);
      if (result instanceof Promise) result.catch((error: unknown) => this.#failed(upgrade, error));
    }
  }

  #failed(upgrade: Upgrade, error: unknown): void {
    const { context } = upgrade;
    const reason = context.reasonToGiveUp(error);
    // Who was told to give up, and did so, has not failed; the client may still be there.
    if (reason !== undefined) return this.#refuse(upgrade, problemOf(reason));
    context.logger.error("The listener of an upgrade failed", error);
    this.#refuse(upgrade, FAILED);
  }

  #timedOut(upgrade: Upgrade, waitMs: number): void {
    upgrade.context.abort(new RequestTimeoutError(upgrade.context.describe(), waitMs));
    // A listener that heeds its signal may still say it in its own words.
    setImmediate(() => {
      if (upgrade.status === 0) this.#refuse(upgrade, TIMED_OUT);
    });
  }

  #refuse({ context, socket, status }: Upgrade, problem: Omit<Problem, "traceId">): void {
    const { response } = context;
    // What goes over a connection that somebody has taken is theirs.
    if (status !== 0 || socket.destroyed || isAnswering(socket)) {
      socket.destroy();
      return;
    }
    response.on("error", () => undefined);
    response.on("finish", () => socket.end(() => socket.destroy()));
    response.assignSocket(socket as Socket);
    ownHead(response, context);
    answerWith(context, problem, this.#around.renderProblem, true);
  }

  #over(upgrade: Upgrade): void {
    if (!this.#open.delete(upgrade)) return;
    if (upgrade.isAdmitted) this.#around.admission.upgradeOver();
    upgrade.over();
  }
}

/** Whether the answer to a request that came before on this connection is still under way. */
function isAnswering(socket: Duplex): boolean {
  return ((socket as { _httpMessage?: unknown })._httpMessage ?? null) !== null;
}
