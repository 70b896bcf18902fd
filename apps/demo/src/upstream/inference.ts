/**
 * What a request goes through once it is known what it asks for: it is read and checked, meets the fault of the moment,
 * waits for a slot, spends the time of its prompt, and is answered token by token at the pace of the model. The slot
 * goes back however that ends.
 */
import { randomInt } from "node:crypto";
import { ApiError } from "./api/api-error.ts";
import * as format from "./api/chat-format.ts";
import { type ChatRequest, parseChatRequest } from "./api/chat-request.ts";
import { parseEmbeddingsRequest } from "./api/embeddings-request.ts";
import type { Exchange } from "./api/exchange.ts";
import { readJsonObject } from "./api/request-body.ts";
import { complete, type CompletionEnd } from "./completion.ts";
import { BUILT_IN_CORPUS } from "./corpus.ts";
import { embed } from "./embeddings.ts";
import { type Fault, FaultPlan } from "./faults.ts";
import { NgramModel } from "./ngram-model.ts";
import type { CheckedOptions } from "./options.ts";
import { Scheduler } from "./scheduler.ts";
import { Pace, type Timing } from "./timing.ts";

const DEFAULT_SLOW_FIRST_TOKEN_MS = 5000;
/** A damaged answer gets this many tokens before the damage. */
const TOKENS_BEFORE_DAMAGE = 3;

export class Inference {
  readonly scheduler: Scheduler;
  readonly faults: FaultPlan = new FaultPlan();
  readonly #model: NgramModel;
  readonly #knowsModel: (id: string) => boolean;
  readonly #timing: Timing;
  readonly #prefillMsPerToken: number;
  readonly #decodeMsPerToken: number;
  #promptTokens = 0;
  #completionTokens = 0;

  constructor(options: CheckedOptions, knowsModel: (id: string) => boolean) {
    this.#model = new NgramModel([BUILT_IN_CORPUS, ...options.documents]);
    this.#knowsModel = knowsModel;
    this.#timing = options.timing;
    this.#prefillMsPerToken = options.prefillMsPerToken;
    this.#decodeMsPerToken = options.decodeMsPerToken;
    this.scheduler = new Scheduler({ slots: options.slots, queue: options.queue, clock: options.timing });
  }

  get systemFingerprint(): string {
    return this.#model.fingerprint;
  }

  /** Tokens of the prompts and inputs that got a slot. */
  get promptTokens(): number {
    return this.#promptTokens;
  }

  /** Tokens generated, those of broken-off answers included. */
  get completionTokens(): number {
    return this.#completionTokens;
  }

  /** POST /v1/chat/completions. @throws ApiError, UpstreamQueueFullError, UpstreamClosedError */
  async chat(exchange: Exchange): Promise<void> {
    const body = await readJsonObject(exchange.request);
    const request = parseChatRequest(body, this.#knowsModel);
    await this.#inSlot(exchange, request.promptTokens, (pace, fault) =>
      request.stream ? this.#stream(exchange, request, pace, fault) : this.#answer(exchange, request, pace, fault),
    );
  }

  /** POST /v1/embeddings. @throws the same */
  async embeddings(exchange: Exchange): Promise<void> {
    const body = await readJsonObject(exchange.request);
    const request = parseEmbeddingsRequest(body, this.#knowsModel);
    await this.#inSlot(exchange, request.promptTokens, (_pace, fault) => {
      const data = request.inputs.map((input, index) => {
        const vector = embed(input, request.dimensions);
        const embedding = request.encoding === "base64" ? littleEndianBase64(vector) : [...vector];
        return { object: "embedding", index, embedding };
      });
      const usage = { prompt_tokens: request.promptTokens, total_tokens: request.promptTokens };
      finishWhole(
        exchange,
        { object: "list", data, model: request.model, ...(fault.kind === "no_usage" ? {} : { usage }) },
        fault,
      );
    });
  }

  /** Runs the work in a slot, once the time of its prompt is spent. Faults that need no model strike here. */
  async #inSlot(
    { signal }: Exchange,
    promptTokens: number,
    work: (pace: Pace, fault: Fault) => void | Promise<void>,
  ): Promise<void> {
    const fault = this.faults.take();
    if (fault.kind === "status") throw injectedStatus(fault);
    const slot = await this.scheduler.acquire(signal);
    try {
      if (fault.kind === "hang") await untilAborted(signal);
      const pace = new Pace(this.#timing, signal);
      const slow = fault.kind === "slow_first_token" ? (fault.delayMs ?? DEFAULT_SLOW_FIRST_TOKEN_MS) : 0;
      await pace.spend(slow + promptTokens * this.#prefillMsPerToken);
      this.#promptTokens += promptTokens;
      await work(pace, fault);
    } finally {
      slot.release();
    }
  }

  async #answer(exchange: Exchange, request: ChatRequest, pace: Pace, fault: Fault): Promise<void> {
    let content = "";
    const end = await this.#decode(request, pace, fault, (text) => {
      content += text;
    });
    const usage = fault.kind === "no_usage" ? undefined : format.usageOf(request.promptTokens, end.tokens);
    const answer = format.newAnswer(request.model, this.systemFingerprint);
    finishWhole(exchange, format.chatCompletion(answer, content + end.rest, end.finishReason, usage), fault);
  }

  async #stream(exchange: Exchange, request: ChatRequest, pace: Pace, fault: Fault): Promise<void> {
    const includeUsage = request.includeUsage && fault.kind !== "no_usage";
    const answer = format.newAnswer(request.model, this.systemFingerprint);
    exchange.startEvents();
    await exchange.writeEvents(format.chunkEvent(answer, includeUsage, { role: "assistant", content: "" }));
    const end = await this.#decode(request, pace, fault, async (text) => {
      // A step whose text is held back has nothing to say.
      if (text !== "") await exchange.writeEvents(format.chunkEvent(answer, includeUsage, { content: text }));
    });

    if (fault.kind === "cut_stream") return exchange.cut("");
    if (fault.kind === "malformed_sse")
      return exchange.endBroken(`data: {"id":"${answer.id}","choices":[{"delta":\n\n`);
    if (end.rest !== "") await exchange.writeEvents(format.chunkEvent(answer, includeUsage, { content: end.rest }));
    await exchange.writeEvents(format.chunkEvent(answer, includeUsage, {}, end.finishReason));
    const usage = format.usageOf(request.promptTokens, end.tokens);
    exchange.endEvents((includeUsage ? format.usageEvent(answer, usage) : "") + format.DONE_EVENT);
  }

  /** Generates at the pace of the model; gives each token's text to `onText` when its time has come. */
  async #decode(
    { completion }: ChatRequest,
    pace: Pace,
    fault: Fault,
    onText: (text: string) => void | Promise<void>,
  ): Promise<CompletionEnd> {
    const seed = completion.seed ?? randomInt(2 ** 48 - 1);
    const maxTokens = isDamage(fault) ? Math.min(TOKENS_BEFORE_DAMAGE, completion.maxTokens) : completion.maxTokens;
    const run = complete(this.#model, { ...completion, maxTokens, seed });
    let counted = 0;
    for (;;) {
      await pace.spend(this.#decodeMsPerToken);
      const step = run.next();
      if (step.done === true) {
        // The last token, where it is not the end of text, comes with the end of the run.
        this.#completionTokens += step.value.tokens - counted;
        return step.value;
      }
      counted++;
      this.#completionTokens++;
      await onText(step.value);
    }
  }
}

function injectedStatus({ status = 500, retryAfterSeconds }: Fault): ApiError {
  return new ApiError(status, `Injected fault: status ${status}.`, {
    code: "injected_fault",
    headers: retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) },
  });
}

function isDamage({ kind }: Fault): boolean {
  return kind === "cut_stream" || kind === "malformed_sse";
}

function finishWhole(exchange: Exchange, document: object, fault: Fault): void {
  if (!isDamage(fault)) return exchange.json(200, document);
  const text = JSON.stringify(document);
  const half = text.slice(0, text.length / 2);
  return fault.kind === "cut_stream" ? exchange.cut(half) : exchange.endBroken(half);
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_resolve, reject) => {
    const leave = (): void => reject(signal.reason as Error);
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
  });
}

function littleEndianBase64(vector: Float32Array): string {
  const bytes = Buffer.alloc(vector.length * 4);
  vector.forEach((value, i) => bytes.writeFloatLE(value, i * 4));
  return bytes.toString("base64");
}
