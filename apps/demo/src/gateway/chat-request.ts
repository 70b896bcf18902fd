import { detectModel, findModel, MODELS, type Model } from "../models/catalogue.ts";
import { ApiError } from "./api-error.ts";
import { booleanField, invalidField, numberField, objectField, stringField, stringsField } from "./validate.ts";

/** A checked chat request: what to ask the upstream, and what to do with the answer. */
export interface ChatRequest {
  readonly model: Model;
  /** Everything that decides about the completion, as the upstream gets it, but for its own model id. */
  readonly body: Readonly<Record<string, unknown>>;
  readonly stream: boolean;
  /** Whether a stream ends with a chunk that holds the usage (OpenAI's stream_options.include_usage). */
  readonly includeUsage: boolean;
  /** What the caller says about caching, as LiteLLM's clients do. */
  readonly cache: unknown;
  /** A W3C traceparent given in the body; its trace wins over the header's. */
  readonly traceParent: string | undefined;
}

/** Fields for the gateway; the upstream never sees them and the completion does not depend on them. */
const OWN_FIELDS = new Set([
  "model",
  "messages",
  "stream",
  "stream_options",
  "metadata",
  "workflow_id",
  "trace_parent",
  "domain_filter",
  "user",
  "store",
  "cache",
]);

const ROLES = ["system", "developer", "user", "assistant", "tool", "function"];

/** What is said for a request that does not say it. */
interface Defaults {
  /** The service's own, for its own dialect; OpenAI's clients rely on the model server's. */
  sampling: boolean;
  /** `top_k` is unknown to OpenAI, which refuses what it does not know. */
  topK: boolean;
}

/** @throws ApiError invalid_request, naming the field; model_not_found */
export function parseChatRequest(fields: Readonly<Record<string, unknown>>, defaults: Defaults): ChatRequest {
  const messages = parseMessages(fields["messages"]);
  const model = resolveModel(fields, messages);
  numberField(fields, "n", { fallback: 1, min: 1, max: 1, integer: true });
  const maxTokens = { fallback: Math.min(512, model.max_tokens), min: 1, max: model.max_tokens, integer: true };
  // OpenAI renamed max_tokens; both are the same limit, and a model server may know one of them only.
  const limitName = (fields["max_completion_tokens"] ?? null) === null ? "max_tokens" : "max_completion_tokens";
  const passedOn = Object.entries(fields).filter(([name, value]) => !OWN_FIELDS.has(name) && value !== null);
  const checked = {
    [limitName]: numberField(fields, limitName, maxTokens),
    temperature: numberField(fields, "temperature", { fallback: model.temperature, min: 0, max: 2 }),
    top_p: numberField(fields, "top_p", { fallback: 0.9, min: 0, max: 1 }),
    top_k: numberField(fields, "top_k", { fallback: 40, min: 1, max: 1_000_000, integer: true }),
  };
  const wanted = (name: string): boolean =>
    (fields[name] ?? null) !== null || (defaults.sampling && (name !== "top_k" || defaults.topK));
  stringsField(fields, "stop");
  return {
    model,
    body: {
      ...Object.fromEntries(passedOn),
      messages,
      ...Object.fromEntries(Object.entries(checked).filter(([name]) => wanted(name))),
    },
    stream: booleanField(fields, "stream", false),
    includeUsage: booleanField(objectField(fields, "stream_options") ?? {}, "include_usage", false),
    cache: fields["cache"],
    traceParent: stringField(fields, "trace_parent"),
  };
}

/** Whose request it is, as the caller says; for the usage row. */
export function parseAttribution(fields: Readonly<Record<string, unknown>>): {
  workflow_id: string | null;
  user_id: string | null;
  session_id: string | null;
} {
  const metadata = objectField(fields, "metadata") ?? {};
  return {
    workflow_id: stringField(fields, "workflow_id") ?? null,
    user_id: stringField(metadata, "user_id") ?? stringField(fields, "user") ?? null,
    session_id: stringField(metadata, "session_id") ?? null,
  };
}

function parseMessages(value: unknown): readonly Readonly<Record<string, unknown>>[] {
  if (!Array.isArray(value) || value.length === 0) throw invalidField("messages", "an array of at least one message");
  return value.map((message: unknown, i) => {
    if (message === null || typeof message !== "object" || Array.isArray(message)) {
      throw invalidField(`messages[${i}]`, "an object with role and content");
    }
    const { role, content, ...rest } = message as Record<string, unknown>;
    if (!ROLES.includes(role as string)) throw invalidField(`messages[${i}].role`, `one of ${ROLES.join(", ")}`);
    // An assistant's message may hold tool calls instead.
    const mayBeEmpty =
      role === "assistant" && (rest["tool_calls"] !== undefined || rest["function_call"] !== undefined);
    if (typeof content !== "string" && !isParts(content) && !(mayBeEmpty && (content ?? null) === null)) {
      throw invalidField(`messages[${i}].content`, "a string or an array of content parts");
    }
    return message as Record<string, unknown>;
  });
}

function isParts(content: unknown): boolean {
  return (
    Array.isArray(content) &&
    content.length > 0 &&
    content.every((part: unknown) => typeof (part as { type?: unknown } | null)?.type === "string")
  );
}

function resolveModel(fields: Readonly<Record<string, unknown>>, messages: readonly Record<string, unknown>[]): Model {
  const id = stringField(fields, "model") ?? "auto";
  const domains = stringsField(fields, "domain_filter");
  const known = new Set(MODELS.map((model) => model.domain));
  for (const domain of domains) {
    if (!known.has(domain)) throw invalidField("domain_filter", `one or more of ${[...known].join(", ")}`);
  }
  if (id !== "auto") return requireModel(id);
  return detectModel(userText(messages), domains);
}

/** @throws ApiError model_not_found, with the ids that there are */
export function requireModel(id: string): Model {
  const model = findModel(id);
  if (model !== undefined) return model;
  const ids = MODELS.map((candidate) => candidate.id).join(", ");
  const shown = id.length > 80 ? `${id.slice(0, 80)}…` : id;
  throw new ApiError("model_not_found", `There is no model ${JSON.stringify(shown)}. Models: auto, ${ids}.`, {
    param: "model",
  });
}

/** What the user says, for the detection of the domain. */
function userText(messages: readonly Record<string, unknown>[]): string {
  const texts = messages.filter(({ role }) => role === "user").map(({ content }) => contentText(content));
  return texts.join("\n");
}

function contentText(content: unknown): string {
  if (typeof content === "string") return content;
  if (!Array.isArray(content)) return "";
  return content.map((part: { text?: unknown }) => (typeof part.text === "string" ? part.text : "")).join("\n");
}
