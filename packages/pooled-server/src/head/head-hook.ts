import type { ServerResponse } from "node:http";

/** Who wants to know that the head of a request's answer is out. */
export interface HeadWatcher<C> {
  headOut(context: C): void;
}

const WATCHER: unique symbol = Symbol("vg.pooled-server.head-watcher");
const CONTEXT: unique symbol = Symbol("vg.pooled-server.head-context");
const BEFORE: unique symbol = Symbol("vg.pooled-server.write-head");

type WriteHead = (...args: unknown[]) => unknown;

interface Watched {
  [WATCHER]?: HeadWatcher<unknown>;
  [CONTEXT]?: unknown;
  /** What was on the response itself before. */
  [BEFORE]?: WriteHead | undefined;
  writeHead: WriteHead;
}

/**
 * Tells when the head of an answer is written, whoever writes it: node:http goes through `writeHead` for an implicit head,
 * too. Set on the response itself, as frameworks give it another prototype.
 */
export function onHead<C>(response: ServerResponse, watcher: HeadWatcher<C>, context: C): void {
  const watched = response as unknown as Watched;
  watched[WATCHER] = watcher as HeadWatcher<unknown>;
  watched[CONTEXT] = context;
  watched[BEFORE] = Object.hasOwn(watched, "writeHead") ? watched.writeHead : undefined;
  watched.writeHead = watchedWriteHead;
}

// One function for all responses, in the place of a closure for each.
function watchedWriteHead(this: Watched, ...args: unknown[]): unknown {
  const writeHead = this[BEFORE] ?? (Object.getPrototypeOf(this) as Watched).writeHead;
  const result = writeHead.apply(this, args);
  this[WATCHER]?.headOut(this[CONTEXT]);
  return result;
}
