/**
 * The one place that knows pino's inside.
 *
 * A logger here is a real pino instance with our serialiser in the place of its own (`pino.symbols.asJsonSym`, which
 * pino offers to implementers of libraries). Children inherit it, so whatever is given `logger.pino` writes the same
 * lines. Our own methods call the instance's `write` directly and so skip pino's juggling with arguments.
 *
 * Should a pino lack those symbols, everything goes through its public hook for log calls, with the same lines.
 */
import { format } from "node:util";
import { pino, type Bindings as PinoBindings, type ChildLoggerOptions, type Logger as PinoLogger } from "pino";
import { callerOf } from "./caller.ts";
import type { CallerPolicy, Settings } from "./config.ts";
import type { Destination } from "./destination.ts";
import { LEVEL_NUMBERS } from "./levels.ts";
import { type Bindings, NO_BINDINGS } from "./line/bindings.ts";
import { Entry } from "./line/entry.ts";
import { isError } from "./line/error.ts";
import { HiddenPaths } from "./line/hidden-paths.ts";
import type { LineWriter, Serializers } from "./line/line-writer.ts";

export interface PinoCore {
  readonly root: PinoLogger;
  /** Writes one line at a level that is known to be enabled. Never throws. */
  write(instance: PinoLogger, fields: unknown, message: string | undefined, level: number): void;
  wantsCaller(level: number): boolean;
  /** Lines that were handed to the destination, by pino's number of their level. */
  readonly counts: ReadonlyMap<number, number>;
}

export interface CoreParts {
  readonly settings: Settings;
  readonly lines: LineWriter;
  readonly timestamp: () => string;
  readonly destination: Destination;
  /** Turns the JSON line into what is written. */
  readonly present: ((line: string) => string) | undefined;
  /** pino's symbols; tests leave them out to see what happens without. */
  readonly symbols?: { readonly [name in "asJsonSym" | "writeSym" | "formatOptsSym"]?: symbol | undefined };
}

const SERIALIZERS = Symbol.for("pino.serializers");
/** The fields that an instance carries; inherited from its parent by way of the prototype. */
const BINDINGS = Symbol("vg.logging.bindings");
/** What `redact` of a child hides besides; inherited likewise, the last added first. */
const HIDDEN = Symbol("vg.logging.hidden");

/** A pino instance as this file sees it. */
interface Instance extends PinoLogger {
  readonly [SERIALIZERS]: Serializers;
  [BINDINGS]: Bindings;
  [HIDDEN]: readonly HiddenPaths[];
}
type Write = (this: PinoLogger, said: unknown, message: string | undefined, level: number) => void;

const CALLER_FROM: Record<CallerPolicy, number> = { off: Infinity, warn: LEVEL_NUMBERS.warn, all: 0 };

export function createPinoCore(parts: CoreParts): PinoCore {
  const { settings, lines, timestamp, destination, present } = parts;
  const { asJsonSym, writeSym, formatOptsSym } = parts.symbols ?? pino.symbols;
  const callerFrom = CALLER_FROM[settings.caller];
  const counts = new Map<number, number>();
  const heads = new Map<string, string>();

  const headOf = (label: string): string => {
    let head = heads.get(label);
    if (head === undefined) heads.set(label, (head = `{"level":${JSON.stringify(label.slice(0, 32))}`));
    return head;
  };

  /** The one road to a line, from our methods and from pino's. Never throws. */
  const compose = (instance: Instance, said: unknown, text: unknown, level: number, time: string): string => {
    const label = instance.levels.labels[level] ?? String(level);
    const entry = Entry.is(said) ? said : undefined;
    const fields = entry === undefined ? said : entry.fields;
    let caller = entry?.caller;
    if (entry === undefined && level >= callerFrom) {
      // It came by pino's own method, which is the border between the caller's frames and pino's.
      caller = callerOf(methodOf(instance, label));
    }
    // pino takes an error in the place of the message, after fields, for the message.
    const error = entry?.error ?? (isError(text) ? text : undefined);
    const message = messageOf(text === error ? undefined : text, error, fields);
    counts.set(level, (counts.get(level) ?? 0) + 1);
    const head = headOf(label) + time;
    let line = lines.write(
      head,
      caller,
      message,
      instance[BINDINGS],
      error,
      entry?.fixed,
      fields,
      instance[SERIALIZERS],
    );
    for (const hidden of instance[HIDDEN]) line = hidden.apply(line);
    return present === undefined ? line : present(line);
  };
  /** An object for a placeholder of a message, its secrets hidden as in a field. */
  const inlineOf = (hidden: readonly HiddenPaths[]) => (value: unknown) =>
    hidden.reduce((text, each) => each.apply(text), lines.inline(value));

  const root = pino(
    {
      level: settings.level,
      base: null,
      timestamp,
      messageKey: "message",
      errorKey: "error",
      // pino's own serialiser for errors would come before ours.
      serializers: Object.create(null) as Record<string, never>,
      mixinMergeStrategy: mergeMixin,
      hooks: {
        logMethod(args, method, level) {
          if (writeSym === undefined || asJsonSym === undefined) {
            const { fields, message } = fromPinoArguments(args, inlineOf((this as Instance)[HIDDEN]));
            write(this, fields, message, level);
            return;
          }
          try {
            method.apply(this, args);
          } catch {
            // A getter or a proxy objected to what pino itself looked at.
            const { fields, message } = fromPinoArguments(args, inlineOf((this as Instance)[HIDDEN]));
            write(this, new Entry(fields, undefined, undefined), message, level);
          }
        },
      },
    },
    destination,
  );

  const write = (logger: PinoLogger, said: unknown, message: string | undefined, level: number): void => {
    const instance = logger as Instance;
    if (writeSym === undefined || asJsonSym === undefined) {
      destination.write(compose(instance, said, message, level, timestamp()));
      return;
    }
    try {
      (instance as unknown as Record<symbol, Write>)[writeSym]?.call(instance, said, message, level);
    } catch {
      // A proxy objected to what pino looked at. There is nothing in an entry that can object.
      const entry = Entry.is(said) ? said : new Entry(said, undefined, undefined);
      destination.write(compose(instance, entry, message, level, timestamp()));
    }
  };

  const replacement = settings.redact === false ? "[redacted]" : settings.redact.replacement;
  /** pino fills the placeholders of messages with what this gives for an object. */
  const showInlineWith = (target: object, hidden: readonly HiddenPaths[]): void => {
    if (formatOptsSym !== undefined) Reflect.set(target, formatOptsSym, { stringify: inlineOf(hidden) });
  };

  const own: Record<PropertyKey, unknown> = {
    [BINDINGS]: lines.extend(NO_BINDINGS, settings.base),
    [HIDDEN]: [],

    // pino would serialise the fields of a child its own way; with none to serialise, it only makes the child.
    child(this: Instance, bindings: PinoBindings, options?: ChildLoggerOptions): PinoLogger {
      const { redact, ...others } = options ?? {};
      const instance = makeChild.call(this, {}, others) as Instance;
      instance[BINDINGS] = lines.extend(this[BINDINGS], bindings, instance[SERIALIZERS]);
      if (redact !== undefined && redact !== null) {
        instance[HIDDEN] = [...this[HIDDEN], new HiddenPaths(redact, replacement)];
        showInlineWith(instance, instance[HIDDEN]);
      }
      return instance;
    },
    bindings(this: Instance): PinoBindings {
      const json = this[HIDDEN].reduce((text, each) => each.apply(text), `{${this[BINDINGS].text.slice(1)}}`);
      return JSON.parse(json) as PinoBindings;
    },
    setBindings(this: Instance, bindings: PinoBindings): void {
      this[BINDINGS] = lines.extend(this[BINDINGS], bindings, this[SERIALIZERS]);
    },
  };
  const makeChild = Reflect.get(root, "child") as unknown as (
    this: PinoLogger,
    bindings: PinoBindings,
    options?: ChildLoggerOptions,
  ) => PinoLogger;
  if (asJsonSym !== undefined && writeSym !== undefined) {
    own[asJsonSym] = function asJson(
      this: Instance,
      said: unknown,
      text: unknown,
      level: number,
      time: string,
    ): string {
      return compose(this, said, text, level, time);
    };
  }
  Object.assign(root, own);
  showInlineWith(root, []);

  return { root, write, counts, wantsCaller: (level) => level >= callerFrom };
}

/** The function on the stack when a line comes by pino's own method of that level. */
function methodOf(instance: Instance, label: string): (...args: never[]) => unknown {
  return (instance as unknown as Record<string, () => void>)[label] ?? methodOf;
}

/** The message as a text: the one that was given, else the error's, else pino's `msg`. */
function messageOf(text: unknown, error: unknown, fields: unknown): string {
  if (typeof text === "string") return text;
  try {
    if (text !== undefined && text !== null) return format(text);
    if (isError(error)) return format(error.message);
    if (isError(fields)) return format(fields.message);
    if (typeof fields !== "object" || fields === null) return "";
    const { error: named, err, msg } = fields as Record<string, unknown>;
    if (isError(named)) return format(named.message);
    if (isError(err)) return format(err.message);
    return typeof msg === "string" ? msg : "";
  } catch {
    return "";
  }
}

/** What pino makes of its arguments: an object first or not at all, then a message with `%s` and what goes into it. */
function fromPinoArguments(
  args: readonly unknown[],
  show: (value: unknown) => string,
): { fields: unknown; message: string | undefined } {
  const [first, ...others] = args;
  const [fields, message, ...values] = typeof first === "object" ? args : [undefined, first, ...others];
  if (message === undefined || message === null) return { fields, message: undefined };
  return { fields, message: formatMessage(messageOf(message, undefined, undefined), values, show) };
}

/** `%s` and its like, filled in; as it is where a value objects. `show` gives the text of an object, without secrets. */
export function formatMessage(message: string, values: readonly unknown[], show: (value: unknown) => string): string {
  if (values.length === 0) return message;
  try {
    const texts = values.map((value) => (typeof value === "object" && value !== null ? show(value) : value));
    // An object is a text by now, which %o would put into quotes.
    return format(
      message.replace(/%[%oOj]/g, (placeholder) => (placeholder === "%%" ? "%%" : "%s")),
      ...texts,
    );
  } catch {
    return message;
  }
}

/** Instrumentation may give pino a mixin (trace ids); its fields join those of the call, which win. */
function mergeMixin(said: object, mixin: object): object {
  if (!Entry.is(said)) return Object.assign(mixin, said);
  return new Entry(Object.assign(mixin, said.fields), said.error, said.caller, said.fixed);
}
