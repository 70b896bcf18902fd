import { AsyncLocalStorage } from "node:async_hooks";
import type { TraceContext } from "./trace-context.ts";

/** The fields that lines get from the context that they are logged in. Frozen. */
export interface AmbientContext extends TraceContext {
  readonly [name: string]: unknown;
}

/** A context that was entered. What its first logger made of it is kept here, where a garbage collector has no work. */
export interface Entered {
  readonly fields: AmbientContext;
  /** Of the `owner` only: another one, of another copy of this package, can't read it. */
  memo: unknown;
  owner: object | undefined;
}

interface Store {
  /** Until the first context there is nothing to ask the storage. */
  used: boolean;
  readonly storage: AsyncLocalStorage<Entered>;
}

// Two copies of this package in one process share one context, so what is kept here is plain objects of this shape only.
const STORE = Symbol.for("@vg/logging.context.1");
const holder = globalThis as { [STORE]?: Store };
const store: Store = (holder[STORE] ??= { used: false, storage: new AsyncLocalStorage() });

/**
 * Calls `fn`; every line that any logger writes meanwhile, and in what `fn` starts (promises, timers, callbacks),
 * carries these fields, after the message and before the logger's own.
 *
 * A context inside another adds to it and replaces what it repeats; `undefined` and, for `fields`, `null` change
 * nothing. A `trace_id` other than the outer one leaves the outer `span_id`, `trace_flags` and `tracestate` behind.
 * `tracestate` is carried, not shown.
 *
 * @param fields read now, of which a logger serialises each context once, at its first line there
 * @returns what `fn` returns; throws what `fn` throws, and nothing else
 */
export function withContext<T>(fields: object | null | undefined, fn: () => T): T {
  const outer = currentContext();
  const context = extend(outer, fields);
  if (context === undefined || context === outer) return fn();
  return runInContext(context, fn);
}

/**
 * As `withContext`, for a server that makes a context for each request: `context` is taken as it is, neither checked nor
 * copied nor added to the one around it. Whoever made it may still change it until its first line is written; after that
 * it must stay as it is.
 *
 * @param args handed to `fn`, which so needs no closure
 * @returns what `fn` returns; throws what `fn` throws, and nothing else
 */
export function runInContext<A extends unknown[], T>(context: AmbientContext, fn: (...args: A) => T, ...args: A): T {
  store.used = true;
  return store.storage.run({ fields: context, memo: undefined, owner: undefined }, fn, ...args);
}

/** The fields of the context that this is called in, of all `withContext` around it; `undefined` outside of any. */
export function currentContext(): AmbientContext | undefined {
  return entered()?.fields;
}

export function entered(): Entered | undefined {
  return store.used ? store.storage.getStore() : undefined;
}

function extend(outer: AmbientContext | undefined, fields: object | null | undefined): AmbientContext | undefined {
  const added = ownFields(fields);
  if (added === undefined) return outer;
  if (outer === undefined) return Object.freeze(added);
  if (added.trace_id === undefined || added.trace_id === outer.trace_id) return Object.freeze({ ...outer, ...added });
  const { span_id: _span, trace_flags: _flags, tracestate: _state, ...kept } = outer;
  return Object.freeze({ ...kept, ...added });
}

/** A copy of the fields that say something. What can't be read is marked, as it is in a line. */
function ownFields(fields: object | null | undefined): AmbientContext | undefined {
  if (typeof fields !== "object" || fields === null) return undefined;
  try {
    const copy: AmbientContext = { ...fields };
    const values = Object.values(copy);
    if (!values.includes(undefined)) return values.length === 0 ? undefined : copy;
  } catch {
    // A getter threw, or a proxy.
  }
  return readableFields(fields);
}

function readableFields(fields: object): AmbientContext | undefined {
  const found = new Map<string, unknown>();
  try {
    for (const name of Object.keys(fields)) {
      try {
        const value: unknown = Reflect.get(fields, name);
        if (value !== undefined) found.set(name, value);
      } catch {
        found.set(name, "[unreadable]");
      }
    }
  } catch {
    return undefined;
  }
  // Unlike an assignment, this does not take `__proto__` for anything but a name.
  return found.size === 0 ? undefined : Object.fromEntries(found);
}
