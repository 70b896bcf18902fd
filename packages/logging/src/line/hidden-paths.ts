import { describeValue } from "@vg/internal";
import { LoggerConfigError } from "../errors.ts";
import { toJson } from "./json.ts";

type Censor = (value: unknown, path: string[]) => unknown;

/** What the line itself says can't be hidden; a field of such a name is shown as `field.<name>`. */
const RESERVED = new Set(["level", "time", "caller", "message"]);
/** Of what a censor makes of a value; or else as long as the value. */
const LONGEST_CENSORED = 64;
const SEGMENT = /^(?:\.?([^.[\]]+)|\[(\*|\d+)\]|\["([^"]*)"\]|\['([^']*)'\])/;

/**
 * The `redact` option of pino's children: paths as `a.b`, `*.c`, `list[*].d` and `["odd-name"]`, in a list or as
 * `{ paths, censor, remove }`. They are hidden besides the names that are always hidden.
 *
 * They are looked for in the finished line, so that they also hold for the fields that the parent carries. That takes
 * a parse, which is paid only by the lines that have the last name of a path somewhere.
 */
export class HiddenPaths {
  readonly #paths: readonly (readonly string[])[];
  /** What a line must have for a path to be in it; `undefined` where that can't be told. */
  readonly #traces: readonly (string | undefined)[];
  readonly #censor: Censor;
  readonly #show: (value: unknown) => string;
  readonly #remove: boolean;

  /**
   * @param show what a censor gives, as JSON, with its secrets hidden
   * @throws LoggerConfigError
   */
  constructor(option: unknown, replacement: string, show: (value: unknown) => string) {
    const { paths, censor, remove } = (Array.isArray(option) ? { paths: option as unknown[] } : option) as {
      paths?: unknown;
      censor?: unknown;
      remove?: unknown;
    };
    if (!Array.isArray(paths)) {
      throw new LoggerConfigError(`child: redact must be paths or { paths }, got ${describeValue(paths)}.`);
    }
    this.#paths = paths.map(parsePath);
    this.#traces = this.#paths.map((path) => {
      const last = path.findLast((segment) => segment !== "*" && !/^\d+$/.test(segment));
      return last === undefined || last === "err" ? undefined : toJson(last).slice(1, -1);
    });
    this.#censor = typeof censor === "function" ? (censor as Censor) : () => censor ?? replacement;
    this.#remove = remove === true;
    this.#show = show;
  }

  /** @param json a document, or another text, which is left as it is; a newline at its end is kept */
  apply(json: string): string {
    if (!this.#traces.some((trace) => trace === undefined || json.includes(trace))) return json;
    let document: unknown;
    try {
      document = JSON.parse(json);
    } catch {
      // What an error says of itself, in a message.
    }
    if (typeof document !== "object" || document === null) return json;
    for (const path of this.#paths) {
      const [first = "*", ...rest] = path;
      for (const name of topNames(document, first)) this.#hide(document, [name, ...rest], 0);
    }
    return inOrder(document, json) + (json.endsWith("\n") ? "\n" : "");
  }

  #hide(value: unknown, path: readonly string[], at: number): void {
    if (typeof value !== "object" || value === null) return;
    const members = value as Record<string, unknown>;
    const segment = path[at] as string;
    const names = segment === "*" ? Object.keys(members) : Object.hasOwn(members, segment) ? [segment] : [];
    for (const name of names) {
      const here = [...path.slice(0, at), name, ...path.slice(at + 1)];
      if (at + 1 < path.length) this.#hide(members[name], here, at + 1);
      else if (this.#remove) Reflect.deleteProperty(members, name);
      else members[name] = this.#censored(members[name], here);
    }
  }

  #censored(value: unknown, path: string[]): unknown {
    try {
      const shown = this.#censor(value, path);
      if (shown === undefined) return undefined;
      // What JSON can't hold must not spoil the line, nor what is long its bounds.
      const text = this.#show(shown);
      if (text.length <= Math.max(LONGEST_CENSORED, JSON.stringify(value).length)) return JSON.parse(text);
    } catch {
      // Hidden, as below.
    }
    return "[redacted]";
  }
}

/** The names at the top of a line that a path's first segment may mean. */
function topNames(document: object, first: string): string[] {
  if (first === "*") return Object.keys(document).filter((name) => !RESERVED.has(name));
  if (RESERVED.has(first)) return [`field.${first}`];
  return first === "err" ? ["err", "error"] : [first];
}

/** A text, or the sign of where an object or a list begins or ends. */
const TOKEN = /"[^"\\]*(?:\\.[^"\\]*)*"|[{}[\]]/g;

/** The document as JSON, its names at the top in the order of the text that it was read from. */
function inOrder(document: object, json: string): string {
  // JavaScript moves only those to the front that are numbers.
  if (Array.isArray(document) || !/^\d/.test(Object.keys(document)[0] ?? "")) return toJson(document);
  const members: string[] = [];
  let depth = 0;
  for (const { 0: token, index } of json.matchAll(TOKEN)) {
    if (token === "{" || token === "[") depth++;
    else if (token === "}" || token === "]") depth--;
    else if (depth === 1 && json[index + token.length] === ":") {
      const name = JSON.parse(token) as string;
      const value = Object.hasOwn(document, name) ? (document as Record<string, unknown>)[name] : undefined;
      if (value !== undefined) members.push(`${token}:${toJson(value)}`);
    }
  }
  return `{${members.join(",")}}`;
}

function parsePath(path: unknown): string[] {
  const segments: string[] = [];
  let rest = typeof path === "string" ? path : "";
  while (rest !== "") {
    const found = SEGMENT.exec(rest);
    if (found === null) break;
    segments.push(found[1] ?? found[2] ?? found[3] ?? found[4] ?? "");
    rest = rest.slice(found[0].length);
  }
  if (rest === "" && segments.length > 0) return segments;
  throw new LoggerConfigError(
    `child: redact has ${describeValue(path)}, which is no path. Paths look like "a.b", "*.c" and "list[*].d".`,
  );
}
