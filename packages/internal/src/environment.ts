import { LONGEST_DELAY_MS } from "./clock.ts";
import { describeValue } from "./options.ts";

/**
 * Reads settings from environment variables and refuses garbage in one form: the variable's name, what it holds, what
 * is allowed. An unset or blank variable is `undefined`, so that the caller's default holds. `secret` variables are
 * never shown.
 *
 * @param fail makes the package's own error
 */
export function readEnvironment(env: Record<string, string | undefined>, fail: (message: string) => Error) {
  const text = (name: string): string | undefined => {
    const value = env[name]?.trim();
    return value === undefined || value === "" ? undefined : value;
  };
  const refuse = (name: string, rule: string): Error =>
    fail(`${name} must be ${rule}, got ${describeValue(text(name))}. Correct or unset the variable.`);

  const decimal = (name: string): number | undefined => {
    const value = text(name);
    if (value === undefined) return undefined;
    // Number() alone would take "0x10", "1e3" and "Infinity".
    return /^[+-]?(\d+\.?\d*|\.\d+)$/.test(value) ? Number(value) : NaN;
  };

  return {
    text,
    refuse,

    /** A whole number from `min` to `max`. */
    integer(name: string, { min = 0, max = Number.MAX_SAFE_INTEGER }: { min?: number; max?: number } = {}) {
      const value = decimal(name);
      if (value === undefined) return undefined;
      if (!Number.isInteger(value) || value < min || value > max) {
        const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
        throw refuse(name, `a whole number ${range}`);
      }
      return value;
    },

    /**
     * A decimal number of `unitMs` (an hour, a second) above 0, as milliseconds: one at least, and as many as Node's
     * timers hold at most, unless `max` says otherwise.
     */
    durationMs(name: string, unitMs: number, unitName: string, { max = LONGEST_DELAY_MS }: { max?: number } = {}) {
      const value = decimal(name);
      if (value === undefined) return undefined;
      const limit = Math.floor(max / unitMs);
      if (!(value > 0) || value > limit) {
        throw refuse(name, `a number of ${unitName} above 0 and at most ${limit} (decimals are allowed)`);
      }
      if (value * unitMs < 1) throw refuse(name, `at least 0.001 seconds, in ${unitName}`);
      return value * unitMs;
    },

    oneOf<const T extends readonly string[]>(name: string, allowed: T): T[number] | undefined {
      const value = text(name)?.toLowerCase();
      if (value === undefined) return undefined;
      if (!allowed.includes(value)) throw refuse(name, `one of ${allowed.join(", ")}`);
      return value as T[number];
    },

    boolean(name: string): boolean | undefined {
      const value = text(name)?.toLowerCase();
      if (value === undefined) return undefined;
      if (["1", "true", "yes", "on"].includes(value)) return true;
      if (["0", "false", "no", "off"].includes(value)) return false;
      throw refuse(name, "true or false");
    },
  };
}
