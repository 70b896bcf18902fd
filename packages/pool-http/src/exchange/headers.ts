import { validateHeaderName, validateHeaderValue } from "node:http";

/** A record, or pairs: a Headers object, a Map, an array. `undefined` values are left out. */
export type HttpHeadersInit =
  | Readonly<Record<string, string | number | readonly string[] | undefined>>
  | Iterable<readonly [string, string]>;

/** Framing is the connection's business; a caller who sets it desynchronises the two sides. */
const RESERVED = new Set(["connection", "keep-alive", "transfer-encoding", "upgrade", "content-length", "expect"]);

/**
 * Lower-case names and checked values. Throws an Error whose message names the header and never shows its value, which
 * may be a secret.
 */
export function normalizeHeaders(init: HttpHeadersInit): Record<string, string | string[]> {
  if (init === null || typeof init !== "object") throw new Error("headers must be an object or pairs");
  const headers: Record<string, string | string[]> = {};
  const pairs = isIterable(init) ? init : Object.entries(init);
  for (const [name, value] of pairs) {
    if (value === undefined) continue;
    if (typeof name !== "string") throw new Error("a header's name must be a string");
    const key = name.toLowerCase();
    if (RESERVED.has(key)) throw new Error(`header ${JSON.stringify(key)} is set by the pool itself; leave it out`);
    validateHeaderName(key);
    if (Array.isArray(value)) {
      for (const item of value) validateHeaderValue(key, item as string);
      headers[key] = [...(value as string[])];
    } else {
      if (typeof value !== "string" && typeof value !== "number") throw new Error(`header ${key} must be a string`);
      const text = String(value);
      validateHeaderValue(key, text);
      const before = isIterable(init) ? headers[key] : undefined;
      headers[key] = before === undefined ? text : [...(Array.isArray(before) ? before : [before]), text];
    }
  }
  return headers;
}

function isIterable(init: HttpHeadersInit): init is Iterable<readonly [string, string]> {
  return Symbol.iterator in init;
}

/** Anywhere in a header's name. */
const SECRET = /auth|bearer|cookie|credential|csrf|xsrf|hmac|jwt|passw|passphrase|passcode|passkey|pwd|saml/;
const SECRET_TOO = /secret|session|signature|ticket|token|api[-_]?key|keys?$/;
/** As a word of it. */
const SECRET_WORD = /(?:^|[-_])(?:keys?|otp|pass|pin|sid|sig|sso|bypass)(?:[-_]|$)/;
/** At the beginning of a value, whatever it is called: an authentication scheme, or a JSON Web Token. */
const SECRET_VALUE =
  /^\s*(?:(?:basic|bearer|digest|negotiate|ntlm|token|apikey|jwt|hawk|dpop|gnap|hoba|vapid|privatetoken|aws4-hmac-sha256|scram-sha-\d+)\s|eyJ[\w-]+\.[\w-]+\.)/i;
/** Opens no door, and without it a repeated request would be acted on twice. */
const NO_SECRET = "idempotency-key";

/** For a redirect to another origin: without anything that looks as if it might open a door there. */
export function withoutSecrets(headers: Record<string, string | string[]>): Record<string, string | string[]> {
  return Object.fromEntries(Object.entries(headers).filter(([name, value]) => isHarmless(name, [value].flat())));
}

function isHarmless(name: string, values: readonly string[]): boolean {
  if (name === NO_SECRET) return true;
  if (name === "host" || SECRET.test(name) || SECRET_TOO.test(name) || SECRET_WORD.test(name)) return false;
  return !values.some((value) => SECRET_VALUE.test(value));
}

export function headerText(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === "string" || value === undefined ? value : value.join(", ");
}

/** Whether a server can tell by its Idempotency-Key that it has a request already: there is one, and it is not empty. */
export function isKeyed({ "idempotency-key": key }: Readonly<Record<string, string | readonly string[]>>): boolean {
  return key !== undefined && [key].flat().some((text) => text.trim() !== "");
}
