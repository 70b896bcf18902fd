import { randomUUID } from "node:crypto";
import { parseAttribution, parseChatRequest, type ChatRequest } from "./chat-request.ts";
import { estimateUsage, type CacheStatus, type CompletionResult } from "./chat-service.ts";
import { EMBEDDED_BACKEND } from "./upstream.ts";
import { CompletionBuilder, type Piece, type Usage } from "./completion.ts";
import type { Call } from "./call.ts";
import { tenantOf } from "./cache-key.ts";
import { EventStream, readJsonObject, sendJson } from "./http.ts";
import { invalidField } from "./validate.ts";

/** POST /v2/chat/completions and /v1/chat/completions. */
export async function handleChat(call: Call): Promise<void> {
  const requestTime = new Date();
  const fields = await readJsonObject(call.request, call.parts.maxBodyBytes);
  const attribution = parseAttribution(fields);
  Object.assign(call.usage, attribution);
  const chat = parseChatRequest(fields, {
    sampling: call.dialect === "v2",
    topK: call.parts.backendType === EMBEDDED_BACKEND,
  });
  Object.assign(call.usage, { model: chat.model.id, domain: chat.model.domain });
  if (chat.traceParent !== undefined && !call.context.joinTrace(chat.traceParent)) {
    throw invalidField("trace_parent", "a W3C traceparent");
  }
  const answer = new Answer(call, chat, { requestTime, workflowId: attribution.workflow_id });
  const stream = chat.stream ? new EventStream(call.response) : undefined;
  const result = await call.parts.chat.complete(chat, {
    tenant: tenantOf(call.request),
    traceparent: call.context.traceparent,
    // A stream needs the time that is left after the last call for its last event.
    signal: stream === undefined ? call.context.signal : AbortSignal.any([call.context.signal, call.context.lastCall]),
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
  readonly #call: Call;
  readonly #chat: ChatRequest;
  readonly #id: string;
  readonly #created: number;
  readonly #requestTime: string;
  readonly #workflowId: string | null;
  /** What this client has got of the answer, for its usage row if it breaks off. */
  readonly #got = new CompletionBuilder();
  #roleSent = false;

  constructor(
    call: Call,
    chat: ChatRequest,
    { requestTime, workflowId }: { requestTime: Date; workflowId: string | null },
  ) {
    this.#call = call;
    this.#chat = chat;
    this.#workflowId = workflowId;
    this.#requestTime = requestTime.toISOString();
    this.#created = Math.floor(requestTime.getTime() / 1000);
    this.#id = call.dialect === "v2" ? `v2_req_${randomUUID()}` : `chatcmpl-${randomUUID()}`;
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
      trace_id: this.#call.context.traceId,
      workflow_id: this.#workflowId,
      choices: [{ index: 0, message, finish_reason: finishReason, metadata: {} }],
      usage,
      metadata: this.#metadata(cache, completion.fallbackUsed),
    };
  }

  async sendPiece(stream: EventStream, piece: Piece, cache: CacheStatus): Promise<void> {
    const { delta, finishReason } = piece;
    this.#got.add(piece);
    this.#call.partialUsage ??= () => estimateUsage(this.#chat.body, this.#got.message);
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
      trace_id: this.#call.context.traceId,
      workflow_id: this.#workflowId,
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
