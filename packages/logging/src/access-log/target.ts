import type { Redactor } from "../line/redact.ts";

/** What marks a text that was cut. */
const CUT = "…";
/** Names of parameters come from clients: only so many are remembered. */
const REMEMBERED_NAMES = 1024;
/** A secret that a cut goes through is known by what follows, if it is no longer than this. */
const SEEN_BEYOND = 4096;

/** The path of a request's target: no query, and not the origin that a client of a proxy puts before it. */
export function pathOf(target: string): string {
  const end = target.indexOf("?");
  const path = end === -1 ? target : target.slice(0, end);
  if (path.startsWith("/")) return path;
  // `http://user:password@host/path`; what remains is `*`, or `host:port` of a CONNECT.
  const scheme = path.indexOf("://");
  if (scheme === -1) return path;
  const start = path.indexOf("/", scheme + 3);
  return start === -1 ? "/" : path.slice(start);
}

/** Without its `?`; `undefined` where there is none. */
export function queryOf(target: string): string | undefined {
  const start = target.indexOf("?");
  return start === -1 || start === target.length - 1 ? undefined : target.slice(start + 1);
}

export function cut(text: string, maxLength: number): string {
  return scrubbedCut(text, maxLength, undefined);
}

/** Hides secrets in queries: values under a secret name, and values with a secret in them, as a URL with a password. */
export class QueryScrubber {
  readonly #redactor: Redactor;
  readonly #secretNames = new Map<string, boolean>();

  constructor(redactor: Redactor) {
    this.#redactor = redactor;
  }

  scrub(query: string, maxLength: number): string {
    const isCut = query.length > maxLength;
    const shown = isCut ? query.slice(0, maxLength) : query;
    let out = "";
    let start = 0;
    while (start <= shown.length) {
      let end = shown.indexOf("&", start);
      if (end === -1) end = shown.length;
      const equals = shown.indexOf("=", start);
      const hasValue = equals !== -1 && equals < end;
      if (start > 0) out += "&";
      if (!hasValue) {
        out += shown.slice(start, end);
      } else {
        const isLast = isCut && end === shown.length;
        out += shown.slice(start, equals + 1);
        out += this.#value(shown.slice(start, equals), shown.slice(equals + 1, end), isLast);
      }
      start = end + 1;
    }
    return isCut ? out + CUT : out;
  }

  #value(name: string, value: string, isCut: boolean): string {
    if (value === "") return value;
    if (this.#isSecret(name)) return this.#redactor.replacement;
    // Most values are a word or a number, in which no secret can be told.
    if (!/[%:=+]|BEGIN/.test(value)) return value;
    const plain = decode(value);
    return this.#redactor.scrub(plain, isCut) === plain ? value : this.#redactor.replacement;
  }

  /** Signatures and the like: secrets by the place of their name, which the query has lost with its `?`. */
  #isSecretInUrls(name: string): boolean {
    const alone = `?${name}=x`;
    return this.#redactor.scrub(alone, false) !== alone;
  }

  #isSecret(name: string): boolean {
    let secret = this.#secretNames.get(name);
    if (secret === undefined) {
      // `user[password]` and `filter.token` are secret for their last part.
      const plain = decode(name);
      const last = plain.split(/[.[\]]+/).findLast((part) => part !== "") ?? plain;
      secret = this.#redactor.isSecret(plain) || this.#redactor.isSecret(last) || this.#isSecretInUrls(plain);
      if (this.#secretNames.size < REMEMBERED_NAMES) this.#secretNames.set(name.slice(), secret);
    }
    return secret;
  }
}

/**
 * A text that is to be cut is scrubbed first, some way beyond the cut, so that no half of a secret stays.
 * `redactor`: of the logger, where it can tell.
 */
export function scrubbedCut(text: string, maxLength: number, redactor: Redactor | undefined): string {
  if (text.length <= maxLength) return text;
  const seen = text.slice(0, maxLength + SEEN_BEYOND);
  return (redactor?.scrub(seen, text.length > seen.length) ?? seen).slice(0, maxLength) + CUT;
}

function decode(text: string): string {
  const spaced = text.replaceAll("+", " ");
  if (!spaced.includes("%")) return spaced;
  try {
    return decodeURIComponent(spaced);
  } catch {
    // An escape that is none, or that the cut has halved: the others still count.
    return spaced.replace(/(?:%[0-9a-f]{2})+/gi, (escapes) => {
      try {
        return decodeURIComponent(escapes);
      } catch {
        return escapes;
      }
    });
  }
}
