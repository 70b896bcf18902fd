import { types } from "node:util";
import type { Limits } from "../config.ts";
import { isError, writeError } from "./error.ts";
import { DistinctNames, keyOf, leftOut, type Key } from "./key.ts";
import { isShortAndPlain } from "./plain-text.ts";
import { toJson } from "./json.ts";
import { describeReason } from "./reason.ts";
import type { Redactor } from "./redact.ts";
import { headerSecrets, isSecretEntry } from "./header-lists.ts";
import { hasLongWord, hasTokenSign } from "./tokens.ts";
import { binary, grouped, isPairs, tagOf } from "./built-in.ts";

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

// The line separators are no control characters, but some readers end a line there. The letters before the colon are
// those that end the names in redact-text.ts.
const SIGNS_OF_CARE = /["\\=\p{Cc}\p{Cs}\u2028\u2029]|[denstyDENSTY]'? ?:|:\/\/|[Bb](?:earer|asic)\s|BEARER\s|----/u;
const ESCAPED = /["\\\p{Cc}\p{Cs}\u2028\u2029]/u;

/** False: the text is its own JSON, and holds none of the secrets that redact-text.ts looks for. */
export function needsCare(text: string): boolean {
  return SIGNS_OF_CARE.test(text) || (hasLongWord(text) && hasTokenSign(text));
}

/** The same where nothing in texts is to be hidden. */
function needsEscapes(text: string): boolean {
  return ESCAPED.test(text);
}

/** What has more than these is worth a walk, which keeps count of what it writes. */
const SIMPLE_ITEMS = 16;
/** Of something that stands for a text, this much is shown. */
const LONGEST_INLINE = 1024;
/** A stack is mostly that of the error before: what fails, fails again at the same place. */
const REPEATED_LENGTH = 256;
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
  readonly #scrubsAll: boolean;
  readonly #needsCare: (text: string) => boolean;
  readonly #keys = new Map<string, Key>();
  readonly #isSecret = (name: string): boolean => this.key(name).secret;
  /** The last long text that needed care, and its JSON. */
  #repeated: string | undefined;
  #repeatedJson = "";
  /** The JSON text that stands for a secret. */
  readonly redacted: string;

  constructor(limits: Limits, redactor: Redactor, special: ReadonlySet<string>) {
    this.#limits = limits;
    this.#redactor = redactor;
    this.#special = special;
    this.#simpleItems = Math.min(limits.maxItems, SIMPLE_ITEMS);
    this.#scrubsAll = redactor.scrubsAll;
    this.#needsCare = redactor.scrubsNothing ? needsEscapes : needsCare;
    this.redacted = toJson(redactor.replacement);
  }

  key(name: string): Key {
    return this.#keys.get(name) ?? this.#learn(name);
  }

  /** A text as JSON: escaped, its secrets replaced, cut at the limit (or a lower one). */
  text(value: string, maxLength: number = this.#limits.maxStringLength): string {
    if (value.length <= maxLength) {
      if (!this.#scrubsAll && isShortAndPlain(value)) return `"${value}"`;
      if (value === this.#repeated && maxLength === this.#limits.maxStringLength) return this.#repeatedJson;
      if (!this.#scrubsAll && !this.#needsCare(value)) return `"${value}"`;
    }
    const clean = this.#clean(value, maxLength);
    const json = ESCAPED.test(clean) ? toJson(clean) : `"${clean}"`;
    if (value.length >= REPEATED_LENGTH && maxLength === this.#limits.maxStringLength && value.length <= maxLength) {
      this.#repeated = value;
      this.#repeatedJson = json;
    }
    return json;
  }

  #clean(value: string, maxLength: number): string {
    const isCut = value.length > maxLength + SCRUB_BEYOND_CUT;
    const clean = this.#redactor.scrub(isCut ? value.slice(0, maxLength + SCRUB_BEYOND_CUT) : value, isCut);
    if (!isCut && clean.length <= maxLength) return clean;
    // Not in the middle of a pair of surrogates.
    const end = /[\ud800-\udbff]/.test(clean.charAt(maxLength - 1)) ? maxLength - 1 : maxLength;
    return `${clean.slice(0, end)}…[${value.length} characters]`;
  }

  /** A value as one text, for the placeholders of a message: JSON, or what an error says. */
  inline(value: unknown, budget: number = LONGEST_INLINE): string {
    try {
      if (isError(value)) return String(value);
    } catch {
      // It objects to being a text; as a value it does not.
    }
    return this.value(value, new Walk(budget)) ?? typeof value;
  }

  /** A value as JSON, or `undefined` where JSON has nothing to show: undefined, functions and symbols. */
  value(value: unknown, walk: Walk): string | undefined {
    const before = walk.budget;
    const text = this.#write(value, walk);
    if (text !== undefined) walk.budget = Math.min(walk.budget, before - text.length);
    return text;
  }

  /** A short list or plain object of plain values, written without a walk; `undefined` for any other. May throw. */
  simple(value: object): string | undefined {
    let out = "";
    if (Array.isArray(value)) {
      if (value.length > this.#simpleItems || headerSecrets(value, this.#isSecret) !== undefined) return undefined;
      for (let i = 0; i < value.length; i++) {
        const text = this.plain(value[i]);
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
      const text = this.plain((value as Record<string, unknown>)[name]);
      if (text === undefined || key.suspect) return undefined;
      out += (out === "" ? key.opening : key.prefix) + text;
    }
    return out === "" ? "{}" : `${out}}`;
  }

  /** A text, a number that is one, or a boolean, as JSON; `undefined` for any other value. */
  plain(value: unknown): string | undefined {
    if (typeof value === "string") return this.text(value);
    return (typeof value === "number" && Number.isFinite(value)) || typeof value === "boolean" ? `${value}` : undefined;
  }

  /** The members `{"name":value,…}` of an object, without the braces, each with a comma before it. */
  members(object: object, walk: Walk, skip?: ReadonlySet<string>): string {
    let out = "";
    let shown = 0;
    const names = Object.keys(object);
    let distinct: DistinctNames | undefined;
    for (let i = 0; i < names.length; i++) {
      const name = names[i] as string;
      if (skip?.has(name) === true) continue;
      if (shown >= this.#limits.maxItems || walk.budget <= 0) {
        out += leftOut(names.length - i, (taken) => Object.hasOwn(object, taken));
        break;
      }
      // What is not shown costs time all the same.
      walk.budget--;
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

  /** One property; a getter that throws spoils only its own place. Of what is not shown, the name is not learned. */
  #member(object: object, name: string, walk: Walk): string | undefined {
    try {
      const value = (object as Record<string, unknown>)[name];
      if (value === null) return "null";
      if (value === undefined || typeof value === "function" || typeof value === "symbol") return undefined;
      if (this.#hides(object, name)) return this.redacted;
      return this.value(value, walk);
    } catch (reason) {
      // What the getter of a secret says may be the secret.
      return this.#hides(object, name) ? this.redacted : this.unreadable(reason);
    }
  }

  #hides(object: object, name: string): boolean {
    const { secret, suspect } = this.key(name);
    return secret || (suspect && isSecretEntry(object, name, this.#isSecret));
  }

  /** The mark for what could not be read. */
  unreadable(reason: unknown): string {
    // Without the bracket, which the value of an assignment would take for its own.
    return `"[unreadable: ${this.text(describeReason(reason)).slice(1, -1)}]"`;
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
    if (Array.isArray(value)) return this.#list(value, walk);
    const prototype: unknown = Object.getPrototypeOf(value);
    const isPlain = prototype === Object.prototype || prototype === null;
    if (!isPlain) {
      const known = this.#builtIn(value, walk);
      if (known !== undefined) return known;
    }
    const { toJSON } = value as { toJSON?: unknown };
    if (typeof toJSON === "function") {
      const replacement: unknown = toJSON.call(value, "");
      // An object that stands for itself (`toJSON() { return this }`) is no circle.
      if (replacement !== value) return this.#write(replacement, walk) ?? "null";
    }
    const members = this.members(value, walk);
    return members === "" && !isPlain ? this.#empty(value, walk) : `{${members.slice(1)}}`;
  }

  /** What has no properties of its own is shown by what it is: a promise, a generator, a request. */
  #empty(value: object, walk: Walk): string {
    const tag = tagOf(value);
    if (tag === "Object") return "{}";
    const shown = tag === "Request" ? ["method", "url"] : tag === "Response" ? ["status", "url"] : [];
    if (shown.length === 0) return this.text(`[${tag}]`);
    const picked = Object.fromEntries(shown.map((name) => [name, (value as Record<string, unknown>)[name]]));
    return `{${this.members(picked, walk).slice(1)}}`;
  }

  /** What `JSON.stringify` shows as `{}`, as a list of bytes or not at all, although it says something. */
  #builtIn(value: object, walk: Walk): string | undefined {
    if (isError(value)) return writeError(value, this, walk);
    // Methods and getters of the built-in classes, as an object's own may say anything.
    if (types.isDate(value)) {
      const time = Date.prototype.getTime.call(value);
      return Number.isNaN(time) ? '"Invalid Date"' : `"${new Date(time).toISOString()}"`;
    }
    if (ArrayBuffer.isView(value) || types.isAnyArrayBuffer(value)) return this.text(binary(value));
    if (types.isMap(value)) return this.#map(value, walk);
    if (isPairs(value)) return this.#map(grouped(value, this.#limits.maxItems), walk);
    if (types.isSet(value)) return this.#set(value, walk);
    if (types.isRegExp(value)) return this.text(String(value));
    if (types.isBoxedPrimitive(value)) return this.#write(value.valueOf(), walk) ?? this.text(String(value));
    return undefined;
  }

  /** @param length of the whole, of which the values may be only those that can be shown */
  #list(values: readonly unknown[], walk: Walk, length: number = values.length): string {
    let out = "";
    const secrets = headerSecrets(values, this.#isSecret);
    for (let i = 0; i < length; i++) {
      if (i >= this.#limits.maxItems || walk.budget <= 0) {
        out += `,"[left out: ${length - i}]"`;
        break;
      }
      const text = secrets?.has(i) === true ? this.redacted : this.#item(values, i, walk);
      walk.budget--;
      out += `,${text}`;
    }
    return `[${out.slice(1)}]`;
  }

  #item(values: readonly unknown[], index: number, walk: Walk): string {
    try {
      const value = values[index];
      return this.#secretPair(value) ?? this.value(value, walk) ?? "null";
    } catch (reason) {
      return this.unreadable(reason);
    }
  }

  #set(set: ReadonlySet<unknown>, walk: Walk): string {
    const some: unknown[] = [];
    for (const value of Set.prototype.values.call(set) as Iterable<unknown>) {
      if (some.length > this.#limits.maxItems) break;
      some.push(value);
    }
    return this.#list(some, walk, sizeOf(set));
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
    const size = sizeOf(map);
    const entries: [unknown, unknown][] = [];
    for (const entry of Map.prototype.entries.call(map) as Iterable<[unknown, unknown]>) {
      if (entries.length >= this.#limits.maxItems) break;
      entries.push(entry);
    }
    if (entries.some(([name]) => typeof name !== "string")) {
      return this.#list(entries, walk, size);
    }
    let out = "";
    let shown = 0;
    let distinct: DistinctNames | undefined;
    for (const [name, value] of entries as [string, unknown][]) {
      if (walk.budget <= 0) break;
      const key = this.key(name);
      let { prefix } = key;
      if (key.altered)
        prefix = (distinct ??= new DistinctNames((taken) => Map.prototype.has.call(map, taken))).prefix(key);
      const text = key.secret && value !== undefined && value !== null ? this.redacted : this.value(value, walk);
      walk.budget -= prefix.length;
      out += `${prefix}${text ?? "null"}`;
      shown++;
    }
    if (shown < size) out += leftOut(size - shown, (taken) => Map.prototype.has.call(map, taken));
    return `{${out.slice(1)}}`;
  }

  #learn(name: string): Key {
    const shown =
      name.length > LONGEST_KEY || this.#scrubsAll || this.#needsCare(name) ? this.#clean(name, LONGEST_KEY) : name;
    const key = keyOf(name, shown, this.#redactor.isSecret(shown), this.#special.has(name));
    // Names that are made from data would fill the memory.
    if (name.length > LONGEST_KEY) return key;
    if (this.#keys.size >= REMEMBERED_KEYS) this.#keys.clear();
    this.#keys.set(name, key);
    return key;
  }
}

const mapSize = Object.getOwnPropertyDescriptor(Map.prototype, "size")?.get as () => number;
const setSize = Object.getOwnPropertyDescriptor(Set.prototype, "size")?.get as () => number;

function sizeOf(collection: ReadonlyMap<unknown, unknown> | ReadonlySet<unknown>): number {
  return (types.isMap(collection) ? mapSize : setSize).call(collection);
}
