import { types } from "node:util";

const PAIRS = new Set(["Headers", "URLSearchParams", "FormData"]);

/** What an object says that it is, as `Request`; "Object" where it says nothing. */
export function tagOf(value: object): string {
  return Object.prototype.toString.call(value).slice("[object ".length, -1);
}

/** Headers, URLSearchParams and FormData, of Node or of a library; `JSON.stringify` shows them as `{}`. */
export function isPairs(value: object): value is Iterable<[string, unknown]> {
  return PAIRS.has(tagOf(value)) && typeof (value as Partial<Iterable<unknown>>)[Symbol.iterator] === "function";
}

/**
 * The values by name; of a name that comes more than once, a list. It takes no more pairs than the limit, as nobody
 * knows how many will come.
 */
export function grouped(pairs: Iterable<[string, unknown]>, maxItems: number): Map<string, unknown> {
  const lists = new Map<string, unknown[]>();
  let taken = 0;
  for (const [name, value] of pairs) {
    if (taken++ >= maxItems) {
      lists.set("[left out]", ["the rest"]);
      break;
    }
    const list = lists.get(name);
    if (list === undefined) lists.set(name, [value]);
    else list.push(value);
  }
  return new Map(Array.from(lists, ([name, list]) => [name, list.length === 1 ? list[0] : list]));
}

const getter = (prototype: object, name: PropertyKey): ((this: unknown) => unknown) =>
  Object.getOwnPropertyDescriptor(prototype, name)?.get as (this: unknown) => unknown;

// The getters of the language: an object's own properties may say anything.
const TYPED_ARRAY = Object.getPrototypeOf(Uint8Array.prototype) as object;
const kindOf = getter(TYPED_ARRAY, Symbol.toStringTag);
const typedArrayLength = getter(TYPED_ARRAY, "byteLength");
const dataViewLength = getter(DataView.prototype, "byteLength");
const bufferLength = getter(ArrayBuffer.prototype, "byteLength");
const sharedBufferLength = getter(SharedArrayBuffer.prototype, "byteLength");

/** `[Buffer: 5 bytes]`: bytes are no use in a line. */
export function binary(value: object): string {
  const kind = kindOf.call(value);
  if (typeof kind === "string") return bytes(Buffer.isBuffer(value) ? "Buffer" : kind, typedArrayLength.call(value));
  if (types.isDataView(value)) return bytes("DataView", lengthOfView(value));
  if (types.isSharedArrayBuffer(value)) return bytes("SharedArrayBuffer", sharedBufferLength.call(value));
  return bytes("ArrayBuffer", bufferLength.call(value));
}

/** A view of a buffer that was handed over, or cut, has no length any more. */
function lengthOfView(view: DataView): unknown {
  try {
    return dataViewLength.call(view);
  } catch {
    return 0;
  }
}

const bytes = (name: string, length: unknown): string => `[${name}: ${String(length)} byte${length === 1 ? "" : "s"}]`;
