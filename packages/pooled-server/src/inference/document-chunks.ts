import { isObject, put, without, type JsonObject } from "./json.ts";

const NOT_IN_HEAD: ReadonlySet<string> = new Set(["choices", "usage", "object"]);
const NOT_IN_REST: ReadonlySet<string> = new Set(["index", "message", "delta", "text", "logprobs", "finish_reason"]);

/**
 * The chunks that a document is as a stream: for each choice its message in one delta and the reason for its end, then
 * the usage in a chunk of its own. `DocumentBuilder` makes the document of them again.
 */
export function chunksOfDocument(document: JsonObject): JsonObject[] {
  const isText = document["object"] === "text_completion";
  const { usage } = document;
  const counted = isObject(usage);
  const head: Record<string, unknown> = {
    ...without(document, NOT_IN_HEAD),
    object: isText ? "text_completion" : "chat.completion.chunk",
  };
  // A usage that counts nothing (null) is no chunk of its own: clients expect a choice in all others.
  if (usage !== undefined && !counted) head["usage"] = usage;
  const chunks: JsonObject[] = [];
  const choices: unknown[] = Array.isArray(document["choices"]) ? document["choices"] : [];
  for (const [position, choice] of choices.entries()) {
    if (!isObject(choice)) continue;
    const { index = position, finish_reason = null } = choice;
    const rest = without(choice, NOT_IN_REST);
    const logprobs = "logprobs" in choice ? { logprobs: choice["logprobs"] } : {};
    if (isText) {
      chunks.push({ ...head, choices: [{ index, text: choice["text"] ?? "", ...logprobs, ...rest, finish_reason }] });
      continue;
    }
    const delta = deltaOf(choice["message"]);
    chunks.push({ ...head, choices: [{ index, delta, ...logprobs, finish_reason: null }] });
    chunks.push({ ...head, choices: [{ index, delta: {}, ...rest, finish_reason }] });
  }
  if (counted) chunks.push({ ...head, choices: [], usage });
  return chunks;
}

/** A message as one delta: the same, but that tool calls have their place with them. */
function deltaOf(message: unknown): JsonObject {
  if (!isObject(message)) return {};
  const delta: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(message)) {
    const isCalls = name === "tool_calls" && Array.isArray(value);
    put(delta, name, isCalls ? value.map((call, index) => (isObject(call) ? { index, ...call } : call)) : value);
  }
  return delta;
}
