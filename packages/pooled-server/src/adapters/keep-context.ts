import { AsyncResource } from "node:async_hooks";
import { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { activeSpanContext } from "@vg/logging";
import { currentRequest, runInRequest, type RequestContext } from "../request/request-context.ts";

// Shared with nobody: two servers never handle the same request.
const CONTEXT = Symbol("request context");
/** Where a tracer has a span around the request, that is to be there, too. */
const SCOPE = Symbol("request scope");

interface Bound extends EventEmitter {
  [CONTEXT]?: RequestContext;
  [SCOPE]?: AsyncResource;
}

/**
 * Lets every listener on the two run inside the request's context. Their events come from the connection, which serves
 * many requests: without this, `currentRequest()` is lost in the second piece of a body, and in "finish" and "close".
 */
export function keepContext(request: IncomingMessage, response: ServerResponse): void {
  const context = currentRequest();
  if (context === undefined) return;
  const scope = activeSpanContext() === undefined ? undefined : new AsyncResource("vg.request");
  bind(request, context, scope);
  bind(response, context, scope);
}

/** The context of a request that `keepContext` has seen, wherever it is asked for. */
export function contextOf(request: object): RequestContext | undefined {
  return (request as Bound)[CONTEXT];
}

function bind(emitter: Bound, context: RequestContext, scope: AsyncResource | undefined): void {
  emitter[CONTEXT] = context;
  if (scope !== undefined) emitter[SCOPE] = scope;
  emitter.emit = emitInScope;
}

const { emit } = EventEmitter.prototype;

// One function for all, in the place of a closure for each; `this` is the request or the response.
function emitInScope(this: Bound, event: string | symbol, ...args: unknown[]): boolean {
  const context = this[CONTEXT];
  // Some events come from within the request itself, and most have no listener.
  if (context === undefined || currentRequest() === context || this.listenerCount(event) === 0) {
    return emit.call(this, event, ...args);
  }
  const scope = this[SCOPE];
  if (scope !== undefined) return scope.runInAsyncScope(emit, this, event, ...args);
  return runInRequest(context, emitOn, this, event, args);
}

function emitOn(emitter: Bound, event: string | symbol, args: readonly unknown[]): boolean {
  return emit.call(emitter, event, ...args);
}
