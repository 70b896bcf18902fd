import { AsyncResource } from "node:async_hooks";
import { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { currentRequest, type RequestContext } from "../request/request-context.ts";

/** Runs listeners where the request is handled, whatever else is known there: the spans of a tracer, too. */
class Scope extends AsyncResource {
  readonly context: RequestContext;

  constructor(context: RequestContext) {
    super("vg.request");
    this.context = context;
  }
}

// Shared with nobody: two servers never handle the same request.
const SCOPE = Symbol("request scope");

interface Bound extends EventEmitter {
  [SCOPE]?: Scope;
}

/**
 * Lets every listener on the two run inside the request's context. Their events come from the connection, which serves
 * many requests: without this, `currentRequest()` is lost in the second piece of a body, and in "finish" and "close".
 */
export function keepContext(request: IncomingMessage, response: ServerResponse): void {
  const context = currentRequest();
  if (context === undefined) return;
  const scope = new Scope(context);
  bind(request, scope);
  bind(response, scope);
}

/** The context of a request that `keepContext` has seen, wherever it is asked for. */
export function contextOf(request: object): RequestContext | undefined {
  return (request as Bound)[SCOPE]?.context;
}

function bind(emitter: Bound, scope: Scope): void {
  emitter[SCOPE] = scope;
  emitter.emit = emitInScope;
}

const { emit } = EventEmitter.prototype;

// One function for all, in the place of a closure for each; `this` is the request or the response.
function emitInScope(this: Bound, event: string | symbol, ...args: unknown[]): boolean {
  const scope = this[SCOPE];
  // Most events have no listener, and some come from within the request itself.
  if (scope === undefined || this.listenerCount(event) === 0 || currentRequest() === scope.context) {
    return emit.call(this, event, ...args);
  }
  return scope.runInAsyncScope(emit, this, event, ...args);
}
