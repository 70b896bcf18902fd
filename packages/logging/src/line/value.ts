import { types } from "node:util";
import type { Limits } from "../config.ts";
import { isError, writeError } from "./error.ts";
import { isShortAndPlain } from "./plain-text.ts";
import { describeReason } from "./reason.ts";
import type { Redactor } from "./redact.ts";

/** What is known of a field's name; learned once a name. */
export interface Key {
  /** As it is shown. */
  readonly name: string;
  /** `,"name":` */
  readonly prefix: string;
  readonly secret: boolean;
  /** It was cut or had a secret in it, so that two names may now look alike. */
  readonly altered: boolean;
  /** The line itself has a meaning for this name, or it was altered: a field of this name needs a closer look. */
  readonly special: boolean;
}

const NOTHING: object = Object.freeze({});

/** The walk through the values of one line: where it is, and how much it may still write. */
export class Walk {
  /** From the object whose fields are written, which is at depth 0, down to the one that is being written. */
  readonly ancestors: object[];
  budget: number;

  constructor(budget: number, root: object = NOTHING) {
    this.ancestors = [root];
    this.budget = budget;
  }
}

// Otherwise a text is its own JSON and holds none of the secrets that redact.ts looks for in texts.
// The letters before the colon are those that end the names there.
export const NEEDS_CARE: RegExp = /["\\=\p{Cc}\p{Cs}]|[denstyDENSTY]'? ?:|:\/\/|[Bb](?:earer|asic)\s|BEARER\s|----/u;
/** What has more than these is worth a walk, which keeps count of what it writes. */
const SIMPLE_ITEMS = 16;
const REMEMBERED_KEYS = 4096;
const LONGEST_KEY = 128;
// A secret that straddles the cut must be seen whole before the rest is cut off.
const SCRUB_BEYOND_CUT = 4096;

/**
 * Turns any value into JSON text. Never throws: what can't be read is marked in its place. Bounded: depth, entries and
 * text by the limits, all of it by the walk's budget.
 */
export class ValueWriter {
  readonly #limits: Limits;
  readonly #redactor: Redactor;
  readonly #special: ReadonlySet<string>;
  readonly #simpleItems: number;
  readonly #keys = new Map<string, Key>();
  /** The JSON text that stands for a secret. */
  readonly redacted: string;

  constructor(limits: Limits, redactor: Redactor, special: ReadonlySet<string>) {
    this.#limits = limits;
    this.#redactor = redactor;
    this.#special = special;
    this.#simpleItems = Math.min(limits.maxItems, SIMPLE_ITEMS);
    this.redacted = JSON.stringify(redactor.replacement);
  }

  key(name: string): Key {
    return this.#keys.get(name) ?? this.#learn(name);
  }

  /** A text as JSON: escaped, its secrets replaced, cut at the limit (or a lower one). */
  text(value: string, maxLength: number = this.#limits.maxStringLength): string {
    if (value.length <= maxLength && (isShortAndPlain(value) || !NEEDS_CARE.test(value))) return `"${value}"`;
    return JSON.stringify(this.#clean(value, maxLength));
  }

  #clean(value: string, maxLength: number): string {
    const isCut = value.length > maxLength + SCRUB_BEYOND_CUT;
    const clean = this.#redactor.scrub(isCut ? value.slice(0, maxLength + SCRUB_BEYOND_CUT) : value, isCut);
    return isCut || clean.length > maxLength ? `${clean.slice(0, maxLength)}…[${value.length} characters]` : clean;
  }

  /** A value as one text, for the placeholders of a message: JSON, or what an error says. */
  inline(value: unknown, budget: number): string {
    try {
      if (isError(value)) return String(value);
    } catch {
      // It objects to being a text; as a value it does not.
    }
    return this.value(value, new Walk(budget)) ?? typeof value;
  }

  /** A value as JSON, or `undefined` where JSON has nothing to show: undefined, functions and symbols. */
  value(value: unknown, walk: Walk): string | undefined {
    const text = this.#write(value, walk);
    if (text !== undefined && typeof value !== "object") walk.budget -= text.length;
    return text;
  }

  /** A short list or plain object of plain values, written without a walk; `undefined` for any other. May throw. */
  simple(value: object): string | undefined {
    let out = "";
    if (Array.isArray(value)) {
      if (value.length > this.#simpleItems) return undefined;
      for (let i = 0; i < value.length; i++) {
        const text = this.#simpleText(value[i]);
        if (text === undefined) return undefined;
        out += i === 0 ? text : `,${text}`;
      }
      return `[${out}]`;
    }
    if (Object.getPrototypeOf(value) !== Object.prototype || "toJSON" in value) return undefined;
    const names = Object.keys(value);
    if (names.length > this.#simpleItems) return undefined;
    for (const name of names) {
      const key = this.key(name);
      const text = this.#simpleText((value as Record<string, unknown>)[name]);
      if (text === undefined || key.secret || key.altered) return undefined;
      out += key.prefix + text;
    }
    return `{${out.slice(1)}}`;
  }

  #simpleText(value: unknown): string | undefined {
    if (typeof value === "string") return this.text(value);
    return (typeof value === "number" && Number.isFinite(value)) || typeof value === "boolean" ? `${value}` : undefined;
  }

  /** The members `{"name":value,…}` of an object, without the braces, each with a comma before it. */
  members(object: object, walk: Walk, skip?: ReadonlySet<string>): string {
    let out = "";
    let shown = 0;
    const names = Object.keys(object);
    let distinct: DistinctNames | undefined;
    for (const name of names) {
      if (skip?.has(name) === true) continue;
      if (shown >= this.#limits.maxItems || walk.budget <= 0) {
        out += `,"[left out]":${names.length - shown}`;
        break;
      }
      const member = this.#member(object, name, walk);
      if (member === undefined) continue;
      shown++;
      const key = this.key(name);
      let { prefix } = key;
      if (key.altered) prefix = (distinct ??= new DistinctNames((taken) => Object.hasOwn(object, taken))).prefix(key);
      walk.budget -= prefix.length;
      out += prefix + member;
    }
    return out;
  }

  /** One property; a getter that throws spoils only its own place. */
  #member(object: object, name: string, walk: Walk): string | undefined {
    const { secret } = this.key(name);
    try {
      const value = (object as Record<string, unknown>)[name];
      if (secret && value !== undefined && value !== null) return this.redacted;
      return this.value(value, walk);
    } catch (reason) {
      // What the getter of a secret says may be the secret.
      return secret ? this.redacted : this.unreadable(reason);
    }
  }

  /** The mark for what could not be read. */
  unreadable(reason: unknown): string {
    return this.text(`[unreadable: ${describeReason(reason)}]`);
  }

  #write(value: unknown, walk: Walk): string | undefined {
    switch (typeof value) {
      case "string":
        return this.text(value);
      case "number":
        // JSON has no NaN and no Infinity; null would hide which it was.
        return Number.isFinite(value) ? String(value) : `"${value}"`;
      case "boolean":
        return value ? "true" : "false";
      case "bigint":
        return this.#bigint(value);
      case "object":
        return value === null ? "null" : this.#object(value, walk);
      default:
        return undefined;
    }
  }

  // Most readers hold numbers as doubles, which lose digits beyond 2^53.
  #bigint(value: bigint): string {
    if (value <= Number.MAX_SAFE_INTEGER && value >= Number.MIN_SAFE_INTEGER) return String(value);
    // A number of a million digits takes seconds to print in decimal.
    return BigInt.asIntN(256, value) === value ? `"${value}"` : '"[bigint of more than 256 bits]"';
  }

  #object(value: object, walk: Walk): string {
    const { ancestors } = walk;
    if (ancestors.includes(value)) return '"[circular]"';
    if (ancestors.length > this.#limits.maxDepth) return '"[too deep]"';
    if (walk.budget <= 0) return '"[left out]"';
    walk.budget -= 2;
    ancestors.push(value);
    try {
      return this.#structure(value, walk);
    } catch (reason) {
      return this.unreadable(reason);
    } finally {
      ancestors.pop();
    }
  }

  #structure(value: object, walk: Walk): string {
    if (Array.isArray(value)) return this.#list(value, value.length, walk);
    const prototype: unknown = Object.getPrototypeOf(value);
    if (prototype !== Object.prototype && prototype !== null) {
      const known = this.#builtIn(value, walk);
      if (known !== undefined) return known;
    }
    const { toJSON } = value as { toJSON?: unknown };
    if (typeof toJSON === "function") {
      const replacement: unknown = toJSON.call(value, "");
      // An object that stands for itself (`toJSON() { return this }`) is no circle.
      if (replacement !== value) return this.#write(replacement, walk) ?? "null";
    }
    return `{${this.members(value, walk).slice(1)}}`;
  }

  /** What `JSON.stringify` shows as `{}`, as a list of bytes or not at all, although it says something. */
  #builtIn(value: object, walk: Walk): string | undefined {
    if (isError(value)) return writeError(value, this, walk);
    if (types.isDate(value)) {
      return Number.isNaN(value.getTime()) ? '"Invalid Date"' : `"${Date.prototype.toISOString.call(value)}"`;
    }
    if (ArrayBuffer.isView(value)) return binary(types.isTypedArray(value) ? nameOf(value) : "DataView", value);
    if (types.isAnyArrayBuffer(value)) return binary("ArrayBuffer", value);
    if (types.isMap(value)) return this.#map(value, walk);
    if (isPairs(value)) return this.#map(grouped(value), walk);
    if (types.isSet(value)) return this.#list(value, value.size, walk);
    if (types.isRegExp(value)) return this.text(String(value));
    if (types.isPromise(value)) return '"[Promise]"';
    if (types.isBoxedPrimitive(value)) return this.#write(value.valueOf(), walk) ?? this.text(String(value));
    return undefined;
  }

  #list(values: Iterable<unknown>, length: number, walk: Walk): string {
    let out = "";
    let shown = 0;
    for (const value of values) {
      if (shown >= this.#limits.maxItems || walk.budget <= 0) {
        out += `,"[left out: ${length - shown}]"`;
        break;
      }
      out += `,${this.#secretPair(value) ?? this.value(value, walk) ?? "null"}`;
      shown++;
    }
    return `[${out.slice(1)}]`;
  }

  /** In a list of pairs, as headers often are, one that starts with a secret's name. */
  #secretPair(value: unknown): string | undefined {
    if (typeof value !== "object" || types.isProxy(value) || !Array.isArray(value) || value.length !== 2)
      return undefined;
    const name: unknown = value[0];
    if (typeof name !== "string" || !this.key(name).secret) return undefined;
    return `[${this.text(name)},${this.redacted}]`;
  }

  /** A map with texts for keys is an object; any other is a list of pairs. */
  #map(map: Map<unknown, unknown>, walk: Walk): string {
    for (const key of map.keys()) {
      if (typeof key !== "string") return this.#list(map, map.size, walk);
    }
    let out = "";
    let shown = 0;
    let distinct: DistinctNames | undefined;
    for (const [name, value] of map as Map<string, unknown>) {
      if (shown >= this.#limits.maxItems || walk.budget <= 0) {
        out += `,"[left out]":${map.size - shown}`;
        break;
      }
      const key = this.key(name);
      let { prefix } = key;
      if (key.altered) prefix = (distinct ??= new DistinctNames((taken) => map.has(taken))).prefix(key);
      const text = key.secret && value !== undefined && value !== null ? this.redacted : this.value(value, walk);
      walk.budget -= prefix.length;
      out += `${prefix}${text ?? "null"}`;
      shown++;
    }
    return `{${out.slice(1)}}`;
  }

  #learn(name: string): Key {
    const shown = name.length > LONGEST_KEY || NEEDS_CARE.test(name) ? this.#clean(name, LONGEST_KEY) : name;
    const altered = shown !== name;
    const key: Key = {
      name: shown,
      prefix: `,${JSON.stringify(shown)}:`,
      secret: this.#redactor.isSecret(shown),
      altered,
      special: altered || this.#special.has(name),
    };
    // Names that are made from data would fill the memory.
    if (name.length > LONGEST_KEY) return key;
    if (this.#keys.size >= REMEMBERED_KEYS) this.#keys.clear();
    this.#keys.set(name, key);
    return key;
  }
}

/** Numbers names that look alike after they were altered, so that each is once in its object. */
export class DistinctNames {
  readonly #isTaken: (name: string) => boolean;
  readonly #counts = new Map<string, number>();

  constructor(isTaken: (name: string) => boolean) {
    this.#isTaken = isTaken;
  }

  name({ name }: Key): string {
    let count = this.#counts.get(name) ?? 0;
    let shown: string;
    do {
      count++;
      shown = count === 1 ? name : `${name}#${count}`;
    } while (this.#isTaken(shown));
    this.#counts.set(name, count);
    return shown;
  }

  prefix(key: Key): string {
    return `,${JSON.stringify(this.name(key))}:`;
  }
}

const PAIRS = new Set(["[object Headers]", "[object URLSearchParams]", "[object FormData]"]);

/** Headers, URLSearchParams and FormData, of Node or of a library; `JSON.stringify` shows them as `{}`. */
export function isPairs(value: object): value is Iterable<[string, unknown]> {
  return (
    PAIRS.has(Object.prototype.toString.call(value)) &&
    typeof (value as Partial<Iterable<unknown>>)[Symbol.iterator] === "function"
  );
}

/** The values by name; of a name that comes more than once, a list. */
function grouped(pairs: Iterable<[string, unknown]>): Map<string, unknown> {
  const lists = new Map<string, unknown[]>();
  for (const [name, value] of pairs) {
    const list = lists.get(name);
    if (list === undefined) lists.set(name, [value]);
    else list.push(value);
  }
  return new Map(Array.from(lists, ([name, list]) => [name, list.length === 1 ? list[0] : list]));
}

function binary(name: string, { byteLength }: { readonly byteLength: number }): string {
  return `"[${name}: ${byteLength} byte${byteLength === 1 ? "" : "s"}]"`;
}

function nameOf(view: NodeJS.TypedArray): string {
  // Not `constructor.name`, which a subclass may have made anything.
  return Buffer.isBuffer(view) ? "Buffer" : view[Symbol.toStringTag];
}
