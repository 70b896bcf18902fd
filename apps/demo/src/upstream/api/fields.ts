import { type ApiError, invalidField } from "./api-error.ts";

/**
 * Reads the fields of a JSON object and refuses what is wrong in OpenAI's form, naming the field. A field that is null
 * counts as absent. Every field that is asked for counts as known; `noOthers` refuses the rest.
 */
export class Fields {
  readonly #values: Readonly<Record<string, unknown>>;
  readonly #path: string;
  readonly #known = new Set<string>();

  /** @param path what to write before the names, for an object inside another: "messages[0]." */
  constructor(values: Readonly<Record<string, unknown>>, path = "") {
    this.#values = values;
    this.#path = path;
  }

  /** The value as it came; `undefined` when it is absent or null. */
  raw(name: string): unknown {
    this.#known.add(name);
    return Object.hasOwn(this.#values, name) ? (this.#values[name] ?? undefined) : undefined;
  }

  refuse(name: string, rule: string): ApiError {
    const value = this.#values[name];
    const param = `${this.#path}${name}`;
    if (value === undefined || value === null) {
      return invalidField(
        param,
        `Missing required parameter: '${param}' must be ${rule}.`,
        "missing_required_parameter",
      );
    }
    return invalidField(param, `Invalid value for '${param}': expected ${rule}, but got ${describe(value)}.`);
  }

  number(name: string, { fallback, min, max }: { fallback: number; min: number; max: number }): number {
    const value = this.raw(name) ?? fallback;
    if (typeof value !== "number" || value < min || value > max) {
      throw this.refuse(name, `a number from ${min} to ${max}`);
    }
    return value;
  }

  integer(name: string, { min, max }: { min: number; max: number }): number | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (!Number.isSafeInteger(value) || (value as number) < min || (value as number) > max) {
      const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
      throw this.refuse(name, `a whole number ${range}`);
    }
    return value as number;
  }

  boolean(name: string): boolean {
    const value = this.raw(name) ?? false;
    if (typeof value !== "boolean") throw this.refuse(name, "true or false");
    return value;
  }

  string(name: string): string {
    const value = this.raw(name);
    if (typeof value !== "string" || value === "") throw this.refuse(name, "a string that is not empty");
    return value;
  }

  oneOf<const T extends readonly string[]>(name: string, allowed: T, fallback?: T[number]): T[number] {
    const value = this.raw(name) ?? fallback;
    if (!allowed.includes(value as string)) {
      throw this.refuse(name, `one of ${allowed.map((word) => `'${word}'`).join(", ")}`);
    }
    return value as T[number];
  }

  object(name: string): Fields | undefined {
    const value = this.raw(name);
    if (value === undefined) return undefined;
    if (!isObject(value)) throw this.refuse(name, "an object");
    return new Fields(value, `${this.#path}${name}.`);
  }

  /** Accepts fields that have no effect here. */
  ignore(...names: string[]): void {
    for (const name of names) this.#known.add(name);
  }

  /** Refuses fields that ask for what this model can't do, unless they ask for nothing. */
  unsupported(...names: string[]): void {
    for (const name of names) {
      const value = this.raw(name);
      if (value === undefined || value === false || isEmpty(value)) continue;
      throw invalidField(
        `${this.#path}${name}`,
        `'${this.#path}${name}' is not supported by this model.`,
        "unsupported",
      );
    }
  }

  noOthers(): void {
    for (const name of Object.keys(this.#values)) {
      if (!this.#known.has(name)) {
        const param = `${this.#path}${name}`;
        throw invalidField(param, `Unrecognized request argument supplied: ${param}`, "unknown_parameter");
      }
    }
  }
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isEmpty(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.keys(value).length === 0;
}

function describe(value: unknown): string {
  if (typeof value === "string")
    return value.length <= 40 ? JSON.stringify(value) : `a string of ${value.length} characters`;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  return typeof value === "object" ? "an object" : `${value as number | boolean}`;
}
