/**
 * The one place that knows pino's inside.
 *
 * A logger here is a real pino instance, whose log calls end in `write` below instead of in pino's own serialiser. What
 * is needed for that is pino's public hook for log calls; children inherit it, so whatever is given `logger.pino`
 * writes the same lines. Our own methods call `write` directly and so skip pino's juggling with arguments.
 *
 * pino's symbols (`pino.symbols`, which it offers to implementers of libraries) serve what goes around that hook: those
 * who call an instance's `write` by its symbol, and instrumentation that gives an instance a mixin. In pino's own order
 * of arguments they also let pino fill the placeholders of messages. A pino without them writes the same lines.
 */
import { pino, type Bindings as PinoBindings, type ChildLoggerOptions, type Logger as PinoLogger } from "pino";
import { createCallerOf } from "./caller.ts";
import type { CallerPolicy, Settings } from "./config.ts";
import { withoutSpanIds } from "./context/open-telemetry.ts";
import type { Destination } from "./destination.ts";
import { METADATA } from "./destination/sink.ts";
import { LEVEL_NUMBERS } from "./levels.ts";
import type { LevelControl } from "./levels/level-control.ts";
import { controlLevels } from "./levels/pino-levels.ts";
import { type Bindings, NO_BINDINGS } from "./line/bindings.ts";
import { isError } from "./line/error.ts";
import { HiddenPaths } from "./line/hidden-paths.ts";
import { type LineWriter, type Serializers, wholeError } from "./line/line-writer.ts";
import type { Border, LineHooks } from "./line-hooks.ts";
import { fromPinoArguments, messageOf } from "./message.ts";
import { safeNow } from "./safe-now.ts";

export interface PinoCore {
  readonly root: PinoLogger;
  readonly write: WriteLine;
  /** Writes a line of the logger's own, past its level, the gate and the context. */
  say(level: number, message: string, fields: object): void;
  readonly levels: LevelControl<PinoLogger>;
  /** A child that carries the component, and its parent's fields, and has the component's level. */
  childFor(parent: PinoLogger, component: string): PinoLogger;
  /** The component that the instance carries the name of. */
  componentOf(instance: PinoLogger): string | undefined;
  /** Lines that were handed to the destination, by pino's number of their level. */
  readonly counts: ReadonlyMap<number, number>;
}

/**
 * Writes one line of an enabled level, unless a hook says no. Never throws.
 *
 * @param border the function whose caller is the line's; `undefined` where the line has none
 * @param text `undefined`: the error's own
 * @param error `undefined`: none
 * @param fixed fields that keep their names against `fields`
 */
type WriteLine = (
  instance: PinoLogger,
  level: number,
  border: Border | undefined,
  text: unknown,
  error: unknown,
  fixed: object | undefined,
  fields: unknown,
) => void;

export interface CoreParts {
  readonly settings: Settings;
  readonly lines: LineWriter;
  readonly timestamp: () => string;
  readonly destination: Destination;
  readonly hooks: LineHooks;
  /** Turns the JSON line into what is written. */
  readonly present: ((line: string) => string) | undefined;
  /** pino's symbols; tests leave them out to see what happens without. */
  readonly symbols?: Symbols;
}

type Symbols = {
  readonly [name in "asJsonSym" | "writeSym" | "formatOptsSym" | "mixinSym" | "streamSym"]?: symbol | undefined;
};

/** Where pino keeps them, and frameworks look for them. */
export const SERIALIZERS: unique symbol = Symbol.for("pino.serializers");
/** The fields that an instance carries; inherited from its parent by way of the prototype. */
const BINDINGS = Symbol("vg.logging.bindings");
/** What `redact` of a child hides besides; inherited likewise, the last added first. */
const HIDDEN = Symbol("vg.logging.hidden");

/** The functions that log for others by way of this instance; inherited likewise. */
const WRAPPERS = Symbol("vg.logging.wrappers");
/** What of an instance makes up its level, beside the methods: pino's own, and ours. */
const LEVEL_SYMBOLS: ReadonlySet<string | undefined> = new Set(["pino.levelVal", "vg.logging.level"]);
/** The name of the component that an instance logs for; inherited likewise. */
const COMPONENT = Symbol("vg.logging.component");

/** A pino instance as this file sees it. */
interface Instance extends PinoLogger {
  readonly [SERIALIZERS]: Serializers;
  [BINDINGS]: Bindings;
  [HIDDEN]: readonly HiddenPaths[];
  [WRAPPERS]: readonly Border[];
  [COMPONENT]?: string;
}
type Sink = Pick<Destination, "write">;
type Mixin = (fields: unknown, level: number, instance: PinoLogger) => object;

const CALLER_FROM: Record<CallerPolicy, number> = { off: Infinity, warn: LEVEL_NUMBERS.warn, all: 0 };

export function createPinoCore(parts: CoreParts): PinoCore {
  const { settings, lines, timestamp, destination, hooks, present } = parts;
  const symbols: Symbols = parts.symbols ?? pino.symbols;
  const { asJsonSym, writeSym, formatOptsSym, mixinSym, streamSym } = symbols;
  const callerOf = createCallerOf(settings.callerSkip);
  const callerFrom = CALLER_FROM[settings.caller];
  const mixed = settings.openTelemetry === "auto" ? withoutSpanIds : asItIs;
  const counts = new Map<number, number>();
  const heads = new Map<string, string>();
  let headLabel = "";
  let headTime = "";
  let headText = "";

  /** `{"level":…,"time":…`; of one level and instant there are mostly several lines in a row. */
  const headOf = (label: string, time: string): string => {
    if (label === headLabel && time === headTime) return headText;
    let head = heads.get(label);
    if (head === undefined) heads.set(label, (head = `{"level":${JSON.stringify(label.slice(0, 32))}`));
    headLabel = label;
    headTime = time;
    return (headText = head + time);
  };

  const carriedBy = (instance: Instance): Bindings =>
    hooks.ambient === undefined ? instance[BINDINGS] : hooks.ambient(instance[BINDINGS]);

  const compose = (
    instance: Instance,
    level: number,
    caller: string | undefined,
    text: unknown,
    carried: Bindings,
    error: unknown,
    fixed: object | undefined,
    fields: unknown,
    time: string,
  ): string => {
    const label = instance.levels.labels[level] ?? String(level);
    const message = typeof text === "string" ? text : messageOf(text, error, fields, inlineOf(instance[HIDDEN]));
    let line = lines.write(headOf(label, time), caller, message, carried, error, fixed, fields, instance[SERIALIZERS]);
    for (const hidden of instance[HIDDEN]) line = hidden.apply(line);
    return present === undefined ? line : present(line);
  };

  const write: WriteLine = (logger, level, border, text, error, fixed, fields) => {
    const instance = logger as Instance;
    let carried = carriedBy(instance);
    if (hooks.gate !== undefined) {
      const template = hooks.template ?? (typeof text === "string" ? text : undefined);
      hooks.template = undefined;
      const admitted = hooks.gate(level, template, carried);
      if (admitted === undefined) return;
      carried = admitted;
    }
    const mixin = mixinSym === undefined ? undefined : (instance as unknown as Record<symbol, unknown>)[mixinSym];
    const said = typeof mixin === "function" ? withMixin(mixin as Mixin, fields, level, instance, mixed) : fields;
    const time = timestamp();
    counts.set(level, (counts.get(level) ?? 0) + 1);
    const caller = border !== undefined && level >= callerFrom ? callerOf(border, instance[WRAPPERS]) : undefined;
    const line = compose(instance, level, caller, text, carried, error, fixed, said, time);
    if (wantsMetadata) {
      const lastTime = time.slice(time.indexOf(":") + 1);
      Object.assign(sink, { lastLevel: level, lastObj: said, lastMsg: text, lastTime, lastLogger: instance });
    }
    if (sink === destination) destination.write(line, level);
    else sink.write(line);
  };

  /** A line that comes from pino, as pino itself passes it on: an error may take the place of fields or of the message. */
  const writeForPino = (instance: Instance, said: unknown, text: unknown, level: number): void => {
    const border = methodOf(instance, instance.levels.labels[level] ?? "");
    const error = isError(text) ? text : undefined;
    const fields = isError(said) ? { error: said } : said;
    write(instance, level, border, error === undefined ? text : undefined, error, undefined, fields);
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
      serializers: Object.assign(Object.create(null) as object, { err: wholeError }),
      hooks: {
        logMethod(args, method, level) {
          const instance = this as Instance;
          if (hooks.gate !== undefined) hooks.template = args.slice(0, 2).find((each) => typeof each === "string");
          if (writeSym !== undefined) {
            try {
              method.apply(instance, args);
              return;
            } catch {
              // A getter or a proxy objected to what pino itself looked at.
            }
          }
          const { fields, message } = fromPinoArguments(args, inlineOf(instance[HIDDEN]));
          writeForPino(instance, fields, message, level);
        },
      },
    },
    destination,
  );

  /** Instrumentation of pino may have put a stream before ours, to send the lines elsewhere as well. */
  const sink =
    (streamSym === undefined ? undefined : (Reflect.get(root, streamSym) as Sink | undefined)) ?? destination;
  const wantsMetadata = Reflect.get(sink, METADATA) === true;

  const replacement = settings.redact === false ? "[redacted]" : settings.redact.replacement;
  /** pino fills the placeholders of messages with what this gives for an object. */
  const showInlineWith = (target: object, hidden: readonly HiddenPaths[]): void => {
    if (formatOptsSym !== undefined) Reflect.set(target, formatOptsSym, { stringify: inlineOf(hidden) });
  };

  const own: Record<PropertyKey, unknown> = {
    [BINDINGS]: lines.extend(NO_BINDINGS, settings.base),
    [HIDDEN]: [],
    [WRAPPERS]: [],

    // pino would serialise the fields of a child its own way; with none to serialise, it only makes the child.
    child(this: Instance, bindings: PinoBindings, options?: ChildLoggerOptions): PinoLogger {
      const { redact, ...others } = options ?? {};
      const instance = makeChild.call(this, {}, others) as Instance;
      if (instance.levelVal !== this.levelVal || others.customLevels !== undefined) levels.madeWith(instance);
      instance[BINDINGS] = lines.extend(this[BINDINGS], bindings, instance[SERIALIZERS]);
      if (redact !== undefined && redact !== null) {
        instance[HIDDEN] = [...this[HIDDEN], new HiddenPaths(redact, replacement, (value) => lines.inline(value))];
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
  if (writeSym !== undefined) {
    own[writeSym] = function pinoWrite(this: Instance, said: unknown, text: unknown, level: number): void {
      writeForPino(this, said, text, level);
    };
  }
  if (asJsonSym !== undefined) {
    own[asJsonSym] = function asJson(
      this: Instance,
      said: unknown,
      text: unknown,
      level: number,
      time: string,
    ): string {
      return compose(this, level, undefined, text, carriedBy(this), undefined, undefined, said, time);
    };
  }
  Object.assign(root, own);
  showInlineWith(root, []);
  const levels = controlLevels(root, safeNow(settings.clock), settings.levels);

  const say = (level: number, message: string, fields: object): void => {
    const { gate, ambient } = hooks;
    // Nor is it of the context in which it happens to be written.
    hooks.gate = hooks.ambient = undefined;
    try {
      write(root, level, undefined, message, undefined, fields, undefined);
    } finally {
      // At the edge of the stack anything may throw.
      hooks.gate = gate;
      hooks.ambient = ambient;
    }
  };

  const childFor = (parent: PinoLogger, component: string): PinoLogger => {
    const instance = levels.instanceOf(component).child({}) as Instance;
    inherit(instance, parent, root);
    instance[BINDINGS] = lines.extend((parent as Instance)[BINDINGS], { component });
    instance[COMPONENT] = component;
    // With levels of its own it needs methods for them, which it gets with a level.
    if (Object.hasOwn(instance, "levels")) levels.follow(instance);
    return instance;
  };

  return { root, write, say, counts, levels, childFor, componentOf: (instance) => (instance as Instance)[COMPONENT] };
}

/** Gives the instance what its new parent and those above it have, up to the root, but for what makes up a level. */
function inherit(instance: PinoLogger, parent: PinoLogger, root: PinoLogger): void {
  const line: PinoLogger[] = [];
  for (let at = parent; at !== root; at = Object.getPrototypeOf(at) as PinoLogger) line.unshift(at);
  for (const each of line) {
    for (const key of Reflect.ownKeys(each)) {
      const isOfLevel = typeof key === "string" ? key in each.levels.values : LEVEL_SYMBOLS.has(key.description);
      if (!isOfLevel) Reflect.set(instance, key, Reflect.get(each, key));
    }
  }
}

export function serializersOf(instance: PinoLogger): Serializers {
  return (instance as Instance)[SERIALIZERS];
}

/** A child whose lines are its wrappers' callers'. */
export function withWrappers(logger: PinoLogger, wrappers: readonly Border[]): PinoLogger {
  const child = logger.child({}) as Instance;
  child[WRAPPERS] = wrappers;
  return child;
}

/** The function on the stack when a line comes by pino's own method of that level. */
function methodOf(instance: Instance, label: string): Border {
  return (instance as unknown as Record<string, () => void>)[label] ?? methodOf;
}

/** Instrumentation may give pino a mixin (trace ids); its fields join those of the call, which win. */
function withMixin(
  mixin: Mixin,
  fields: unknown,
  level: number,
  instance: PinoLogger,
  mixed: (added: object) => object,
): unknown {
  try {
    return Object.assign(mixed(mixin(fields ?? {}, level, instance)), fields);
  } catch {
    return fields;
  }
}

const asItIs = (added: object): object => added;
