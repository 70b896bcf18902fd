import { Readable } from "node:stream";

/** Those that a request has, though nobody has read from them yet. */
const given = new WeakSet<Readable | ReadableStream>();

/**
 * Takes a stream for a request. Throws an Error where it cannot give a whole body any more: it was read, closed, locked
 * by a reader, or given to a request before. Of other async iterables nobody can tell.
 */
export function takeStream(value: object): void {
  if (!(value instanceof Readable || value instanceof ReadableStream)) return;
  const advice = "Give a fresh one, or a function that makes one for each attempt";
  if (given.has(value)) throw new Error(`the body is a stream that was given to another request already. ${advice}`);
  // It knows web streams, too; its types do not say so.
  if (Readable.isDisturbed(value as Readable))
    throw new Error(`the body is a stream that was read or closed already. ${advice}`);
  if (value instanceof ReadableStream && value.locked) {
    throw new Error(`the body is a stream that another reader has locked. ${advice}`);
  }
  given.add(value);
}
