import type { Limits } from "../config.ts";
import { Bindings, withBindings } from "./bindings.ts";
import { isError } from "./error.ts";
import { FilledForm, Form } from "./form.ts";
import { toJson } from "./json.ts";
import { DistinctNames } from "./key.ts";
import type { Redactor } from "./redact.ts";
import { isPairs } from "./built-in.ts";
import { ValueWriter, Walk } from "./value.ts";

/** Functions that turn the value of a field into something else to show, by the field's name; pino's `serializers`. */
export type Serializers = Readonly<Record<string, ((value: unknown) => unknown) | undefined>>;

const NO_SERIALIZERS: Serializers = Object.freeze(Object.create(null) as Serializers);
/**
 * In the place of pino's serialiser for errors. Fastify and pino-http take over those of the logger that they are given,
 * and so leave errors whole, where they would put in one that drops the cause.
 */
export const wholeError = (error: unknown): unknown => error;

const LEFT_OUT = "log.left_out";
/** The part of the lines like this one that is written. */
export const SAMPLE_RATE = "log.sample_rate";
/** What the line itself says. A field of such a name is shown as `field.<name>`. */
const RESERVED: ReadonlySet<string> = new Set(["level", "time", "caller", "message", LEFT_OUT, SAMPLE_RATE]);
/** Names that need a closer look: the reserved ones, pino's two names for the error of a line, and JSON's for a method. */
const SPECIAL: ReadonlySet<string> = new Set([...RESERVED, "error", "err", "toJSON"]);
/** What has more than these is serialised once in a while. */
const QUICK_BINDINGS = 16;
/** A getter or toJSON that logs while it is being logged goes round in circles. */
const DEEPEST_NESTING = 4;

/**
 * Composes lines: level, time, caller, message, then the logger's own fields, the error, and the fields of the call.
 *
 * There are two ways through. The quick one takes nearly every line, and gives up on whatever is unusual: a reserved
 * or repeated name, something that throws, a line that is too long. The careful one then starts afresh and lays out
 * the fields by name. Both give the same line wherever both can.
 */
export class LineWriter {
  readonly #limits: Limits;
  readonly #values: ValueWriter;
  /** A line of fewer UTF-16 units can't have more bytes than allowed. */
  readonly #surelyShort: number;
  #nesting = 0;
  /** Lines that left out fields, or part of the message, to keep within `maxLineBytes`. */
  truncated = 0;

  constructor(limits: Limits, redactor: Redactor) {
    this.#limits = limits;
    this.#values = new ValueWriter(limits, redactor, SPECIAL);
    this.#surelyShort = Math.floor(limits.maxLineBytes / 3);
  }

  /**
   * @param head `{"level":"…","time":…`
   * @param error `undefined` where there is none
   * @param fixed fields that keep their names against `fields`; may be a form that was filled
   * @returns one JSON document and its newline; never throws
   */
  write(
    head: string,
    caller: string | undefined,
    message: string,
    bindings: Bindings,
    error: unknown,
    fixed: object | undefined,
    fields: unknown,
    serializers: Serializers = NO_SERIALIZERS,
  ): string {
    const start = caller === undefined ? head : `${head},"caller":${this.#values.text(caller, 120)}`;
    if (this.#nesting >= DEEPEST_NESTING) {
      return `${start},"message":${this.#values.text(message, 512)},"${LEFT_OUT}":"logged while being logged"}\n`;
    }
    this.#nesting++;
    try {
      const quick = this.#quick(start, message, bindings, error, fixed, fields, serializers);
      if (quick !== undefined && quick.length <= this.#surelyShort) return quick;
      if (quick !== undefined && Buffer.byteLength(quick) <= this.#limits.maxLineBytes) return quick;
      return this.#careful(start, message, bindings, error, fixed, fields, serializers);
    } finally {
      this.#nesting--;
    }
  }

  /** The bindings of a child: its parent's, and these. */
  extend(bindings: Bindings, fields: unknown, serializers: Serializers = NO_SERIALIZERS): Bindings {
    const quick = this.#quickBindings(bindings, fields, serializers);
    if (quick !== undefined) return quick;
    const added = new Map<string, string>();
    this.#nesting++;
    try {
      this.#lay(added, fields, new Set(), serializers);
    } finally {
      this.#nesting--;
    }
    return added.size === 0 ? bindings : withBindings(bindings, added);
  }

  form(names: readonly string[]): Form {
    return new Form(names, (name) => this.#values.key(name));
  }

  /** A value as it goes into the text of a message: as JSON, with its secrets hidden. Never throws. */
  inline(value: unknown): string {
    return this.#values.inline(value, this.#limits.maxStringLength);
  }

  #quick(
    start: string,
    message: string,
    bindings: Bindings,
    error: unknown,
    fixed: object | undefined,
    fields: unknown,
    serializers: Serializers,
  ): string | undefined {
    let line = `${start},"message":${this.#values.text(message)}${bindings.text}`;
    try {
      if (error !== undefined) {
        if (bindings.names.includes("error")) return undefined;
        line += `,"error":${this.#error(error)}`;
      }
      if (fixed !== undefined) {
        const text = FilledForm.is(fixed)
          ? this.#quickForm(fixed, bindings)
          : this.#quickFields(fixed, bindings, undefined, NO_SERIALIZERS);
        if (text === undefined) return undefined;
        line += text;
      }
      if (fields !== undefined && fields !== null) {
        const text = this.#quickFields(fields, bindings, fixed, serializers);
        if (text === undefined) return undefined;
        line += text;
      }
    } catch {
      // Something threw; the careful way finds out which field it was.
      return undefined;
    }
    return `${line}}\n`;
  }

  #quickFields(
    fields: unknown,
    bindings: Bindings,
    fixed: object | undefined,
    serializers: Serializers,
  ): string | undefined {
    if (!isPlain(fields)) return undefined;
    const names = Object.keys(fields);
    if (names.length > this.#limits.maxItems) return undefined;
    const carried = bindings.names;
    let walk: Walk | undefined;
    let out = "";
    for (const name of names) {
      const key = this.#values.key(name);
      if (key.special || (carried.length !== 0 && carried.includes(name))) return undefined;
      if (fixed !== undefined && (FilledForm.is(fixed) ? fixed.has(name) : Object.hasOwn(fixed, name))) {
        return undefined;
      }
      let value = fields[name];
      const serializer = serializers[name];
      if (serializer !== undefined) value = serializer(value);
      if (key.secret && value !== undefined && value !== null) {
        out += key.prefix + this.#values.redacted;
        continue;
      }
      // The commonest three kinds are written here, without a walk.
      if (typeof value === "string") {
        out += key.prefix + this.#values.text(value);
      } else if (typeof value === "number" && Number.isFinite(value)) {
        out += key.prefix + value;
      } else if (typeof value === "boolean") {
        out += key.prefix + value;
      } else {
        let text = typeof value === "object" && value !== null ? this.#values.simple(value) : undefined;
        if (text === undefined) {
          walk ??= new Walk(this.#limits.maxLineBytes, fields);
          text = this.#values.value(value, walk);
        }
        if (text !== undefined) out += key.prefix + text;
      }
    }
    return out;
  }

  #quickForm({ form, values }: FilledForm, bindings: Bindings): string | undefined {
    for (const name of bindings.names) if (form.placeOf(name) !== undefined) return undefined;
    if (!form.isPlain || form.keys.length > this.#limits.maxItems) return undefined;
    return form.textOf(values, this.#values);
  }

  /** `undefined` for all but a few plain values under plain names, none of which is there already. */
  #quickBindings(bindings: Bindings, fields: unknown, serializers: Serializers): Bindings | undefined {
    // A getter that makes children while it is being read would be read twice at each level.
    if (this.#nesting > 0 || !isPlain(fields)) return undefined;
    this.#nesting++;
    try {
      const added = Object.keys(fields);
      if (added.length > Math.min(QUICK_BINDINGS, this.#limits.maxItems)) return undefined;
      if (added.length === 0) return bindings;
      const { names } = bindings;
      const values = added.slice();
      let { text } = bindings;
      for (let i = 0; i < added.length; i++) {
        const name = added[i] as string;
        const key = this.#values.key(name);
        if (key.special || key.secret || serializers[name] !== undefined || names.includes(name)) return undefined;
        const json = this.#values.plain(fields[name]);
        if (json === undefined) return undefined;
        values[i] = json;
        text += key.prefix + json;
      }
      if (names.length === 0) return new Bindings(added, values, text);
      return new Bindings([...names, ...added], [...bindings.values, ...values], text);
    } catch {
      return undefined;
    } finally {
      this.#nesting--;
    }
  }

  #careful(
    start: string,
    message: string,
    bindings: Bindings,
    error: unknown,
    fixed: object | undefined,
    fields: unknown,
    serializers: Serializers,
  ): string {
    const laid = new Map<string, string>();
    for (let i = 0; i < bindings.names.length; i++) {
      laid.set(bindings.names[i] as string, bindings.values[i] as string);
    }
    // The error and the fixed fields take their names from whoever had them; nobody takes these from them.
    const taken = new Set<string>();
    if (error !== undefined) this.#take(laid, taken, "error", this.#error(error));
    if (fixed !== undefined) {
      const own = new Map<string, string>();
      this.#lay(own, FilledForm.is(fixed) ? fixed.toObject() : fixed, new Set(), NO_SERIALIZERS);
      for (const [name, text] of own) this.#take(laid, taken, name, text);
    }
    this.#lay(laid, fields, taken, serializers);

    const first = `${start},"message":`;
    const whole = `${first}${this.#values.text(message)}${join(laid)}}\n`;
    if (Buffer.byteLength(whole) <= this.#limits.maxLineBytes) return whole;
    return this.#fit(first, message, laid);
  }

  #take(laid: Map<string, string>, taken: Set<string>, name: string, text: string): void {
    const before = laid.get(name);
    if (before !== undefined) {
      laid.delete(name);
      const free = freeName(name, laid, taken);
      laid.set(free, before);
      taken.add(free);
    }
    laid.set(name, text);
    taken.add(name);
  }

  /** Adds fields by name, each read on its own. A later one replaces an earlier one, but none of the `taken`. */
  #lay(laid: Map<string, string>, fields: unknown, taken: Set<string>, serializers: Serializers): void {
    if (fields === undefined || fields === null) return;
    const walk = new Walk(this.#limits.maxLineBytes);
    const put = (name: string, text: string | undefined): void => {
      if (text === undefined) return;
      if (!RESERVED.has(name) && !taken.has(name)) {
        laid.set(name, text);
        return;
      }
      const free = freeName(name, laid, taken);
      laid.set(free, text);
      // A field that is called so by itself must not replace it.
      taken.add(free);
    };

    try {
      if (!isFieldBag(fields)) {
        if (isError(fields)) put("error", this.#error(fields));
        else put("fields", this.#values.value(fields, walk) ?? this.#values.text(nameOf(fields)));
        return;
      }
      const bag = inItsWords(fields);
      if (!isFieldBag(bag)) {
        put("fields", this.#values.value(bag, walk));
        return;
      }
      walk.ancestors[0] = bag;
      const names = Object.keys(bag);
      // A promise, a request: it says something, but not by its properties.
      if (names.length === 0 && !isPlain(bag)) put("fields", this.#values.value(bag, new Walk(walk.budget)));
      const hasError = taken.has("error") || names.includes("error");
      const limit = this.#limits.maxItems;
      const distinct = new DistinctNames((shown) => Object.hasOwn(bag, shown));
      for (const name of names.slice(0, limit)) {
        const key = this.#values.key(name);
        const shown = key.altered ? distinct.name(key) : key.name;
        const { secret } = key;
        let value: unknown;
        try {
          value = bag[name];
          const serialized = serializers[name];
          if (serialized !== undefined) value = serialized(value);
        } catch (reason) {
          put(shown, secret ? this.#values.redacted : this.#values.unreadable(reason));
          continue;
        }
        const text =
          secret && value !== undefined && value !== null ? this.#values.redacted : this.#values.value(value, walk);
        // pino's habit is { err }: here an error has one name.
        const isShaped = serializers["err"] !== undefined && serializers["err"] !== wholeError;
        const isTheError = name === "err" && !hasError && (isShaped || isError(value));
        put(isTheError ? "error" : shown, text);
      }
      if (names.length > limit) laid.set(LEFT_OUT, String(names.length - limit));
    } catch (reason) {
      put("fields", this.#values.unreadable(reason));
    }
  }

  #error(error: unknown): string {
    const walk = new Walk(Math.floor(this.#limits.maxLineBytes / 2));
    try {
      // The walk must know of it, for a cause that leads back here.
      if (isError(error)) return this.#values.value(error, walk) ?? '"[unreadable]"';
      const type = error === null ? "null" : typeof error;
      const message = this.#values.value(error, walk) ?? this.#values.text(String(error));
      return `{"type":"${type}","message":${message}}`;
    } catch (reason) {
      return `{"type":"unknown","message":${this.#values.unreadable(reason)}}`;
    }
  }

  /** Of a line that is too long, what fits: the start of the message, then field by field what finds room. */
  #fit(first: string, message: string, laid: Map<string, string>): string {
    this.truncated++;
    const limit = this.#limits.maxLineBytes;
    let line = first + this.#values.text(message, Math.floor(limit / 16));
    // Room for the note on what was left out, the brace and the newline.
    let room = limit - Buffer.byteLength(line) - 40;
    let leftOut = 0;
    const noted = laid.get(LEFT_OUT);
    if (noted !== undefined) leftOut += Number(noted);
    laid.delete(LEFT_OUT);

    const add = (name: string, text: string): boolean => {
      const member = `,${toJson(name)}:${text}`;
      const size = Buffer.byteLength(member);
      if (size > room) return false;
      line += member;
      room -= size;
      return true;
    };

    const error = laid.get("error");
    if (error !== undefined) {
      laid.delete("error");
      if (!add("error", error) && !add("error", this.#shortError(error, Math.floor(limit / 32)))) leftOut++;
    }
    for (const [name, text] of laid) if (!add(name, text)) leftOut++;
    return `${line},"${LEFT_OUT}":${leftOut}}\n`;
  }

  /** Of an error that is written already, its type and the start of its message. */
  #shortError(error: string, maxLength: number): string {
    const { type, message } = Object(JSON.parse(error)) as { type?: unknown; message?: unknown };
    const short = (value: unknown): string => this.#values.text(typeof value === "string" ? value : "", maxLength);
    return `{"type":${short(type)},"message":${short(message)}}`;
  }
}

function isPlain(fields: unknown): fields is Record<string, unknown> {
  if (typeof fields !== "object" || fields === null) return false;
  const prototype: unknown = Object.getPrototypeOf(fields);
  return prototype === Object.prototype || prototype === null;
}

/** Whether this is an object whose own properties are the fields, rather than one thing that is to be shown whole. */
function isFieldBag(fields: unknown): fields is Record<string, unknown> {
  if (isPlain(fields)) return true;
  if (typeof fields !== "object" || fields === null || Array.isArray(fields) || isError(fields)) return false;
  if (fields instanceof Map || fields instanceof Set || fields instanceof Date || fields instanceof URL) return false;
  return !ArrayBuffer.isView(fields) && !isPairs(fields);
}

/** What the fields say by `toJSON`, as a record of a database does: what it keeps to itself is not the log's to show. */
function inItsWords(fields: Record<string, unknown>): unknown {
  let toJSON: unknown;
  try {
    ({ toJSON } = fields);
  } catch {
    // A field like others, which is marked where it stands.
  }
  return typeof toJSON === "function" ? (toJSON.call(fields, "") as unknown) : fields;
}

/** Of what JSON has nothing for, and which was given in the place of fields. */
function nameOf(value: unknown): string {
  return typeof value === "function" ? `[function ${value.name}]` : String(value);
}

function freeName(name: string, laid: ReadonlyMap<string, string>, taken: ReadonlySet<string>): string {
  let free = `field.${name}`;
  while (laid.has(free) || taken.has(free)) free = `field.${free}`;
  return free;
}

function join(laid: ReadonlyMap<string, string>): string {
  let out = "";
  for (const [name, text] of laid) out += `,${toJson(name)}:${text}`;
  return out;
}
