import { readEnvironment } from "@vg/internal";
import { HttpPoolConfigError } from "./errors.ts";
import type { HttpPoolOptions } from "./options.ts";

/**
 * The options that environment variables set: HTTP_MAX_IDLE_CONNS (a whole number), HTTP_TIMEOUT_SECONDS (a number
 * above 0, decimals allowed). Unset ones are left out, so that the defaults hold. Throws HttpPoolConfigError on garbage.
 */
export function httpPoolOptionsFromEnv(
  env: Record<string, string | undefined> = process.env,
): Pick<HttpPoolOptions, "maxIdleConns" | "timeoutMs"> {
  const read = readEnvironment(env, (message) => new HttpPoolConfigError(message));
  const maxIdleConns = read.integer("HTTP_MAX_IDLE_CONNS");
  const timeoutMs = read.durationMs("HTTP_TIMEOUT_SECONDS", 1000, "seconds");
  return {
    ...(maxIdleConns === undefined ? {} : { maxIdleConns }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  };
}
