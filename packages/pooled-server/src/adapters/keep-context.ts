import { AsyncResource } from "node:async_hooks";
import { EventEmitter } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { currentRequest, type RequestContext } from "../request/request-context.ts";

// Shared with nobody: two servers never handle the same request.
const CONTEXT = Symbol("request context");
/** The whole asynchronous context of the handler: the request's, and that of a tracer which has a span around it. */
const SCOPE = Symbol("request scope");

interface Bound extends EventEmitter {
  [CONTEXT]: RequestContext;
  [SCOPE]: AsyncResource;
}

/**
 * Lets every listener on the two run inside the request's context. Their events come from the connection, which serves
 * many requests: without this, `currentRequest()` is lost in the second piece of a body, and in "finish" and "close".
 */
export function keepContext(request: IncomingMessage, response: ServerResponse): void {
  const context = currentRequest();
  if (context === undefined) return;
  // To go back into a context is cheaper than to make another one for each event.
  const scope = new AsyncResource("vg.request");
  bind(request, context, scope);
  bind(response, context, scope);
}

/** The context of a request that `keepContext` has seen, wherever it is asked for. */
export function contextOf(request: object): RequestContext | undefined {
  return (request as Partial<Bound>)[CONTEXT];
}

function bind(emitter: EventEmitter, context: RequestContext, scope: AsyncResource): void {
  const bound = emitter as Bound;
  bound[CONTEXT] = context;
  bound[SCOPE] = scope;
  bound.emit = emitInScope;
}

const { emit } = EventEmitter.prototype;

// One function for all, in the place of a closure for each; `this` is the request or the response.
function emitInScope(this: Bound, event: string | symbol, ...args: unknown[]): boolean {
  // Some events come from within the request itself, and most have no listener.
  if (currentRequest() === this[CONTEXT] || this.listenerCount(event) === 0) return emit.call(this, event, ...args);
  return this[SCOPE].runInAsyncScope(emit, this, event, ...args);
}
