import { randomUUID } from "node:crypto";
import { parseChatRequest, type ChatRequest } from "./chat-request.ts";
import type { CacheStatus, CompletionResult } from "./chat-service.ts";
import type { Piece, Usage } from "./completion.ts";
import type { Call } from "./call.ts";
import { tenantOf } from "./cache-key.ts";
import { EventStream, readJsonObject, sendJson } from "./http.ts";

/** POST /v2/chat/completions and /v1/chat/completions. */
export async function handleChat(call: Call): Promise<void> {
  const requestTime = new Date();
  const fields = await readJsonObject(call.request, call.parts.maxBodyBytes);
  const chat = parseChatRequest(fields);
  Object.assign(call.usage, {
    model: chat.model.id,
    domain: chat.model.domain,
    workflow_id: chat.workflowId ?? null,
    user_id: chat.userId ?? null,
    session_id: chat.sessionId ?? null,
  });
  const answer = new Answer(call, chat, requestTime);
  const stream = chat.stream ? new EventStream(call.response) : undefined;
  const result = await call.parts.chat.complete(chat, {
    tenant: tenantOf(call.request),
    traceparent: answer.traceparent,
    signal: call.context.signal,
    ...(stream === undefined ? {} : { onPiece: (piece, cache) => answer.sendPiece(stream, piece, cache) }),
  });
  record(call, chat, result, answer);
  if (stream === undefined) {
    sendJson(call.response, 200, answer.document(result), { "x-vg-cache": result.cache });
    return;
  }
  await answer.finishStream(stream, result);
}

/** The usage row's figures and the log line. A hit costs no tokens at the upstream, but says what it was worth. */
function record(call: Call, chat: ChatRequest, { completion, cache }: CompletionResult, answer: Answer): void {
  Object.assign(call.usage, { ...completion.usage, cache_hit: cache === "hit" });
  call.context.logger.logInference(
    chat.model.id,
    chat.model.domain,
    completion.usage.total_tokens,
    answer.latencyMs,
    cache === "hit",
    { cache, stream: chat.stream, finish_reason: completion.finishReason, fallback_used: completion.fallbackUsed },
  );
}

/** Builds the answers of one request in its dialect. */
class Answer {
  readonly traceId: string;
  readonly traceparent: string;
  readonly #call: Call;
  readonly #chat: ChatRequest;
  readonly #id: string;
  readonly #created: number;
  readonly #requestTime: string;
  #roleSent = false;

  constructor(call: Call, chat: ChatRequest, requestTime: Date) {
    this.#call = call;
    this.#chat = chat;
    this.#requestTime = requestTime.toISOString();
    this.#created = Math.floor(requestTime.getTime() / 1000);
    this.#id = call.dialect === "v2" ? `v2_req_${randomUUID()}` : `chatcmpl-${randomUUID()}`;
    const given = /^00-([0-9a-f]{32})-[0-9a-f]{16}-([0-9a-f]{2})$/.exec(chat.traceParent ?? "");
    this.traceId = given?.[1] ?? call.context.traceId;
    this.traceparent =
      given === null ? call.context.traceparent : `00-${this.traceId}-${call.context.spanId}-${given[2]}`;
  }

  get latencyMs(): number {
    return Math.round((performance.now() - this.#call.startedAt) * 100) / 100;
  }

  document({ completion, cache }: CompletionResult): object {
    const { message, finishReason, usage } = completion;
    if (this.#call.dialect === "v1") {
      return {
        ...this.#head("chat.completion"),
        choices: [{ index: 0, message, finish_reason: finishReason, logprobs: null }],
        usage,
      };
    }
    return {
      ...this.#head("chat.completion"),
      status: "completed",
      request_time: this.#requestTime,
      trace_id: this.traceId,
      workflow_id: this.#chat.workflowId ?? null,
      choices: [{ index: 0, message, finish_reason: finishReason, metadata: {} }],
      usage,
      metadata: this.#metadata(cache, completion.fallbackUsed),
    };
  }

  async sendPiece(stream: EventStream, { delta, finishReason }: Piece, cache: CacheStatus): Promise<void> {
    if (!stream.started) this.#call.response.setHeader("x-vg-cache", cache);
    if (Object.keys(delta).length === 0 && finishReason === null) return;
    // Every stream begins with the role, whatever the upstream's does.
    const shown = this.#roleSent ? delta : { role: "assistant", ...delta };
    this.#roleSent = true;
    await stream.send({ ...this.#head("chat.completion.chunk"), choices: [this.#choice(shown, finishReason)] });
  }

  /** The last events: in v2 always the usage and the metadata, in v1 the usage where it was asked for. */
  async finishStream(stream: EventStream, { completion, cache }: CompletionResult): Promise<void> {
    const last = this.#lastChunk(completion.usage, cache, completion.fallbackUsed);
    if (last !== undefined) await stream.send(last);
    await stream.send("[DONE]");
    stream.end();
  }

  #lastChunk(usage: Usage, cache: CacheStatus, fallbackUsed: boolean): object | undefined {
    const head = this.#head("chat.completion.chunk");
    if (this.#call.dialect === "v1") return this.#chat.includeUsage ? { ...head, choices: [], usage } : undefined;
    return {
      ...head,
      status: "completed",
      request_time: this.#requestTime,
      trace_id: this.traceId,
      workflow_id: this.#chat.workflowId ?? null,
      choices: [],
      usage,
      metadata: this.#metadata(cache, fallbackUsed),
    };
  }

  #choice(delta: object, finishReason: string | null): object {
    const choice = { index: 0, delta, finish_reason: finishReason };
    return this.#call.dialect === "v1" ? { ...choice, logprobs: null } : choice;
  }

  #head(object: string): object {
    const { id, domain } = this.#chat.model;
    const head = { id: this.#id, object, created: this.#created, model: id };
    return this.#call.dialect === "v1" ? head : { ...head, domain };
  }

  #metadata(cache: CacheStatus, fallbackUsed: boolean): object {
    return {
      latency_ms: this.latencyMs,
      backend_type: this.#call.parts.backendType,
      cache_hit: cache === "hit",
      domain_name: this.#chat.model.name,
      fallback_used: fallbackUsed,
    };
  }
}
