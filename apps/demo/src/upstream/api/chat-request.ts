import type { CompletionRequest } from "../completion.ts";
import { countTokens } from "../tokenizer.ts";
import { ApiError, invalidField } from "./api-error.ts";
import { Fields, isObject } from "./fields.ts";

/** Prompt and answer together may have this many tokens. */
export const CONTEXT_TOKENS = 8192;
const MAX_STOPS = 4;
const MAX_MESSAGES = 2048;
const ROLES = ["system", "developer", "user", "assistant", "tool"] as const;

export interface ChatRequest {
  readonly model: string;
  /** Without a `seed`, one is drawn for each request. */
  readonly completion: Omit<CompletionRequest, "seed"> & { seed: number | undefined };
  readonly promptTokens: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
}

/**
 * Checks the body of POST /v1/chat/completions: OpenAI's fields, and `top_k` as most local servers have it.
 *
 * @param knowsModel whether a model of that name is served
 * @throws ApiError 400 that names the field, 404 for a model that is not served
 */
export function parseChatRequest(body: Record<string, unknown>, knowsModel: (id: string) => boolean): ChatRequest {
  const fields = new Fields(body);
  const model = parseModel(fields, knowsModel);
  const { prompt, promptTokens } = parseMessages(fields);
  const stream = fields.boolean("stream");
  const includeUsage = parseStreamOptions(fields, stream);
  const choices = fields.integer("n", { min: 1, max: 128 }) ?? 1;
  if (choices !== 1) throw invalidField("n", "'n' must be 1: this model gives one choice per request.", "unsupported");

  const completion = {
    prompt,
    maxTokens: parseMaxTokens(fields, promptTokens),
    stop: parseStop(fields),
    seed: fields.integer("seed", { min: Number.MIN_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER }),
    temperature: fields.number("temperature", { fallback: 1, min: 0, max: 2 }),
    topP: fields.number("top_p", { fallback: 1, min: 0, max: 1 }),
    topK: fields.integer("top_k", { min: 0, max: Number.MAX_SAFE_INTEGER }) ?? 0,
    frequencyPenalty: fields.number("frequency_penalty", { fallback: 0, min: -2, max: 2 }),
    presencePenalty: fields.number("presence_penalty", { fallback: 0, min: -2, max: 2 }),
  };
  parseResponseFormat(fields);
  fields.unsupported("tools", "functions", "logprobs", "top_logprobs", "logit_bias", "audio", "prediction");
  fields.ignore("tool_choice", "function_call", "parallel_tool_calls", "modalities", "reasoning_effort", "verbosity");
  fields.ignore("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key");
  fields.noOthers();
  return { model, completion, promptTokens, stream, includeUsage };
}

export function parseModel(fields: Fields, knowsModel: (id: string) => boolean): string {
  const model = fields.string("model");
  if (!knowsModel(model)) throw modelNotFound(model);
  return model;
}

export function modelNotFound(model: string): ApiError {
  const name = JSON.stringify(model.slice(0, 200));
  return new ApiError(404, `The model ${name} does not exist. GET /v1/models lists those that do.`, {
    param: "model",
    code: "model_not_found",
  });
}

/** The last message of the user is what the model answers; every message counts as prompt, with a token for its role. */
function parseMessages(fields: Fields): { prompt: string; promptTokens: number } {
  const messages = fields.raw("messages");
  if (!Array.isArray(messages) || messages.length === 0 || messages.length > MAX_MESSAGES) {
    throw fields.refuse("messages", `an array of 1 to ${MAX_MESSAGES} messages`);
  }
  let lastOfUser: string | undefined;
  let last = "";
  let promptTokens = 0;
  messages.forEach((message: unknown, i) => {
    const path = `messages[${i}]`;
    if (!isObject(message)) throw invalidField(path, `Invalid value for '${path}': expected an object.`);
    const parts = new Fields(message, `${path}.`);
    const role = parts.oneOf("role", ROLES);
    last = parseContent(parts, path, role);
    if (role === "user") lastOfUser = last;
    promptTokens += 1 + countTokens(last);
  });
  return { prompt: lastOfUser ?? last, promptTokens };
}

function parseContent(message: Fields, path: string, role: string): string {
  const content = message.raw("content");
  if (typeof content === "string") return content;
  // An assistant that only called a tool has said nothing.
  if (content === undefined && role === "assistant") return "";
  if (!Array.isArray(content)) throw message.refuse("content", "a string or an array of parts");
  return content
    .map((part: unknown, i) => {
      const where = `${path}.content[${i}]`;
      if (!isObject(part) || part["type"] !== "text" || typeof part["text"] !== "string") {
        throw invalidField(
          where,
          `Invalid value for '${where}': expected {"type": "text", "text": a string}; this model reads text only.`,
        );
      }
      return part["text"];
    })
    .join("\n");
}

function parseStreamOptions(fields: Fields, stream: boolean): boolean {
  const options = fields.object("stream_options");
  if (options === undefined) return false;
  if (!stream) throw invalidField("stream_options", "'stream_options' is only allowed when 'stream' is true.");
  const includeUsage = options.boolean("include_usage");
  options.ignore("include_obfuscation");
  options.noOthers();
  return includeUsage;
}

function parseMaxTokens(fields: Fields, promptTokens: number): number {
  const limits = { min: 1, max: Number.MAX_SAFE_INTEGER };
  const current = fields.integer("max_completion_tokens", limits);
  const former = fields.integer("max_tokens", limits);
  const asked = current ?? former;
  const param = current === undefined ? "max_tokens" : "max_completion_tokens";
  if (current !== undefined && former !== undefined && current !== former) {
    throw invalidField("max_tokens", "'max_tokens' and 'max_completion_tokens' differ. Send one of them.");
  }
  const room = CONTEXT_TOKENS - promptTokens;
  if (room < 1 || (asked !== undefined && asked > room)) {
    throw invalidField(
      room < 1 ? "messages" : param,
      `This model's context holds ${CONTEXT_TOKENS} tokens, but ${promptTokens} are in the messages and ${asked ?? "at least 1"} ` +
        `asked for the completion. Shorten the messages or lower '${param}'.`,
      "context_length_exceeded",
    );
  }
  return asked ?? room;
}

function parseStop(fields: Fields): string[] {
  const value = fields.raw("stop");
  if (value === undefined) return [];
  const stops: unknown[] = Array.isArray(value) ? value : [value];
  if (stops.length > MAX_STOPS || !stops.every((stop) => typeof stop === "string" && stop !== "")) {
    throw fields.refuse("stop", `a string that is not empty, or an array of at most ${MAX_STOPS} of them`);
  }
  return stops as string[];
}

function parseResponseFormat(fields: Fields): void {
  const format = fields.object("response_format");
  if (format === undefined) return;
  if (format.raw("type") !== "text") {
    throw invalidField(
      "response_format",
      '\'response_format\' must be {"type": "text"}: this model can\'t keep to JSON.',
      "unsupported",
    );
  }
}
