import { LONGEST_DELAY_MS } from "./clock.ts";

/** The value as an error message may show it: short, and never the inside of an object or a long string. */
export function describeValue(value: unknown): string {
  if (typeof value === "string") {
    return value.length <= 40 ? JSON.stringify(value) : `a string of ${value.length} characters`;
  }
  if (typeof value === "bigint") return `${value}n`;
  if (value === null || typeof value !== "object") {
    return typeof value === "function" ? "a function" : typeof value === "symbol" ? "a symbol" : String(value);
  }
  return Array.isArray(value) ? `an array of ${value.length}` : `an object`;
}

/** What kind of value it is, for one that may be secret. */
export function describeKind(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (Array.isArray(value)) return "an array";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

/**
 * Checks one options object, option by option, so that every bad value is refused in the same form: the option's
 * name, what was received, what is allowed, and what to do.
 *
 *     const check = checkOptions("DbPool", options, (message) => new DbPoolConfigError(message));
 *     const maxOpenConns = check.integer("maxOpenConns", { fallback: 25, min: 1, max: 100_000, hint: "…" });
 *     check.noOthers();
 *
 * `fail` makes the package's own error. Every option that is asked for counts as known; `noOthers` then refuses the
 * rest, with the nearest known name where one is near.
 */
export function checkOptions(owner: string, options: unknown, fail: (message: string) => Error) {
  if (options === null || typeof options !== "object" || Array.isArray(options)) {
    throw fail(`${owner}: options must be an object, got ${describeValue(options)}`);
  }
  return new OptionCheck(owner, options as Record<string, unknown>, fail);
}

class OptionCheck {
  readonly #owner: string;
  readonly #options: Record<string, unknown>;
  readonly #fail: (message: string) => Error;
  readonly #known = new Set<string>();

  constructor(owner: string, options: Record<string, unknown>, fail: (message: string) => Error) {
    this.#owner = owner;
    this.#options = options;
    this.#fail = fail;
  }

  /** The option as given, `undefined` included; only marks the name as known. */
  raw(name: string): unknown {
    this.#known.add(name);
    return this.#options[name];
  }

  /** The error for an option that breaks `rule`, for checks that this class does not have. */
  refuse(name: string, rule: string, hint?: string): Error {
    const advice = hint === undefined ? "" : ` ${hint}`;
    return this.#fail(`${this.#owner}: ${name} must be ${rule}, got ${describeValue(this.#options[name])}.${advice}`);
  }

  /** A whole number from `min` to `max`. */
  integer(name: string, { fallback, min = 0, max = Number.MAX_SAFE_INTEGER, hint }: NumberRule): number {
    const value = this.raw(name);
    if (value === undefined) return fallback;
    if (!Number.isInteger(value) || (value as number) < min || (value as number) > max) {
      throw this.refuse(name, `a whole number ${rangeText(min, max)}`, hint);
    }
    return value as number;
  }

  /** A number from `min` to `max`; `Infinity` only where `max` is `Infinity`. */
  number(name: string, { fallback, min = 0, max = Number.MAX_VALUE, hint }: NumberRule): number {
    const value = this.raw(name);
    if (value === undefined) return fallback;
    if (typeof value !== "number" || Number.isNaN(value) || value < min || value > max) {
      throw this.refuse(name, `a number ${rangeText(min, max)}`, hint);
    }
    return value;
  }

  /** A number of milliseconds. Node's timers hold 2^31-1 at most, and fire at once beyond it. */
  durationMs(name: string, { fallback, min = 0, max = LONGEST_DELAY_MS, hint }: NumberRule): number {
    const value = this.raw(name);
    if (value === undefined) return fallback;
    if (typeof value !== "number" || Number.isNaN(value) || value < min || value > max) {
      throw this.refuse(name, `a number of milliseconds ${rangeText(min, max)}`, hint);
    }
    return value;
  }

  boolean(name: string, { fallback, hint }: { fallback: boolean; hint?: string }): boolean {
    const value = this.raw(name);
    if (value === undefined) return fallback;
    if (typeof value !== "boolean") throw this.refuse(name, "true or false", hint);
    return value;
  }

  /** A string that is not empty. */
  string<F extends string | undefined>(name: string, { fallback, hint }: { fallback: F; hint?: string }): string | F {
    const value = this.raw(name);
    if (value === undefined) return fallback;
    if (typeof value !== "string" || value === "") throw this.refuse(name, "a string that is not empty", hint);
    return value;
  }

  oneOf<const T extends readonly string[]>(
    name: string,
    allowed: T,
    { fallback, hint }: { fallback: T[number]; hint?: string },
  ): T[number] {
    const value = this.raw(name);
    if (value === undefined) return fallback;
    if (!allowed.includes(value as string)) {
      throw this.refuse(name, `one of ${allowed.map((word) => JSON.stringify(word)).join(", ")}`, hint);
    }
    return value as T[number];
  }

  /** A function, or `undefined` where it was not given. The caller knows its signature. */
  function<F extends (...args: never[]) => unknown>(name: string, { hint }: { hint?: string } = {}): F | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (typeof value !== "function") throw this.refuse(name, "a function", hint);
    return value as F;
  }

  /** An object that has the named methods (a clock, a logger), or `undefined` where it was not given. */
  objectWith<T>(name: string, methods: readonly string[], { hint }: { hint?: string } = {}): T | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    const complete =
      (typeof value === "object" || typeof value === "function") &&
      value !== null &&
      methods.every((method) => typeof (value as Record<string, unknown>)[method] === "function");
    if (!complete) throw this.refuse(name, `an object with ${methods.map((m) => `${m}()`).join(", ")}`, hint);
    return value as T;
  }

  /** Refuses every option that none of the checks before it asked for. */
  noOthers(): void {
    for (const name of Object.keys(this.#options)) {
      if (this.#known.has(name)) continue;
      const near = nearest(name, this.#known);
      const advice = near === undefined ? `Known options: ${[...this.#known].join(", ")}.` : `Did you mean ${near}?`;
      throw this.#fail(`${this.#owner}: unknown option ${JSON.stringify(name)}. ${advice}`);
    }
  }
}

interface NumberRule {
  fallback: number;
  min?: number;
  max?: number;
  hint?: string;
}

function rangeText(min: number, max: number): string {
  const open = max >= Number.MAX_SAFE_INTEGER;
  return open ? `of at least ${min}` : `from ${min} to ${max}`;
}

function nearest(name: string, known: ReadonlySet<string>): string | undefined {
  let best: string | undefined;
  let bestDistance = 4;
  for (const candidate of known) {
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    // Of a short name three letters are all: another word, not a slip.
    if (distance > 0.45 * Math.max(name.length, candidate.length)) continue;
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Levenshtein's distance by the two-row method. */
function editDistance(a: string, b: string): number {
  let previous = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (previous[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      row.push(Math.min(substitution, (previous[j] as number) + 1, (row[j - 1] as number) + 1));
    }
    previous = row;
  }
  return previous[b.length] as number;
}
