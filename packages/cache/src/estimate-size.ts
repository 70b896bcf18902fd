/** At most so many objects, strings and numbers are looked at for one estimate. */
const MAX_NODES = 256;
/** Of one array or object at most so many children are looked at, evenly spread; the rest counts as their mean. */
const MAX_CHILDREN = 24;
const MAX_DEPTH = 8;
/** Of a string at most so many characters are looked at to find out whether it takes one byte a character or two. */
const MAX_CHARS = 4096;

const WORD = 8;
const OBJECT_HEADER = 24;

/**
 * About how many bytes a value takes, in bounded time whatever its size.
 *
 * Exact for the payload of Buffers, typed arrays, ArrayBuffers and for strings of up to 4,096 characters (one byte a
 * character while all are below U+0100, as V8 stores them, else two; longer strings are judged by 4,096 characters
 * spread over them). 8 for numbers, booleans, null and undefined. Arrays, plain objects, Maps and Sets count 24 and 8
 * for each element, plus their children, of which up to 24 an object and 256 in all are visited and the others taken as
 * the mean. What two values share counts for each of them; keys, names of properties and the cache's own bookkeeping
 * do not count. Never throws, and needs no acyclic value.
 */
export function estimateSize(value: unknown): number {
  // The usual values first, without the bookkeeping of a walk.
  if (typeof value === "string") return stringBytes(value);
  if (typeof value !== "object" || value === null) return scalarBytes(value);
  return Math.round(new Walk().bytesOf(value, 0));
}

class Walk {
  #left = MAX_NODES;

  bytesOf(value: unknown, depth: number): number {
    this.#left--;
    if (typeof value === "string") return stringBytes(value);
    if (typeof value !== "object" || value === null) return scalarBytes(value);
    if (ArrayBuffer.isView(value)) return value.byteLength;
    if (value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) return value.byteLength;
    if (depth >= MAX_DEPTH) return OBJECT_HEADER;
    if (Array.isArray(value)) {
      return OBJECT_HEADER + WORD * value.length + this.#children(value.length, (i) => read(value, i), depth);
    }
    if (value instanceof Map || value instanceof Set) return this.#collection(value, depth);
    const names = ownNames(value);
    return OBJECT_HEADER + WORD * names.length + this.#children(names.length, (i) => read(value, names[i]!), depth);
  }

  /** A Map or Set: its first entries stand for all, since only a walk over the others would reach later ones. */
  #collection(items: Map<unknown, unknown> | Set<unknown>, depth: number): number {
    const first: unknown[] = [];
    for (const [key, value] of items.entries()) {
      if (first.length >= MAX_CHILDREN) break;
      // A Set gives each element twice.
      first.push(items instanceof Map ? [key, value] : key);
    }
    const bytes = this.#children(first.length, (i) => first[i], depth);
    return OBJECT_HEADER + 2 * WORD * items.size + (first.length === 0 ? 0 : (bytes / first.length) * items.size);
  }

  /** The bytes of `count` children, from those that were looked at. A number's or boolean's word is counted already. */
  #children(count: number, childAt: (i: number) => unknown, depth: number): number {
    const looks = Math.min(count, MAX_CHILDREN);
    let bytes = 0;
    let looked = 0;
    for (let i = 0; i < looks && this.#left > 0; i++) {
      const child = childAt(count === looks ? i : Math.floor((i * count) / looks));
      if (typeof child === "string" || typeof child === "bigint" || (typeof child === "object" && child !== null)) {
        bytes += this.bytesOf(child, depth + 1);
      } else {
        this.#left--;
      }
      looked++;
    }
    return looked === 0 ? 0 : (bytes / looked) * count;
  }
}

function scalarBytes(value: unknown): number {
  return typeof value === "bigint" ? WORD + Math.ceil(value.toString(16).length / 16) * WORD : WORD;
}

function stringBytes(text: string): number {
  const step = Math.max(1, text.length / MAX_CHARS);
  for (let i = 0; i < text.length; i += step) {
    if (text.charCodeAt(Math.floor(i)) > 0xff) return text.length * 2;
  }
  return text.length;
}

function ownNames(value: object): string[] {
  try {
    return Object.keys(value);
  } catch {
    return []; // a proxy that refuses
  }
}

function read(value: object, name: string | number): unknown {
  try {
    return Reflect.get(value, name);
  } catch {
    return undefined; // a getter that throws
  }
}
