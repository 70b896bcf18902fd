import { ApiError } from "./api-error.ts";

type Fields = Readonly<Record<string, unknown>>;

const invalid = (param: string, rule: string): ApiError =>
  new ApiError("invalid_request", `${param} must be ${rule}.`, { param });

/** A number from `min` to `max`, or the fallback where the field is absent or null. */
export function numberField(
  fields: Fields,
  name: string,
  { fallback, min, max, integer = false }: { fallback: number; min: number; max: number; integer?: boolean },
): number {
  const value = fields[name] ?? undefined;
  if (value === undefined) return fallback;
  if (typeof value !== "number" || value < min || value > max || (integer && !Number.isInteger(value))) {
    throw invalid(name, `a ${integer ? "whole " : ""}number from ${min} to ${max}`);
  }
  return value;
}

export function booleanField(fields: Fields, name: string, fallback: boolean): boolean {
  const value = fields[name] ?? undefined;
  if (value === undefined) return fallback;
  if (typeof value !== "boolean") throw invalid(name, "true or false");
  return value;
}

/** A string of at most `maxLength` characters, or `undefined` where the field is absent or null. */
export function stringField(fields: Fields, name: string, maxLength: number = 256): string | undefined {
  const value = fields[name] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value !== "string" || value.length > maxLength) {
    throw invalid(name, `a string of at most ${maxLength} characters`);
  }
  return value;
}

export function objectField(fields: Fields, name: string): Fields | undefined {
  const value = fields[name] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value !== "object" || Array.isArray(value)) throw invalid(name, "an object");
  return value as Fields;
}

/** One string or several; empty where the field is absent or null. */
export function stringsField(fields: Fields, name: string): readonly string[] {
  const value = fields[name] ?? undefined;
  if (value === undefined) return [];
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (!list.every((item) => typeof item === "string")) throw invalid(name, "a string or an array of strings");
  return list;
}

export { invalid as invalidField };
