import { types } from "node:util";

/** A value of up to so many objects (arrays, Maps and Sets among them) is looked at as a whole. */
export const WHOLE_OBJECTS = 10_000;
/** A value whose objects have up to so many properties and elements together is looked at as a whole. */
export const WHOLE_CHILDREN = 100_000;

// What V8 takes in a 64-bit process without compressed pointers, as Node is built; apps/bench/memory measures it.
const WORD = 8;
/** In front of the elements of an array, of the characters of a string, and of the digits of a bigint. */
const HEADER = 2 * WORD;
/** A number that is no integer of 32 bits is an object of its own, except in an array of nothing but numbers. */
const DOUBLE = 2 * WORD;
const OBJECT = 3 * WORD;
/** `{}` has room for four properties. */
const SPARE_FIELDS = 4 * WORD;
const ARRAY = 4 * WORD;
/** A Map or a Set, and the head of its hash table. */
const COLLECTION = 9 * WORD;
/** A hash table of properties, and one of them: name, value, details. */
const TABLE = 8 * WORD;
const TABLE_ENTRY = 3 * WORD;
const DATE = 12 * WORD;
const REGEXP = 23 * WORD;
/** With a stack of five calls. */
const ERROR = 59 * WORD;
/** A closure over one variable. */
const FUNCTION = 12 * WORD;
const ARRAY_BUFFER = 11 * WORD;
/** A Buffer or another typed array; one of its own of up to so many bytes has them on the heap. */
const VIEW = 13 * WORD;
const MOST_ELEMENT_BYTES = 64;

/** An object of more properties has them in a hash table, and then their names are data. */
const MOST_FIELDS = 127;
/** Short names are shared by all objects of the same shape; longer ones are data in the place of names. */
const LONG_NAME = 64;
/** JSON.parse makes equal strings of up to so many characters one, as programs do with those in their text. */
const SHARED_TEXT = 9;
/** Of so many different ones in a value, those without a digit are taken for words, which other values have, too. */
const MOST_TEXTS = 256;
const DIGIT = /\d/;
/** An element so far behind the last one makes an array sparse. */
const MOST_GAP = 1024;
/** In a string that V8 stores with one byte a character this never searches, however long the string is. */
const WIDE_CHARACTER = /[\u0100-\uffff]/;
const INDEX = /^(?:0|[1-9]\d{0,9})$/;

/**
 * About how many bytes a value takes in a 64-bit Node, on the heap and outside of it: within 10 % for values as caches
 * hold them, JSON above all, and far off for some others. The README has a table of errors, measured against the heap.
 *
 * Exact for the payload of Buffers, typed arrays and ArrayBuffers, and for strings: one byte a character while all are
 * below U+0100, as V8 stores them, else two, in words of 8. Objects, arrays, Maps, Sets, Dates, bigints and numbers
 * that are no 32-bit integers count with what V8 adds. Those integers, booleans, null, undefined and symbols take
 * nothing besides the slot they are in; alone they count 8. An object that a value reaches twice counts once, and so do
 * equal strings of up to 9 characters, of which JSON.parse makes one. The first 256 of these without a digit count
 * nothing inside of a value: they are taken for words ("active", "EUR") that all values share.
 *
 * It counts too little where a program can't see the memory: the room that `push` and new properties leave for more; a
 * hash table after `delete`, or because of names that are data, in an object of less than 128 properties (names count
 * from 128 properties on, without a prototype, and from 65 characters on); the rest of a large string or ArrayBuffer of
 * which the value is a part; an array that was made longer than 1,024 and left almost empty; what is private, not
 * enumerable or under a symbol. It counts too much where values share objects or longer strings. What a cache needs for
 * keys and bookkeeping is not in it.
 *
 * All is looked at in a value of up to 10,000 objects and 100,000 properties and elements, so that one large string or
 * Buffer counts wherever it is. Of more, samples that are evenly spread (of Maps and Sets the first entries) stand for
 * the rest, which bounds the time (to about 30 ms, on a slow machine). What is not bounded is only what V8 does in one
 * piece: listing the names of an object's properties (1 million: 0.3 s; a Map of that size has no such cost) or the
 * elements of an array that is almost empty, and the search for the first character above U+00FF in a string of two
 * bytes a character (10 million: 8 ms at most).
 *
 * Getters are called. Never throws: what refuses to be read counts as empty.
 */
export function estimateSize(value: unknown): number {
  return estimateWithin(value, WHOLE_OBJECTS, WHOLE_CHILDREN);
}

/** As `estimateSize`, with another limit of what is looked at as a whole. */
export function estimateWithin(value: unknown, objects: number, children: number): number {
  if (typeof value === "string") return stringBytes(value);
  if (typeof value !== "object" || value === null) return plainBytes(value) || WORD;
  const bytes = binaryBytes(value) ?? new Walk(objects, children).bytesOf(value);
  return Math.min(Math.round(bytes), Number.MAX_SAFE_INTEGER);
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
  #textsLeft = MOST_TEXTS;
  /** Objects, names, and strings that are short enough to be shared. */
  readonly #seen = new Set<unknown>();
  #found: Found[] = [];

  constructor(objects: number, children: number) {
    this.#objectsLeft = 2 * objects;
    this.#childrenLeft = 2 * children;
  }

  bytesOf(root: object): number {
    let bytes = this.#meetObject(root, 1);
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

  /** The bytes of a child outside of the slot that its parent has for it; an object's come with the next level. */
  #meet(child: unknown, weight: number): number {
    if (typeof child === "string") return child.length > SHARED_TEXT ? stringBytes(child) : this.#sharedText(child);
    if (typeof child !== "object" || child === null) return plainBytes(child);
    return this.#meetObject(child, weight);
  }

  #meetObject(object: object, weight: number): number {
    if (this.#seen.has(object)) return 0;
    this.#seen.add(object);
    const binary = binaryBytes(object);
    if (binary === undefined) this.#found.push({ object, weight });
    return binary ?? 0;
  }

  /** The bytes of a short string, or of a name of any length: V8 keeps one of all that are equal. */
  #sharedText(text: string): number {
    if (text.length < 2 || this.#seen.has(text)) return 0; // V8 has all strings of one character
    if (this.#textsLeft > 0) {
      this.#textsLeft--;
      this.#seen.add(text);
      if (text.length <= SHARED_TEXT && !DIGIT.test(text)) return 0;
    }
    return stringBytes(text);
  }

  /** The bytes of one object, and of those of its children that are no objects. */
  #look(object: object, weight: number): number {
    try {
      if (Array.isArray(object)) return this.#array(object, weight);
      const prototype: unknown = Object.getPrototypeOf(object);
      if (prototype === Object.prototype) return this.#properties(object, weight, OBJECT, false);
      if (types.isMap(object)) return collectionBytes(naturalNumber(object.size), 3) + this.#entries(object, weight);
      if (types.isSet(object)) return collectionBytes(naturalNumber(object.size), 2) + this.#members(object, weight);
      return this.#properties(object, weight, ownBytes(object), prototype === null);
    } catch {
      return OBJECT; // a proxy that refuses, or was revoked
    }
  }

  #array(array: readonly unknown[], weight: number): number {
    const length = naturalNumber(array.length);
    if (length === 0) return ARRAY;
    if (length > MOST_GAP && isMostlyHoles(array, length)) return this.#properties(array, weight, ARRAY, false, length);
    const looks = this.#take(length);
    const share = length / looks;
    let bytes = 0;
    let numbers = 0;
    let doubles = 0;
    for (let i = 0; i < looks; i++) {
      const item = read(array, Math.floor(i * share));
      if (typeof item === "number") {
        numbers++;
        if (isDouble(item)) doubles++;
      } else bytes += this.#meet(item, weight * share);
    }
    if (numbers < looks) bytes += doubles * DOUBLE;
    return ARRAY + HEADER + WORD * length + total(bytes, looks, length);
  }

  #entries(map: ReadonlyMap<unknown, unknown>, weight: number): number {
    const count = 2 * naturalNumber(map.size);
    const looks = this.#take(count);
    const each = weight * (count / looks);
    let bytes = 0;
    let looked = 0;
    // Entries come in their own order, without a way to the middle.
    for (const [key, value] of map) {
      if (looked++ >= looks) break;
      bytes += this.#meet(key, each);
      if (looked++ >= looks) break;
      bytes += this.#meet(value, each);
    }
    return total(bytes, looks, count);
  }

  #members(set: ReadonlySet<unknown>, weight: number): number {
    const count = naturalNumber(set.size);
    const looks = this.#take(count);
    const each = weight * (count / looks);
    let bytes = 0;
    let looked = 0;
    for (const member of set) {
      if (looked++ >= looks) break;
      bytes += this.#meet(member, each);
    }
    return total(bytes, looks, count);
  }

  /** Properties under names and under indexes. `own`: what the object takes without; `length`: of a sparse array. */
  #properties(object: object, weight: number, own: number, inTable: boolean, length = 0): number {
    const names = Object.keys(object);
    const indexes = countIndexes(names);
    const fields = names.length - indexes;
    const hashed = inTable || fields > MOST_FIELDS;
    const looks = this.#take(names.length);
    const share = names.length / looks;
    let bytes = 0;
    for (let i = 0; i < looks; i++) {
      const at = Math.floor(i * share);
      const name = names[at]!;
      if (at >= indexes && (hashed || name.length > LONG_NAME)) bytes += this.#sharedText(name);
      bytes += this.#meet(read(object, name), weight * share);
    }
    bytes = own + total(bytes, looks, names.length);
    if (hashed) bytes += tableBytes(fields);
    else if (fields > 0) bytes += WORD * fields;
    else if (own === OBJECT) bytes += SPARE_FIELDS;
    return bytes + elementBytes(indexes === 0 ? length : Math.max(length, Number(names[indexes - 1]) + 1), indexes);
  }

  /** How many of so many children may be looked at. */
  #take(count: number): number {
    const looks = Math.min(count, Math.ceil(this.#childrenLeft / 2));
    this.#childrenLeft -= looks;
    return looks;
  }
}

/** What takes so much for those that were looked at takes so much for all. */
function total(bytes: number, looks: number, count: number): number {
  return looks === 0 ? 0 : bytes * (count / looks);
}

function stringBytes(text: string): number {
  if (text.length === 0) return 0;
  return HEADER + inWords(WIDE_CHARACTER.test(text) ? text.length * 2 : text.length);
}

/** What a value that is neither an object nor a string takes outside of its slot. */
function plainBytes(value: unknown): number {
  if (typeof value === "number") return isDouble(value) ? DOUBLE : 0;
  if (typeof value === "bigint") return HEADER + inWords((value < 0n ? -value : value).toString(16).length / 2);
  return typeof value === "function" ? FUNCTION : 0;
}

function isDouble(value: number): boolean {
  return (value | 0) !== value;
}

/** The bytes of a Buffer, typed array, DataView or ArrayBuffer; undefined for any other object. */
function binaryBytes(object: object): number | undefined {
  if (!ArrayBuffer.isView(object)) {
    return types.isAnyArrayBuffer(object) ? ARRAY_BUFFER + naturalNumber(read(object, "byteLength")) : undefined;
  }
  const bytes = naturalNumber(read(object, "byteLength"));
  // What does not begin at 0 has its ArrayBuffer in common with others: small Buffers are parts of a pool.
  if (read(object, "byteOffset") !== 0) return VIEW + bytes;
  return VIEW + ARRAY_BUFFER + (bytes <= MOST_ELEMENT_BYTES ? HEADER : 0) + bytes;
}

/** What an object that is no array, Map or Set takes without its properties. */
function ownBytes(object: object): number {
  if (types.isDate(object)) return DATE;
  if (types.isRegExp(object)) return REGEXP + textBytes(read(object, "source"));
  if (types.isNativeError(object)) return ERROR + textBytes(read(object, "message"));
  return OBJECT;
}

function textBytes(text: unknown): number {
  return typeof text === "string" ? stringBytes(text) : 0;
}

/** A Map has 3 words an entry, a Set 2, and both a word for every 2 entries that they have room for. */
function collectionBytes(size: number, entryWords: number): number {
  return COLLECTION + (entryWords + 0.5) * WORD * powerOfTwo(size, 4);
}

/** A hash table has room for at least half as many again. */
function tableBytes(size: number): number {
  return TABLE + TABLE_ENTRY * powerOfTwo(Math.floor(1.5 * size), 4);
}

/** Elements in a row, or in a hash table where that takes less than a third: so V8 decides. */
function elementBytes(length: number, present: number): number {
  if (length === 0) return 0;
  const inRow = HEADER + WORD * length;
  const inTable = tableBytes(present);
  return inRow > 3 * inTable ? inTable : inRow;
}

/** Only a look at 16 places: that more than one in eight is an element makes an array one in a row. */
function isMostlyHoles(array: readonly unknown[], length: number): boolean {
  let elements = 0;
  for (let i = 0; i < 16; i++) if (Math.floor((i * length) / 16) in array) elements++;
  return elements <= 2;
}

/** How many names are indexes of elements; these come first, in their order. */
function countIndexes(names: readonly string[]): number {
  let [low, high] = [0, names.length];
  if (high === 0 || !startsWithDigit(names[0]!)) return 0;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (INDEX.test(names[middle]!)) low = middle + 1;
    else high = middle;
  }
  return low;
}

function startsWithDigit(name: string): boolean {
  const first = name.charCodeAt(0);
  return first >= 48 && first <= 57;
}

function powerOfTwo(atLeast: number, least: number): number {
  let power = least;
  while (power < atLeast) power *= 2;
  return power;
}

function inWords(bytes: number): number {
  return Math.ceil(bytes / WORD) * WORD;
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
