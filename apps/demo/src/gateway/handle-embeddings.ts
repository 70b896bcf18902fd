import { directivesFromHeaders, tenantFromHeaders } from "@vg/pooled-server";
import { ApiError } from "./api-error.ts";
import { parseAttribution, requireModel } from "./chat-request.ts";
import type { Call } from "./call.ts";
import { headerReader, readJsonObject, sendJson, processingTime } from "./http.ts";
import { invalidField, numberField, stringField } from "./validate.ts";

/** What `auto`, and a request that names no model, gets. */
const EMBEDDING_MODEL = "0x3579-VectorProcessingAgent";
const MAX_TEXTS = 2_048;

/** POST /v2/embeddings and /v1/embeddings. */
export async function handleEmbeddings(call: Call): Promise<void> {
  const fields = await readJsonObject(call.request, call.parts.maxBodyBytes);
  Object.assign(call.usage, parseAttribution(fields));
  const id = stringField(fields, "model") ?? "auto";
  const model = requireModel(id === "auto" ? EMBEDDING_MODEL : id);
  const texts = parseInput(fields["input"]);
  const format = stringField(fields, "encoding_format") ?? "float";
  if (format !== "float" && format !== "base64") throw invalidField("encoding_format", "float or base64");
  const dimensions =
    (fields["dimensions"] ?? null) === null
      ? undefined
      : numberField(fields, "dimensions", { fallback: 0, min: 1, max: 65_536, integer: true });
  Object.assign(call.usage, { model: model.id, domain: model.domain });

  const { context } = call;
  const header = headerReader(call.request);
  const answer = await call.parts.embeddings.embed(model, texts, {
    extra: dimensions === undefined ? {} : { dimensions },
    encoding: format,
    cache: fields["cache"],
    tenant: tenantFromHeaders(header),
    directives: directivesFromHeaders(header),
    signal: context.signal,
    traceparent: context.traceparent,
  });
  const { promptTokens, hits } = answer;
  const latencyMs = Math.round((performance.now() - call.startedAt) * 100) / 100;
  const cacheHit = answer.cache === "hit";
  const usage = { prompt_tokens: promptTokens, total_tokens: promptTokens };
  Object.assign(call.usage, { ...usage, cache_hit: cacheHit });
  context.logger.logInference(model.id, model.domain, promptTokens, latencyMs, cacheHit, {
    operation: "embeddings",
    texts: texts.length,
    hits,
  });
  const document = answer.document();
  const metadata = {
    latency_ms: latencyMs,
    backend_type: call.parts.backendType,
    cache_hit: cacheHit,
    cache_hits: hits,
    domain_name: model.name,
  };
  const v2 = { ...document, domain: model.domain, trace_id: context.traceId, metadata };
  sendJson(call.response, 200, call.dialect === "v1" ? document : v2, {
    ...answer.headers,
    ...processingTime(latencyMs),
  });
}

function parseInput(input: unknown): readonly string[] {
  const texts: unknown[] = Array.isArray(input) ? input : [input];
  const whole = texts.length > 0 && texts.length <= MAX_TEXTS;
  if (!whole || !texts.every((text) => typeof text === "string" && text !== "")) {
    throw new ApiError(
      "invalid_request",
      `input must be a text, or an array of 1 to ${MAX_TEXTS} texts, none of them empty.`,
      { param: "input" },
    );
  }
  return texts as string[];
}
