import { types } from "node:util";

/** A value of up to so many objects (arrays, Maps and Sets among them) is looked at as a whole. */
export const WHOLE_OBJECTS = 10_000;
/** A value whose objects have up to so many properties and elements together is looked at as a whole. */
export const WHOLE_CHILDREN = 100_000;

const WORD = 8;
const OBJECT_HEADER = 24;
/** Short names are shared by all objects of the same shape; longer ones are data in the place of names. */
const LONG_NAME = 64;
/** In a string that V8 stores with one byte a character this never searches, however long the string is. */
const WIDE_CHARACTER = /[\u0100-\uffff]/;

/**
 * About how many bytes a value takes.
 *
 * Exact for the payload of Buffers, typed arrays and ArrayBuffers, and for strings: one byte a character while all are
 * below U+0100, as V8 stores them, else two. 8 for numbers, booleans, null, undefined and functions. Arrays and objects
 * count 24 and 8 for each element or own enumerable property, Maps and Sets 24 and 16 for each entry, plus what is in
 * them; an object that a value reaches twice counts once. Names of properties count from 65 characters on. What two
 * values share counts for each; what is private, not enumerable or under a symbol does not count, nor do the cache's
 * own keys and bookkeeping.
 *
 * All is looked at in a value of up to 10,000 objects and 100,000 properties and elements, so that one large string or
 * Buffer counts wherever it is. Of more, samples that are evenly spread (of Maps and Sets the first entries) stand for
 * the rest, which bounds the time (to about 20 ms, on a slow machine). What is not bounded is only what V8 does in one
 * piece: listing the names of an object's properties (1 million: 0.3 s; a Map of that size has no such cost), and the
 * search for the first character above U+00FF in a string of two bytes a character (10 million: 8 ms at most).
 *
 * Getters are called. Never throws: what refuses to be read counts as empty.
 */
export function estimateSize(value: unknown): number {
  return estimateWithin(value, WHOLE_OBJECTS, WHOLE_CHILDREN);
}

/** As `estimateSize`, with another limit of what is looked at as a whole. */
export function estimateWithin(value: unknown, objects: number, children: number): number {
  if (typeof value === "string" || typeof value === "bigint") return outsideBytes(value);
  if (typeof value !== "object" || value === null) return WORD;
  return Math.min(Math.round(new Walk(objects, children).bytesOf(value)), Number.MAX_SAFE_INTEGER);
}

/** An object that was met, and how many of its kind it stands for. */
interface Found {
  readonly object: object;
  readonly weight: number;
}

/**
 * A walk through one value, level by level, each object once.
 *
 * A level may take half of the objects that are still allowed, and an object half of the children: so with twice the
 * limit to begin with, everything below the limit is taken whole, and above it something is left for what comes later.
 */
class Walk {
  #objectsLeft: number;
  #childrenLeft: number;
  readonly #seen = new Set<object>();
  #found: Found[] = [];

  constructor(objects: number, children: number) {
    this.#objectsLeft = 2 * objects;
    this.#childrenLeft = 2 * children;
  }

  bytesOf(root: object): number {
    let bytes = this.#meet(root, 1);
    for (let level = this.#found; level.length > 0; level = this.#found) {
      this.#found = [];
      const looks = Math.min(level.length, Math.ceil(this.#objectsLeft / 2));
      const share = level.length / looks;
      this.#objectsLeft -= looks;
      for (let i = 0; i < looks; i++) {
        const { object, weight } = level[Math.floor(i * share)]!;
        bytes += this.#look(object, weight * share) * weight * share;
      }
    }
    return bytes;
  }

  /** The bytes of a child outside of the word that its parent has for it; an object's come with the next level. */
  #meet(child: unknown, weight: number): number {
    if (typeof child !== "object" || child === null) return outsideBytes(child);
    const payload = payloadBytes(child);
    if (payload !== undefined) return payload;
    if (!this.#seen.has(child)) {
      this.#seen.add(child);
      this.#found.push({ object: child, weight });
    }
    return 0;
  }

  /** The bytes of one object, and of those of its children that are no objects. */
  #look(object: object, weight: number): number {
    try {
      if (Array.isArray(object)) {
        const length = naturalNumber(object.length);
        return OBJECT_HEADER + WORD * length + this.#children(length, weight, (i) => read(object, i));
      }
      if (types.isMap(object) || types.isSet(object)) {
        const size = naturalNumber(object.size);
        const items = types.isMap(object) ? keysAndValues(object) : object.values();
        const count = types.isMap(object) ? 2 * size : size;
        // They come in their own order, without a way to the middle.
        return OBJECT_HEADER + 2 * WORD * size + this.#children(count, weight, () => items.next().value);
      }
      const names = Object.keys(object);
      let longNames = 0;
      const properties = this.#children(names.length, weight, (i) => {
        const name = names[i]!;
        if (name.length > LONG_NAME) longNames += outsideBytes(name);
        return read(object, name);
      });
      return OBJECT_HEADER + WORD * names.length + longNames + properties;
    } catch {
      return OBJECT_HEADER; // a proxy that refuses, or was revoked
    }
  }

  #children(count: number, weight: number, childAt: (i: number) => unknown): number {
    const looks = Math.min(count, Math.ceil(this.#childrenLeft / 2));
    if (looks === 0) return 0;
    const share = count / looks;
    this.#childrenLeft -= looks;
    let bytes = 0;
    for (let i = 0; i < looks; i++) bytes += this.#meet(childAt(Math.floor(i * share)), weight * share);
    return bytes * share;
  }
}

/** What a value that is no object takes outside of the word that it is or that points to it. */
function outsideBytes(value: unknown): number {
  if (typeof value === "string") return WIDE_CHARACTER.test(value) ? value.length * 2 : value.length;
  if (typeof value === "bigint") return WORD + Math.ceil(value.toString(16).length / 16) * WORD;
  return 0;
}

/** The length of a Buffer, typed array, DataView or ArrayBuffer; undefined for any other object. */
function payloadBytes(object: object): number | undefined {
  if (!ArrayBuffer.isView(object) && !types.isAnyArrayBuffer(object)) return undefined;
  return naturalNumber(read(object, "byteLength"));
}

function* keysAndValues(map: ReadonlyMap<unknown, unknown>): Generator<unknown, undefined, undefined> {
  for (const [key, value] of map) {
    yield key;
    yield value;
  }
}

function read(object: object, name: string | number): unknown {
  try {
    return (object as Record<string | number, unknown>)[name];
  } catch {
    return undefined; // a getter that throws
  }
}

/** A length or a size; subclasses and proxies may say anything. */
function naturalNumber(value: unknown): number {
  return Number.isSafeInteger(value) && (value as number) > 0 ? (value as number) : 0;
}
