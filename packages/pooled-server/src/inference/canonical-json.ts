import { InferenceRequestError } from "./inference-error.ts";

/** Deeper than any real request, and far from where recursion ends. */
export const MAX_DEPTH = 64;

/**
 * JSON in one spelling: fields sorted by UTF-16 code units, numbers as ECMAScript prints them, no white space. That is
 * RFC 8785 for everything that RFC 8785 allows. Beyond it: what JSON.stringify would turn into `null` (a number such as
 * 1e400) keeps a spelling of its own, so that no two different values have one.
 *
 * @throws InferenceRequestError for a value that is nested deeper than 64 levels
 */
export function canonicalJson(value: unknown, depth: number = MAX_DEPTH): string {
  if (value === null || typeof value !== "object") return scalar(value);
  if (depth === 0) {
    throw new InferenceRequestError(`The request's body is nested deeper than ${MAX_DEPTH} levels.`);
  }
  if (Array.isArray(value)) {
    let text = "[";
    for (let i = 0; i < value.length; i++) {
      if (i > 0) text += ",";
      text += canonicalJson(value[i], depth - 1);
    }
    return `${text}]`;
  }
  const { toJSON } = value as { toJSON?: unknown };
  if (typeof toJSON === "function") return canonicalJson(toJSON.call(value), depth - 1);
  let text = "{";
  let separator = "";
  for (const name of Object.keys(value).toSorted()) {
    const inner = (value as Record<string, unknown>)[name];
    // As in JSON: a field of undefined is none.
    if (inner === undefined) continue;
    text += `${separator}${JSON.stringify(name)}:${canonicalJson(inner, depth - 1)}`;
    separator = ",";
  }
  return `${text}}`;
}

function scalar(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "number":
      return Object.is(value, -0) ? "0" : String(value);
    case "boolean":
      return value ? "true" : "false";
    case "bigint":
      return `${value}n`;
    default:
      return "null";
  }
}

/** Whether the value is nested deeper than so many levels. */
export function isDeeperThan(value: unknown, levels: number): boolean {
  if (value === null || typeof value !== "object") return false;
  if (levels === 0) return true;
  return Object.values(value).some((inner) => isDeeperThan(inner, levels - 1));
}
