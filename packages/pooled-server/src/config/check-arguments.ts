import { describeValue } from "@vg/internal";
import { PooledServerConfigError } from "../errors.ts";

/**
 * What is called only much later must not turn out to be no function only then.
 *
 * @throws PooledServerConfigError
 */
export function checkedFunction<F>(where: string, given: F): F {
  if (typeof given === "function") return given;
  throw new PooledServerConfigError(`PooledServer: ${where} takes a function, got ${describeValue(given)}.`);
}

/** @throws PooledServerConfigError */
export function checkPort(port: unknown): void {
  if (typeof port === "number" && Number.isInteger(port) && port >= 0 && port <= 65_535) return;
  const advice = typeof port === "string" ? " Make a number of it: Number(process.env.PORT)." : "";
  throw new PooledServerConfigError(
    `PooledServer: port must be a whole number from 0 to 65535, got ${describeValue(port)}.${advice}`,
  );
}
