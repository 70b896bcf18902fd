/** What a caller gives for one query, checked and brought to one form. */
import { describeKind, describeValue } from "@vg/internal";
import type pg from "pg";
import { PoolConfigError, QueryValueError } from "../errors.ts";
import type { WireValue } from "../protocol/message-writer.ts";
import { MAX_VALUES, serialise } from "../protocol/values.ts";
import { QUERY_OPTIONS, checkCallOptions } from "./call-options.ts";
import type { QueryOptions } from "./limits.ts";
import type { PlainCall } from "./plain-call.ts";

/** A query as pg takes it. */
export interface QueryConfig {
  readonly text: string;
  /** A name makes it a prepared statement of its connection: the server parses it once. */
  readonly name?: string | undefined;
  /** For `$1`, `$2`, …; values that are given beside the config take precedence. */
  readonly values?: readonly unknown[] | undefined;
  /** Rows as arrays of values instead of objects. */
  readonly rowMode?: "array" | undefined;
  readonly types?: pg.CustomTypesConfig | undefined;
  /** pg's name for `timeoutMs`, which takes precedence; 0 is none. */
  readonly query_timeout?: number | undefined;
}

/** A query's text, or a config object. */
export type QueryInput = string | QueryConfig;

/** One query as the layers below take it. */
export interface QueryCall extends PlainCall {
  /** The query as pg's client takes it; a text where that is enough. */
  readonly query: string | object;
  /** It has something that only pg's client understands. */
  readonly pgOnly: boolean;
  /** False: on a connection of its own, whatever the statement is. */
  readonly share: boolean;
  readonly signal: AbortSignal | undefined;
  readonly timeoutMs: number | undefined;
  /** Statements that go out together; then nothing above but the limits counts. */
  readonly batch?: readonly QueryCall[] | undefined;
}

/** What a config object may have for us to understand it. */
const KNOWN_KEYS: ReadonlySet<string> = new Set(["text", "values", "name", "rowMode", "types", "query_timeout"]);

const NO_OPTIONS: QueryOptions = {};

/**
 * @throws {PoolConfigError} for what cannot be a query, its values or its options
 * @throws {QueryValueError} for a value that cannot be serialised
 */
export function readQueryCall(
  pool: string,
  input: QueryInput,
  values: readonly unknown[] | null | undefined,
  options: QueryOptions | undefined,
  what: string = "query()",
): QueryCall {
  if (typeof input !== "string" && (typeof input !== "object" || input === null)) {
    const given = typeof input === "function" ? "a function as the first parameter" : describeValue(input);
    throw new PoolConfigError(pool, `${what} takes SQL text or a config object with text, got ${given}.`);
  }
  if (options !== undefined) checkCallOptions(pool, "query()", options, QUERY_OPTIONS);
  const { signal, timeoutMs, prepare = true, exclusive = false } = options ?? NO_OPTIONS;
  if (typeof input === "string") {
    refuseNul(pool, what, "the text of a statement", input);
    return {
      query: input,
      text: input,
      values: wireValues(pool, what, values),
      name: undefined,
      asArray: false,
      types: undefined,
      prepare,
      pgOnly: false,
      share: !exclusive,
      signal,
      timeoutMs,
    };
  }
  // A copy, because older versions of pg write the callback into it. `text` and the others are read by name because
  // template-tag libraries have them as getters of a class.
  const { name, text, values: own, query_timeout: ownTimeout, rowMode, types } = input;
  checkConfig(pool, what, input, { name, text, types });
  refuseNul(pool, what, "the text of a statement", text);
  refuseNul(pool, what, "the name of a prepared statement", name);
  const query: Record<string, unknown> = { ...input, name, text, values: undefined };
  // pg's own timeout leaves a client behind that looks free and is not.
  delete query["query_timeout"];
  return {
    query,
    text,
    values: wireValues(pool, what, values ?? own),
    name,
    asArray: rowMode === "array",
    types,
    prepare,
    pgOnly: !isUnderstood(input),
    share: !exclusive,
    signal,
    timeoutMs: timeoutMs ?? readOwnTimeout(pool, what, ownTimeout),
  };
}

/** What pg finds wrong with a config object when half of the query is on its way, or when its answer has come. */
function checkConfig(pool: string, what: string, input: object, { name, text, types }: Record<string, unknown>): void {
  // With a name alone pg runs what it has prepared under it.
  if (typeof text !== "string" && (typeof name !== "string" || (text !== undefined && text !== null))) {
    const given = Array.isArray(input) ? "an array" : `an object whose text is ${describeValue(text)}`;
    throw new PoolConfigError(pool, `${what} takes SQL text or a config object with text, got ${given}.`);
  }
  if (name !== undefined && name !== null && typeof name !== "string") {
    throw new PoolConfigError(pool, `${what}: name must be a string, got ${describeValue(name)}.`);
  }
  if (types && typeof (types as { getTypeParser?: unknown }).getTypeParser !== "function") {
    throw new PoolConfigError(pool, `${what}: types must have a getTypeParser(), got ${describeValue(types)}.`);
  }
}

/** Whether nothing in it is known to pg's client alone. */
export function isUnderstood(input: QueryConfig): boolean {
  const { text, name, rowMode, types } = input;
  return (
    typeof text === "string" &&
    (name === undefined || (typeof name === "string" && name !== "" && !name.includes("\0"))) &&
    (rowMode === undefined || rowMode === "array") &&
    (types === undefined || typeof types.getTypeParser === "function") &&
    Object.keys(input).every((key) => KNOWN_KEYS.has(key))
  );
}

/** A statement of the pool's own, BEGIN for example: it goes through pg. */
export function ownStatement(text: string, { signal, timeoutMs }: QueryOptions = NO_OPTIONS): QueryCall {
  return {
    query: text,
    text,
    values: NO_VALUES,
    name: undefined,
    asArray: false,
    types: undefined,
    prepare: false,
    pgOnly: true,
    share: false,
    signal,
    timeoutMs,
  };
}

const NO_VALUES: readonly WireValue[] = [];

/** The protocol ends a text with it: what follows would be read as something else. */
function refuseNul(pool: string, what: string, part: string, text: unknown): void {
  if (typeof text !== "string" || !text.includes("\0")) return;
  throw new PoolConfigError(
    pool,
    `${what}: ${part} holds a NUL character (at ${text.indexOf("\0")}), which PostgreSQL cannot take. Remove it.`,
  );
}

function wireValues(pool: string, what: string, values: unknown): readonly WireValue[] {
  if (values === undefined || values === null) return NO_VALUES;
  if (Array.isArray(values)) {
    if (values.length > MAX_VALUES) {
      throw new PoolConfigError(
        pool,
        `${what}: a statement takes at most ${MAX_VALUES} values, got ${values.length}. Split it, or pass arrays (unnest, = any).`,
      );
    }
    const serialised: WireValue[] = [];
    try {
      return serialise(values, serialised);
    } catch (cause) {
      throw unsendable(pool, what, serialised.length + 1, cause);
    }
  }
  // Its kind only: values do not belong in errors.
  throw new PoolConfigError(pool, `${what}: values must be an array, got ${describeKind(values)}.`);
}

/** `number` as in `$1`. */
function unsendable(pool: string, what: string, number: number, cause: unknown): QueryValueError {
  // Of the reason only what JSON says of itself: that of a hook of the value's may hold the value.
  const reason = cause instanceof Error ? cause.message.split("\n", 1)[0] : undefined;
  const known =
    reason !== undefined && /^(Converting circular structure|Do not know how to serialize a BigInt)/.test(reason);
  const why = known ? reason : "serialising it throws (see the cause)";
  return new QueryValueError(
    pool,
    `${what}: the value for $${number} cannot be sent: ${why}. Nothing was sent. Pass what its column takes: plain data for JSON, or text.`,
    { cause },
  );
}

function readOwnTimeout(pool: string, what: string, ms: unknown): number | undefined {
  if (ms === undefined || ms === null || ms === false || ms === 0) return undefined;
  if (typeof ms === "number" && ms > 0) return ms;
  throw new PoolConfigError(
    pool,
    `${what}: query_timeout must be a number of milliseconds of at least 0 (none), got ${describeValue(ms)}.`,
  );
}
