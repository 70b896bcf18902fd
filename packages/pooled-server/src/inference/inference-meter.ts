/**
 * What is observed of requests and of the calls of the model: once each, at its end. Names, labels and bounds are those of
 * OpenTelemetry's conventions for generative AI.
 */
import type { HistogramFamily, MetricsRegistry } from "../metrics/registry.ts";
import type { CacheResult } from "./cache-status.ts";
import { InferenceUpstreamError } from "./inference-error.ts";
import { isObject, type JsonObject } from "./json.ts";
import type { Piece } from "./piece.ts";
import { tokensOf, type Tokens } from "./stored-answer.ts";

/** What is asked of which model. */
export interface Work {
  readonly operation: "chat" | "text_completion" | "embeddings";
  /** By the request's name for it; "" where it has none. */
  readonly model: string;
}

/** A call of the model that is under way; by the meter's clock. */
export interface MeteredCall {
  readonly work: Work;
  readonly begunAt: number;
  firstAt: number | undefined;
}

const SECONDS = [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const FIRST_TOKEN = [0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const PER_TOKEN = [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5];
const TOKENS = Array.from({ length: 14 }, (_, i) => 4 ** i);

/** A model's name is the client's to choose: it is a label once the model has answered, and only so many are. */
const MAX_MODELS = 100;
const OTHER_MODEL = "_other";

/** What an error's code looks like that a program gives, and no client. */
const CODE = /^[A-Z][A-Z0-9_]{2,59}$/;

export class InferenceMeter {
  readonly #clock: { now(): number };
  readonly #models: Set<string>;
  readonly #requests: HistogramFamily;
  readonly #calls: HistogramFamily;
  readonly #tokens: HistogramFamily;
  readonly #firstToken: HistogramFamily;
  readonly #perToken: HistogramFamily;

  /** @param models names that are labels from the start */
  constructor(registry: MetricsRegistry, clock: { now(): number }, models: readonly string[]) {
    this.#clock = clock;
    this.#models = new Set(models.slice(0, MAX_MODELS));
    const histogram = (name: string, help: string, buckets: readonly number[], ...more: string[]): HistogramFamily =>
      registry.histogram({
        name,
        help,
        buckets,
        labelNames: ["gen_ai_operation_name", "gen_ai_request_model", ...more],
      });
    this.#requests = histogram(
      "gen_ai_server_request_duration_seconds",
      "Inference requests to the last token of their answer, by where it came from.",
      SECONDS,
      "vg_cache_result",
      "error_type",
    );
    this.#calls = histogram(
      "gen_ai_client_operation_duration_seconds",
      "Calls of the model, from beginning to end.",
      SECONDS,
      "error_type",
    );
    this.#tokens = histogram(
      "gen_ai_client_token_usage",
      "Tokens of each call of the model, by its own count.",
      TOKENS,
      "gen_ai_token_type",
    );
    this.#firstToken = histogram(
      "gen_ai_server_time_to_first_token_seconds",
      "Of streamed calls of the model that succeeded: the time to their first chunk.",
      FIRST_TOKEN,
    );
    this.#perToken = histogram(
      "gen_ai_server_time_per_output_token_seconds",
      "Of streamed calls of the model that succeeded: the time for each token after the first.",
      PER_TOKEN,
    );
  }

  /** For `startedAt`. */
  now(): number {
    return this.#clock.now();
  }

  /** A request has been answered, or has failed, for somebody who still waited. */
  requestEnded(work: Work, cache: CacheResult, startedAt: number, failure?: { readonly error: unknown }): void {
    // One object and no more: a hit is done in microseconds.
    const child = this.#requests.child({
      gen_ai_operation_name: work.operation,
      gen_ai_request_model: this.#modelLabel(work),
      vg_cache_result: cache,
      error_type: failure === undefined ? "" : errorType(failure.error),
    });
    child.observe((this.#clock.now() - startedAt) / 1000);
  }

  /** A call of the model begins; exactly one of `callSucceeded` and `callFailed` ends it. */
  callBegun(work: Work): MeteredCall {
    return { work, begunAt: this.#clock.now(), firstAt: undefined };
  }

  /** The first chunk of a stream has come. An answer that comes as a whole has no first token to wait for. */
  firstChunk(call: MeteredCall): void {
    call.firstAt = this.#clock.now();
  }

  /** @param usage what the model says that it took; undefined where it says nothing */
  callSucceeded({ work, begunAt, firstAt }: MeteredCall, usage: Tokens | undefined): void {
    const now = this.#clock.now();
    if (work.model !== "" && this.#models.size < MAX_MODELS) this.#models.add(work.model);
    const labels = this.#labels(work);
    this.#calls.child({ ...labels, error_type: "" }).observe((now - begunAt) / 1000);
    if (usage !== undefined) {
      this.#tokens.child({ ...labels, gen_ai_token_type: "input" }).observe(usage.prompt);
      if (work.operation !== "embeddings") {
        this.#tokens.child({ ...labels, gen_ai_token_type: "output" }).observe(usage.completion);
      }
    }
    if (firstAt === undefined) return;
    this.#firstToken.child(labels).observe((firstAt - begunAt) / 1000);
    const later = (usage?.completion ?? 0) - 1;
    if (later > 0) this.#perToken.child(labels).observe((now - firstAt) / later / 1000);
  }

  /** @param isAborted since nobody waited for it any more */
  callFailed({ work, begunAt }: MeteredCall, error: unknown, isAborted: boolean): void {
    const labels = { ...this.#labels(work), error_type: isAborted ? "canceled" : errorType(error) };
    this.#calls.child(labels).observe((this.#clock.now() - begunAt) / 1000);
  }

  #labels(work: Work): { gen_ai_operation_name: string; gen_ai_request_model: string } {
    return { gen_ai_operation_name: work.operation, gen_ai_request_model: this.#modelLabel(work) };
  }

  #modelLabel({ model }: Work): string {
    return this.#models.has(model) ? model : OTHER_MODEL;
  }
}

/** What a completion's body asks for. */
export function completionWork(body: JsonObject, model: unknown = body["model"]): Work {
  return {
    operation: "messages" in body ? "chat" : "text_completion",
    model: typeof model === "string" ? model : "",
  };
}

/** The count of tokens that came with an answer's pieces: the last one holds. */
export function usageOf(pieces: readonly Piece[]): Tokens | undefined {
  const last = pieces.findLast(({ value }) => isObject(value["usage"]));
  return last === undefined ? undefined : tokensOf(last.value);
}

/** A word for what went wrong, of which there are few: a status, the code of a program's error, or a kind. */
function errorType(error: unknown): string {
  try {
    if (error instanceof InferenceUpstreamError && error.upstreamStatus !== undefined) {
      return String(error.upstreamStatus);
    }
    const { status, code, name } = (error ?? {}) as { status?: unknown; code?: unknown; name?: unknown };
    if (Number.isInteger(status) && (status as number) >= 400 && (status as number) <= 599) return String(status);
    if (typeof code === "string" && CODE.test(code)) return code;
    return name === "TimeoutError" ? "timeout" : "_OTHER";
  } catch {
    // Whatever it is, whoever waits for the call has to hear of it.
    return "_OTHER";
  }
}
