/**
 * Looks for streamed responses that nobody reads. Each holds a connection until `bodyTimeoutMs`, so that a few of them
 * bring a pool to a stand. There are two ways to know:
 *
 * - With `leakThresholdMs`, one that is unread for longer is reported, with the place of the call. It is left alone, for
 *   its reader may yet come; what becomes of it is told as well.
 * - One whose HttpResponse was garbage-collected before anybody asked for its body can have no reader any more: it is
 *   reported, and its connection freed.
 */
import { callerStack, callSite, type CallSite } from "../call-site.ts";
import type { Clock } from "../options.ts";
import type { DeadlineLine, DeadlineLines, Limited } from "./deadline-line.ts";

export interface WatchedStream {
  /** Since when nobody reads, by the pool's clock; `undefined` while somebody does, and when it holds no connection. */
  readonly unreadSince: number | undefined;
  /** Somebody has begun to read. */
  readonly wasRead: boolean;
  /** It has ended, or all of it has come. */
  readonly isOver: boolean;
  discard(): Promise<void>;
}

/** Who is told. */
export interface LeakListener {
  leaked(unreadMs: number, collected: boolean, calledAt: string): void;
  /** What was reported holds no connection any more, or is being read. */
  leakOver(wasRead: boolean): void;
}

/**
 * A body that is watched, from the side of its response.
 *
 * Most bodies are asked for at once. Only a response whose body was not is registered for the day when it is garbage:
 * what is registered survives every collection of young objects, and with it all that it leads to.
 */
export class UnreadBody implements Limited {
  readonly stream: WatchedStream;
  readonly listener: LeakListener;
  readonly site: CallSite | undefined;
  reported = false;
  deadline = 0;
  previous: Limited | undefined;
  next: Limited | undefined;
  linked = false;
  keepsAlive = false;
  #asked = false;
  /** Held fast until it is registered, or asked for its body. */
  #response: object | undefined;
  readonly #clock: Clock;
  readonly #line: DeadlineLine;

  constructor(
    stream: WatchedStream,
    listener: LeakListener,
    site: CallSite | undefined,
    clock: Clock,
    line: DeadlineLine,
  ) {
    this.stream = stream;
    this.listener = listener;
    this.site = site;
    this.#clock = clock;
    this.#line = line;
  }

  /** Nobody else has this object, and once it is registered nothing here leads to it. */
  heldBy(response: object): void {
    this.#response = response;
    this.#line.add(this, false);
  }

  /** Somebody has asked for the body, and may hold it without the response. */
  asked(): void {
    this.#asked = true;
    this.#line.remove(this);
    this.#response = undefined;
  }

  passDeadline(): void {
    if (this.#response !== undefined && !this.stream.isOver) responses.register(this.#response, this);
    this.#response = undefined;
  }

  collected(): void {
    const since = this.stream.unreadSince;
    if (this.#asked || since === undefined) return;
    this.reported = false;
    this.report(this.#clock.now() - since, true);
    void this.stream.discard();
  }

  report(unreadMs: number, collected: boolean): void {
    this.listener.leaked(unreadMs, collected, this.site === undefined ? "" : callerStack(this.site));
  }
}

const responses = new FinalizationRegistry<UnreadBody>((body) => body.collected());

/** So soon a body is asked for, unless something is amiss. */
const REGISTERED_AFTER_MS = 100;

/** Those of one pool. */
export class LeakWatch {
  readonly #line: DeadlineLine;
  readonly #thresholdMs: number;
  readonly #clock: Clock;
  /** Empty while `leakThresholdMs` is off. */
  readonly #watched = new Set<UnreadBody>();
  #timer: NodeJS.Timeout | undefined;

  constructor({ leakThresholdMs, clock }: { leakThresholdMs: number; clock: Clock }, deadlines: DeadlineLines) {
    this.#line = deadlines.of(REGISTERED_AFTER_MS);
    this.#thresholdMs = leakThresholdMs;
    this.#clock = clock;
  }

  /** Where the request is made, if that will be of use. */
  siteOf(request: { readonly stream: boolean }): CallSite | undefined {
    return this.#thresholdMs > 0 && request.stream ? callSite() : undefined;
  }

  watch(stream: WatchedStream, listener: LeakListener, site: CallSite | undefined): UnreadBody {
    const body = new UnreadBody(stream, listener, site, this.#clock, this.#line);
    if (this.#thresholdMs > 0) {
      this.#watched.add(body);
      this.#arm();
    }
    return body;
  }

  /** The pool has ended, and with it all that was watched. */
  end(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#look();
  }

  /** Looks often enough that what is found is at most a quarter of the threshold late. */
  #arm(): void {
    if (this.#timer !== undefined) return;
    const ring = (): void => {
      this.#timer = undefined;
      this.#look();
      if (this.#watched.size > 0) this.#arm();
    };
    this.#timer = setTimeout(ring, this.#thresholdMs / 4).unref();
  }

  #look(): void {
    const now = this.#clock.now();
    for (const body of this.#watched) {
      const since = body.stream.unreadSince;
      if (since === undefined) {
        if (body.reported) body.listener.leakOver(body.stream.wasRead);
        body.reported = false;
        if (body.stream.isOver) this.#watched.delete(body);
      } else if (!body.reported && now - since >= this.#thresholdMs) {
        body.reported = true;
        body.report(now - since, false);
      }
    }
  }
}
