/** The documents of OpenAI's chat completions, whole and in chunks. */
import { randomBytes } from "node:crypto";

export interface Usage {
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  readonly total_tokens: number;
}

/** What the documents of one answer have in common. */
export interface AnswerIdentity {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  readonly system_fingerprint: string;
}

export const DONE_EVENT = "data: [DONE]\n\n";

export function newAnswer(model: string, fingerprint: string): AnswerIdentity {
  return {
    id: `chatcmpl-${randomBytes(15).toString("base64url")}`,
    created: Math.floor(Date.now() / 1000),
    model,
    system_fingerprint: fingerprint,
  };
}

export function usageOf(promptTokens: number, completionTokens: number): Usage {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}

/** The whole answer; `usage` is left out where it is `undefined`. */
export function chatCompletion(
  { id, created, model, system_fingerprint }: AnswerIdentity,
  content: string,
  finishReason: string,
  usage: Usage | undefined,
): object {
  const message = { role: "assistant", content, refusal: null };
  return {
    id,
    object: "chat.completion",
    created,
    model,
    choices: [{ index: 0, message, logprobs: null, finish_reason: finishReason }],
    ...(usage === undefined ? {} : { usage }),
    system_fingerprint,
  };
}

/** One server-sent event with a change of the answer. With `include_usage`, every chunk but the last has a null usage. */
export function chunkEvent(
  { id, created, model, system_fingerprint }: AnswerIdentity,
  includeUsage: boolean,
  delta: { role?: string; content?: string },
  finishReason: string | null = null,
): string {
  return event({
    id,
    object: "chat.completion.chunk",
    created,
    model,
    system_fingerprint,
    choices: [{ index: 0, delta, logprobs: null, finish_reason: finishReason }],
    ...(includeUsage ? { usage: null } : {}),
  });
}

/** The last event of a stream that asked for its usage. */
export function usageEvent({ id, created, model, system_fingerprint }: AnswerIdentity, usage: Usage): string {
  return event({ id, object: "chat.completion.chunk", created, model, system_fingerprint, choices: [], usage });
}

function event(document: object): string {
  return `data: ${JSON.stringify(document)}\n\n`;
}
