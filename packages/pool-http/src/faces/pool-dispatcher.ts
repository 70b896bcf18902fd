/**
 * `pool.dispatcher`: the pool as an undici Dispatcher, for whatever takes one. It is a door and not the pool: closing or
 * destroying it ends what came through it and nothing else, because libraries close the dispatcher that they were given.
 */
import { Dispatcher, errors } from "undici";
import { HttpPoolClosedError } from "../errors.ts";
import { emitConnectionEvents } from "./connection-events.ts";
import { Dispatched } from "./dispatched.ts";
import { headersLimit, prepareDispatch, sourceOf, withOrigin, type DispatchOptions } from "./dispatch-request.ts";
import type { FaceHost } from "./face-host.ts";

export class PoolDispatcher extends Dispatcher {
  /** Not a #private field: `compose` returns a proxy, through which those are out of reach. */
  private readonly door: Door;

  constructor(host: FaceHost) {
    super();
    this.door = new Door(host, this);
  }

  /** No more requests are taken. */
  get closed(): boolean {
    return this.door.closed;
  }

  get destroyed(): boolean {
    return this.door.destroyed;
  }

  /**
   * Sends a request, under the limits, the deadline and the retries of the pool. Returns false where the next request to
   * this origin would have to wait; a "drain" event tells when that is over. A refused request is told to the handler,
   * as by undici's own dispatchers.
   */
  override dispatch(options: Dispatcher.DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    if (typeof handler !== "object" || handler === null) {
      throw new errors.InvalidArgumentError("handler must be an object");
    }
    try {
      if (typeof options !== "object" || options === null) {
        throw new errors.InvalidArgumentError("opts must be an object.");
      }
      return this.door.dispatch(options, handler);
    } catch (error) {
      if (typeof handler.onResponseError !== "function") throw error;
      // undici has no controller to give here either.
      handler.onResponseError(null as unknown as Dispatcher.DispatchController, error as Error);
      return false;
    }
  }

  /** As undici's. Interceptors of a pool with a base URL see the whole URL. */
  override compose(interceptors: Dispatcher.DispatcherComposeInterceptor[]): Dispatcher.ComposedDispatcher;
  override compose(...interceptors: Dispatcher.DispatcherComposeInterceptor[]): Dispatcher.ComposedDispatcher;
  override compose(
    ...given: (Dispatcher.DispatcherComposeInterceptor | Dispatcher.DispatcherComposeInterceptor[])[]
  ): Dispatcher.ComposedDispatcher {
    const { baseUrl } = this.door.options;
    const interceptors = given.flat();
    if (baseUrl === undefined) return super.compose(interceptors);
    const complete: Dispatcher.DispatcherComposeInterceptor = (dispatch) => (options, handler) =>
      dispatch(withOrigin(options, baseUrl), handler);
    // The last one is the outermost.
    return super.compose([...interceptors, complete]);
  }

  /** Takes no more requests and waits for those that came through here. The pool goes on. */
  override close(): Promise<void>;
  override close(callback: () => void): void;
  override close(callback?: (error?: unknown) => void): Promise<void> | void {
    const closed = this.door.close();
    if (callback === undefined) return closed;
    closed.then(() => callback(), callback);
  }

  /** Ends the requests that came through here, with `error` or undici's ClientDestroyedError. The pool goes on. */
  override destroy(): Promise<void>;
  override destroy(error: Error | null): Promise<void>;
  override destroy(callback: () => void): void;
  override destroy(error: Error | null, callback: () => void): void;
  override destroy(first?: Error | null | (() => void), second?: () => void): Promise<void> | void {
    const callback = typeof first === "function" ? first : second;
    const destroyed = this.door.destroy(typeof first === "function" ? null : first);
    if (callback === undefined) return destroyed;
    void destroyed.then(callback);
  }
}

/** What came through one dispatcher, and whether more may come. */
class Door {
  closed = false;
  destroyed = false;
  readonly #host: FaceHost;
  readonly #dispatcher: Dispatcher;
  readonly #running = new Set<Dispatched>();
  /** Origins to which a caller was told to send no more for now. */
  readonly #full = new Set<string>();
  readonly #stopEvents: () => void;
  #onEmpty: (() => void)[] = [];

  constructor(host: FaceHost, dispatcher: Dispatcher) {
    this.#host = host;
    this.#dispatcher = dispatcher;
    this.#stopEvents = emitConnectionEvents(dispatcher, host.watchers);
  }

  get options(): FaceHost["options"] {
    return this.#host.options;
  }

  dispatch(given: DispatchOptions, handler: Dispatcher.DispatchHandler): boolean {
    if (this.destroyed) throw new errors.ClientDestroyedError();
    if (this.closed) throw new errors.ClientClosedError();
    const source = sourceOf(given);
    const headersMs = headersLimit(given);
    const dispatched = new Dispatched({ handler, source, headersMs, onEnd: (ended) => this.#ended(ended, origin) });
    const request = prepareDispatch(given, this.options, source, dispatched);
    checkHandler(handler);
    const { origin } = request.target;
    const exchange = this.#begin(request);
    this.#running.add(dispatched);
    dispatched.run(exchange);
    if (this.#host.hasRoom(origin)) return true;
    this.#full.add(origin);
    return false;
  }

  close(): Promise<void> {
    if (this.destroyed) return Promise.reject(new errors.ClientDestroyedError());
    this.closed = true;
    return this.#emptied().then(() => {
      this.destroyed = true;
      this.#stopEvents();
    });
  }

  destroy(error: Error | null | undefined): Promise<void> {
    this.closed = true;
    this.destroyed = true;
    const reason = error ?? new errors.ClientDestroyedError();
    // Not within this call: its caller does not expect to hear of the ends before it returns.
    queueMicrotask(() => {
      for (const dispatched of this.#running) dispatched.abort(reason);
    });
    return this.#emptied().then(this.#stopEvents);
  }

  #begin(request: Parameters<FaceHost["begin"]>[0]): ReturnType<FaceHost["begin"]> {
    try {
      return this.#host.begin(request);
    } catch (error) {
      if (!(error instanceof HttpPoolClosedError)) throw error;
      throw Object.assign(new errors.ClientDestroyedError(error.message), { cause: error });
    }
  }

  #ended(dispatched: Dispatched, origin: string): void {
    this.#running.delete(dispatched);
    if (this.#running.size === 0) for (const resolve of this.#onEmpty.splice(0)) resolve();
    if (!this.#full.has(origin)) return;
    // Once its connection has come back.
    setImmediate(() => {
      if (this.#host.hasRoom(origin) && this.#full.delete(origin)) this.#dispatcher.emit("drain", new URL(origin));
    });
  }

  #emptied(): Promise<void> {
    if (this.#running.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onEmpty.push(resolve));
  }
}

const METHODS = [
  "onRequestStart",
  "onResponseError",
  "onBodySent",
  "onRequestSent",
  "onResponseStart",
  "onResponseData",
  "onResponseEnd",
] as const satisfies readonly (keyof Dispatcher.DispatchHandler)[];
const OPTIONAL = new Set<string>(["onBodySent", "onRequestSent"]);

/** A handler of undici 7 and before, which has other methods, would wait for ever. */
function checkHandler(handler: Dispatcher.DispatchHandler): void {
  const wrong = METHODS.find(
    (name) => typeof handler[name] !== "function" && !(OPTIONAL.has(name) && handler[name] === undefined),
  );
  if (wrong === undefined) return;
  const old = "onConnect" in handler || "onHeaders" in handler;
  const advice = old ? ". It is one of undici 7 or of Node's own fetch: give that pool.legacyDispatcher" : "";
  throw new errors.InvalidArgumentError(`invalid ${wrong} method${advice}`);
}
