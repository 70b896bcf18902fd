import { validateHeaderName, validateHeaderValue } from "node:http";
import { errors } from "undici";

type Headers = Record<string, string | string[]>;

/** Framing is the connection's business. */
const REFUSED = new Set(["transfer-encoding", "keep-alive", "upgrade"]);

/**
 * Request headers in every form that undici takes: a flat array of names and values, pairs (a Map, a Headers object), or
 * a record; over those that the pool sends with every request. Throws undici's errors, which name a header and never
 * show its value.
 */
export function dispatchHeaders(given: unknown, pool: Readonly<Headers>): Headers {
  const headers: Headers = { ...pool };
  const named = new Set<string>();
  const add = (name: unknown, value: unknown): void => {
    if (typeof name !== "string") throw new errors.InvalidArgumentError("invalid header key");
    if (value === undefined) return;
    const key = name.toLowerCase();
    check(key);
    const before = named.has(key) ? headers[key] : undefined;
    named.add(key);
    const texts = Array.isArray(value) ? value.map((item) => textOf(key, item)) : textOf(key, value);
    if (before === undefined) headers[key] = texts;
    else if (ONCE.has(key)) throw new errors.InvalidArgumentError(`duplicate ${key} header`);
    else headers[key] = [before, texts].flat();
    if (ONCE.has(key)) checkOnce(key, texts);
  };
  if (Array.isArray(given)) {
    if (given.length % 2 !== 0) throw new errors.InvalidArgumentError("headers array must be even");
    for (let i = 0; i < given.length; i += 2) add(given[i], given[i + 1]);
  } else if (typeof given === "object" && given !== null) {
    if (isIterable(given)) {
      for (const pair of given) {
        if (!Array.isArray(pair) || pair.length !== 2) {
          throw new errors.InvalidArgumentError("headers must be in key-value pair format");
        }
        add(pair[0], pair[1]);
      }
    } else {
      for (const [name, value] of Object.entries(given)) add(name, value);
    }
  } else if (given !== undefined && given !== null) {
    throw new errors.InvalidArgumentError("headers must be an object or an array");
  }
  return headers;
}

/** Not where somebody has given all objects an iterator: undici looks twice here, too. */
function isIterable(given: object): given is Iterable<unknown> {
  const { [Symbol.iterator]: iterator } = given as { [Symbol.iterator]?: unknown };
  return typeof iterator === "function" && iterator !== (Object.prototype as typeof given)[Symbol.iterator as never];
}

const ONCE = new Set(["host", "content-length", "connection"]);

function check(key: string): void {
  if (REFUSED.has(key)) throw new errors.InvalidArgumentError(`invalid ${key} header`);
  if (key === "expect") throw new errors.NotSupportedError("expect header not supported");
  try {
    validateHeaderName(key);
  } catch {
    throw new errors.InvalidArgumentError("invalid header key");
  }
}

const RULES: Readonly<Record<string, RegExp>> = {
  "content-length": /^\d+$/,
  // Names, with commas between them.
  connection: /^\s*[!#$%&'*+.^_`|~\w-]+(?:\s*,\s*[!#$%&'*+.^_`|~\w-]+)*\s*$/,
};

function checkOnce(key: string, value: string | string[]): void {
  const rule = RULES[key];
  const good = typeof value === "string" && (rule === undefined || rule.test(value));
  if (!good) throw new errors.InvalidArgumentError(`invalid ${key} header`);
}

function textOf(key: string, value: unknown): string {
  if (value !== null && (typeof value === "object" || typeof value === "function" || typeof value === "symbol")) {
    throw new errors.InvalidArgumentError(`invalid ${key} header`);
  }
  const text = value === null ? "" : String(value as string | number);
  try {
    validateHeaderValue(key, text);
  } catch {
    throw new errors.InvalidArgumentError(`invalid ${key} header`);
  }
  return text;
}
