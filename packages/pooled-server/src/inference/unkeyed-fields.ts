/** What a body says that is not in its key, and yet goes to the upstream with the request that leads. */
import { isDeepStrictEqual } from "node:util";
import { InferenceRequestError } from "./inference-error.ts";
import { isObject, type JsonObject } from "./json.ts";

/**
 * What is not in the key goes to the upstream with the request that leads. A value of another kind would have it refuse
 * everybody's call, so it is refused here, to its sender.
 */
export function checkUnkeyed(body: JsonObject): void {
  for (const [name, rule, fits] of UNKEYED_RULES) {
    const value = body[name] ?? undefined;
    if (value !== undefined && !fits(value))
      throw new InferenceRequestError(`${name} must be ${rule}.`, { param: name });
  }
}

const UNKEYED_RULES: readonly (readonly [name: string, rule: string, fits: (value: unknown) => boolean])[] = [
  ["stream", "true or false", (value) => typeof value === "boolean"],
  ["stream_options", "an object", isObject],
  ["user", "a string", (value) => typeof value === "string"],
  ["metadata", "an object", isObject],
  ["store", "true or false", (value) => typeof value === "boolean"],
];

/** Whether two bodies of one key say the same in these fields, too; so where the one is not known. */
export function saysTheSame(one: JsonObject | undefined, other: JsonObject): boolean {
  return one === undefined || UNKEYED_RULES.every(([name]) => isDeepStrictEqual(one[name], other[name]));
}

/** An answer that says that the request is wrong, not that its time is. */
export function isRefusal(error: unknown): boolean {
  const { status } = isObject(error) ? error : {};
  return typeof status === "number" && status >= 400 && status < 500 && status !== 408 && status !== 429;
}
