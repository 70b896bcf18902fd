/** Which requests are cached, and which answers are worth keeping. */
import type { InferenceDirectives } from "./directives.ts";
import { isObject, type JsonObject } from "./json.ts";

/**
 * - `deterministic`: requests whose answer must come out the same (`temperature` is 0, or a `seed` is given), and those
 *   that ask for it
 * - `opt-in`: only requests that ask for it
 * - `always`: every request, whatever its temperature
 */
export type InferenceCacheMode = "deterministic" | "opt-in" | "always";

export const INFERENCE_CACHE_MODES = ["deterministic", "opt-in", "always"] as const;

/** Whether the cache may be asked for this request, and its answer be stored. */
export function isCacheable(
  mode: InferenceCacheMode,
  deterministic: boolean,
  { useCache, onlyIfCached }: InferenceDirectives,
): boolean {
  // Who asks decides, either way; and who wants a stored answer or none has asked.
  if (useCache !== undefined) return useCache;
  if (onlyIfCached === true || mode === "always") return true;
  return mode === "deterministic" && deterministic;
}

/** A temperature that is not given is 1, not 0. */
export function isDeterministic({ temperature, seed }: JsonObject): boolean {
  return temperature === 0 || (seed !== undefined && seed !== null);
}

/** The reasons to stop after which an answer is what the model wanted to say. */
const NATURAL_ENDS: ReadonlySet<string> = new Set(["stop", "end_turn", "eos", "eos_token", "stop_sequence"]);

/** How many choices the whole answer has: `n` of each prompt, of which text completions may have several. */
export function choicesAskedFor({ n, prompt }: JsonObject): number {
  const prompts = Array.isArray(prompt) && prompt.some((one) => typeof one !== "number") ? prompt.length : 1;
  return (typeof n === "number" && n >= 1 ? n : 1) * prompts;
}

/**
 * Why an answer is not kept, or undefined where it may be.
 *
 * @param choicesWanted a stream of chunk objects may be cut before a choice has begun, and nothing else shows it
 */
export function whyNotStored(
  document: JsonObject,
  alsoStore: ReadonlySet<string>,
  choicesWanted: number,
): "finish_reason" | "tool_calls" | undefined {
  const choices: unknown[] = Array.isArray(document["choices"]) ? document["choices"] : [];
  if (choices.length < choicesWanted) return "finish_reason";
  for (const choice of choices) {
    const { finish_reason: reason, message } = isObject(choice) ? choice : {};
    const calls = reason === "tool_calls" || reason === "function_call";
    const natural = calls || (typeof reason === "string" && (NATURAL_ENDS.has(reason) || alsoStore.has(reason)));
    if (!natural) return "finish_reason";
    if ((calls || hasCalls(message)) && !alsoStore.has("tool_calls")) return "tool_calls";
  }
  return undefined;
}

function hasCalls(message: unknown): boolean {
  if (!isObject(message)) return false;
  const { tool_calls: calls, function_call: call } = message;
  return (Array.isArray(calls) && calls.length > 0) || (call ?? null) !== null;
}
