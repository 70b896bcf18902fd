import { randomUUID } from "node:crypto";
import {
  directivesFromHeaders,
  DocumentBuilder,
  tenantFromHeaders,
  type InferenceAnswer,
  type JsonObject,
} from "@vg/pooled-server";
import { parseAttribution, parseChatRequest, type ChatRequest } from "./chat-request.ts";
import { completionOf, firstChoice, type Completion } from "./chat-service.ts";
import { EMBEDDED_BACKEND } from "./upstream.ts";
import type { Call } from "./call.ts";
import { EventStream, headerReader, readJsonObject, sendJson, processingTime } from "./http.ts";
import { estimateUsage, type Usage } from "./tokens.ts";
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
  const header = headerReader(call.request);
  const inference = await call.parts.chat.complete(chat, {
    tenant: tenantFromHeaders(header),
    directives: directivesFromHeaders(header),
    traceparent: call.context.traceparent,
    // A stream needs the time that is left after the last call for its last event.
    signal: chat.stream ? AbortSignal.any([call.context.signal, call.context.lastCall]) : call.context.signal,
  });
  const answer = new Answer(call, chat, inference, { requestTime, workflowId: attribution.workflow_id });
  if (chat.stream) await answer.stream();
  else await answer.send();
}

/** One answer in the dialect of its request. */
class Answer {
  readonly #call: Call;
  readonly #chat: ChatRequest;
  readonly #inference: InferenceAnswer;
  readonly #id: string;
  readonly #created: number;
  readonly #requestTime: string;
  readonly #workflowId: string | null;
  #roleSent = false;

  constructor(
    call: Call,
    chat: ChatRequest,
    inference: InferenceAnswer,
    { requestTime, workflowId }: { requestTime: Date; workflowId: string | null },
  ) {
    this.#call = call;
    this.#chat = chat;
    this.#inference = inference;
    this.#workflowId = workflowId;
    this.#requestTime = requestTime.toISOString();
    this.#created = Math.floor(requestTime.getTime() / 1000);
    this.#id = call.dialect === "v2" ? `v2_req_${randomUUID()}` : `chatcmpl-${randomUUID()}`;
  }

  async send(): Promise<void> {
    const completion = completionOf(await this.#inference.document());
    this.#record(completion);
    sendJson(this.#call.response, 200, this.#document(completion), this.#headers);
  }

  async stream(): Promise<void> {
    const stream = new EventStream(this.#call.response, this.#headers);
    // What this client has got of the answer, for its usage row if it breaks off.
    const got = new DocumentBuilder();
    this.#call.partialUsage = () => estimateUsage(this.#chat.body, firstChoice(got.build())?.["message"]);
    for await (const chunk of this.#inference.chunks({ includeUsage: true })) {
      got.add(chunk);
      const choice = firstChoice(chunk);
      if (choice !== undefined) await this.#sendChoice(stream, choice);
    }
    const completion = completionOf(got.build());
    this.#record(completion);
    const last = this.#lastChunk(completion);
    if (last !== undefined) await stream.send(last);
    await stream.send("[DONE]");
    stream.end();
  }

  async #sendChoice(stream: EventStream, { delta, finish_reason = null, logprobs = null }: JsonObject): Promise<void> {
    const said = (delta ?? {}) as JsonObject;
    if (Object.keys(said).length === 0 && finish_reason === null) return;
    // Every stream begins with the role, whatever the upstream's does.
    const shown = this.#roleSent ? said : { role: "assistant", ...said };
    this.#roleSent = true;
    const choice = { index: 0, delta: shown, finish_reason };
    const choices = [this.#call.dialect === "v1" ? { ...choice, logprobs } : choice];
    await stream.send({ ...this.#head("chat.completion.chunk"), choices });
  }

  /** The usage row's figures and the log line. A hit costs no tokens at the upstream, but says what it was worth. */
  #record({ usage, finishReason, fallbackUsed }: Completion): void {
    const { model, stream } = this.#chat;
    const { cache } = this.#inference;
    const cacheHit = cache === "hit";
    Object.assign(this.#call.usage, { ...usage, cache_hit: cacheHit });
    this.#call.context.logger.logInference(model.id, model.domain, usage.total_tokens, this.#latencyMs, cacheHit, {
      cache,
      stream,
      finish_reason: finishReason,
      fallback_used: fallbackUsed,
    });
  }

  #document(completion: Completion): object {
    const { message, finishReason, logprobs, usage } = completion;
    const head = this.#head("chat.completion");
    if (this.#call.dialect === "v1") {
      return { ...head, choices: [{ index: 0, message, finish_reason: finishReason, logprobs }], usage };
    }
    const choices = [{ index: 0, message, finish_reason: finishReason, metadata: {} }];
    return { ...head, ...this.#own(choices, usage, completion.fallbackUsed) };
  }

  /** In v2 always the usage and the metadata, in v1 the usage where it was asked for. */
  #lastChunk({ usage, fallbackUsed }: Completion): object | undefined {
    const head = this.#head("chat.completion.chunk");
    if (this.#call.dialect === "v1") return this.#chat.includeUsage ? { ...head, choices: [], usage } : undefined;
    return { ...head, ...this.#own([], usage, fallbackUsed) };
  }

  /** What the service's own dialect has beside OpenAI's. */
  #own(choices: readonly object[], usage: Usage, fallbackUsed: boolean): object {
    return {
      status: "completed",
      request_time: this.#requestTime,
      trace_id: this.#call.context.traceId,
      workflow_id: this.#workflowId,
      choices,
      usage,
      metadata: {
        latency_ms: this.#latencyMs,
        backend_type: this.#call.parts.backendType,
        cache_hit: this.#inference.cache === "hit",
        domain_name: this.#chat.model.name,
        fallback_used: fallbackUsed,
      },
    };
  }

  #head(object: string): object {
    const { id, domain } = this.#chat.model;
    const head = { id: this.#id, object, created: this.#created, model: id };
    return this.#call.dialect === "v1" ? head : { ...head, domain };
  }

  get #headers(): Record<string, string> {
    return { ...this.#inference.headers, ...processingTime(this.#latencyMs) };
  }

  get #latencyMs(): number {
    return Math.round((performance.now() - this.#call.startedAt) * 100) / 100;
  }
}
