import { checkOptions, describeValue } from "@vg/internal";
import { PoolConfigError } from "../errors.ts";

const ISOLATION_LEVELS: readonly unknown[] = ["read uncommitted", "read committed", "repeatable read", "serializable"];

type OptionName =
  | "prepare"
  | "exclusive"
  | "signal"
  | "timeoutMs"
  | "deadlineMs"
  | "isolation"
  | "readOnly"
  | "deferrable"
  | "retries"
  | "deep";

interface Rule {
  readonly holds: (value: unknown) => boolean;
  /** What the option must be, and what to do. */
  readonly text: string;
}

const TRUE_OR_FALSE: Rule = { holds: (value) => typeof value === "boolean", text: "true or false" };

/** What each option of any call must be. */
const RULES: Record<OptionName, Rule> = {
  signal: {
    holds: (value) =>
      typeof (value as { aborted?: unknown } | null)?.aborted === "boolean" &&
      typeof (value as { addEventListener?: unknown }).addEventListener === "function",
    text: "an AbortSignal",
  },
  timeoutMs: {
    holds: (value) => typeof value === "number" && value > 0,
    text: "a number of milliseconds above 0",
  },
  deadlineMs: {
    holds: (value) => typeof value === "number" && value >= 0,
    text: "a number of milliseconds of at least 0",
  },
  isolation: {
    holds: (value) => ISOLATION_LEVELS.includes(value),
    text: `one of ${ISOLATION_LEVELS.join(", ")}`,
  },
  readOnly: TRUE_OR_FALSE,
  deferrable: TRUE_OR_FALSE,
  prepare: TRUE_OR_FALSE,
  exclusive: TRUE_OR_FALSE,
  deep: TRUE_OR_FALSE,
  retries: {
    holds: (value) => Number.isInteger(value) && (value as number) >= 0,
    text: "a whole number of at least 0",
  },
};

export const LIMITS: readonly OptionName[] = ["signal", "timeoutMs"];
export const QUERY_OPTIONS: readonly OptionName[] = [...LIMITS, "prepare", "exclusive"];
export const TRANSACTION_OPTIONS: readonly OptionName[] = [
  "isolation",
  "readOnly",
  "deferrable",
  "signal",
  "timeoutMs",
];
export const RETRIED_TRANSACTION_OPTIONS: readonly OptionName[] = [...TRANSACTION_OPTIONS, "retries"];

/**
 * Checks the options of one call of `method`. A misspelt limit that is ignored shows only in an outage.
 * @throws {PoolConfigError} for an option that the method does not have, and for a value that cannot be right
 */
export function checkCallOptions(pool: string, method: string, options: unknown, allowed: readonly OptionName[]): void {
  if (options === undefined) return;
  if (options === null || typeof options !== "object" || Array.isArray(options)) refuse(pool, method, options, allowed);
  for (const [name, value] of Object.entries(options as object)) {
    if (!allowed.includes(name as OptionName)) refuse(pool, method, options, allowed);
    const rule = RULES[name as OptionName];
    if (value === undefined || rule.holds(value)) continue;
    throw new PoolConfigError(
      pool,
      `${method}: ${name} must be ${rule.text}, got ${describeValue(value)}. Leave it out for the default.`,
    );
  }
}

function refuse(pool: string, method: string, options: unknown, allowed: readonly OptionName[]): never {
  const check = checkOptions(method, options, (message) => new PoolConfigError(pool, message));
  for (const name of allowed) check.raw(name);
  check.noOthers();
  throw new PoolConfigError(pool, `${method}: options must be an object`);
}
