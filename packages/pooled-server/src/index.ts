export type { BaseServer } from "./adapters/adapt-base.ts";
export type { UpgradeListener } from "./adapters/adapter.ts";
export type { FastifyServer } from "./adapters/fastify.ts";
export type { FetchEnvironment, FetchServer } from "./adapters/fetch.ts";
export type { NodeListener } from "./adapters/node-http.ts";
export type { AdmissionStats } from "./admission/admission-stats.ts";
export { ClientFaultError, type FaultReason } from "./admission/client-fault.ts";
export type { RefusalReason } from "./admission/refusal.ts";
export type { Finding, FindingId, FindingSubject } from "./advice/finding.ts";
export { pooledServerConfigFromEnv } from "./config/environment.ts";
export { DEFAULTS, type Clock, type PooledServerConfig, type ServerAccessLogOptions } from "./config/options.ts";
export { createPooledServer } from "./create-pooled-server.ts";
export {
  BaseServerError,
  ClientClosedError,
  LifecycleError,
  ListenError,
  PooledServerConfigError,
  PooledServerError,
  RequestTimeoutError,
} from "./errors.ts";
export type { InferenceCacheMode } from "./inference/cacheability.ts";
export type { CacheOutcome, CacheResult } from "./inference/cache-status.ts";
export { canonicalJson } from "./inference/canonical-json.ts";
export type { CompleteOptions, Forward, ForwardCall, InferenceRequest } from "./inference/inference-request.ts";
export { directivesFromHeaders, type InferenceDirectives } from "./inference/directives.ts";
export { DocumentBuilder } from "./inference/document-builder.ts";
export type { EmbeddingAnswer } from "./inference/embeddings.ts";
export type { HandlerOptions, HttpForward, HttpForwardCall } from "./inference/http/handler-options.ts";
export type { InferenceHandler } from "./inference/http/handlers.ts";
export { tenantFromHeaders } from "./inference/http/handler-options.ts";
export type { InferenceAnswer, StreamOptions } from "./inference/inference-answer.ts";
export {
  InferenceCrowdedError,
  InferenceError,
  InferenceNotCachedError,
  InferenceRequestError,
  InferenceUpstreamError,
} from "./inference/inference-error.ts";
export type { InferenceOptions } from "./inference/inference-options.ts";
export type { InferenceStats, NotStoredReason } from "./inference/inference-stats.ts";
export type { Inference } from "./inference/inference.ts";
export type { JsonObject } from "./inference/json.ts";
export type { TokenPrice } from "./inference/prices.ts";
export { readChunks, type Forwarded, type UpstreamResponse } from "./inference/upstream-pieces.ts";
export type { EmbeddingEncoding, EmbeddingInput, Vector } from "./inference/vectors.ts";
export type { Closer } from "./lifecycle/closers.ts";
export type { ServerStateMessage } from "./lifecycle/diagnostics.ts";
export type { LifecycleState, StateListener } from "./lifecycle/lifecycle.ts";
export type { ListenAddress } from "./lifecycle/listening.ts";
export type { PhaseReport, ShutdownReport } from "./lifecycle/shutdown.ts";
export { onTerminationSignal } from "./lifecycle/signals.ts";
export type { Exemplar, Labels, MetricType } from "./metrics/family.ts";
export type { HistogramOptions } from "./metrics/histogram.ts";
export type { InstrumentOptions } from "./metrics/instrument.ts";
export type { MergeableRegistry, MergeOptions } from "./metrics/merged-registry.ts";
export { MetricError } from "./metrics/metric-error.ts";
export type {
  CounterChild,
  CounterFamily,
  ExposeOptions,
  GaugeChild,
  GaugeFamily,
  HistogramChild,
  HistogramFamily,
  MetricFamily,
  MetricsOptions,
  MetricsRegistry,
  Sample,
  SummaryChild,
  SummaryFamily,
} from "./metrics/registry.ts";
export type { SummaryOptions } from "./metrics/summary.ts";
export { PooledServer } from "./pooled-server.ts";
export type { CheckResult, HealthCheck } from "./probes/background-check.ts";
export type { HealthDocument, LatencySummary, PoolStats } from "./probes/health-document.ts";
export type { Problem } from "./request/problem.ts";
export { currentRequest, outgoingHeaders, type RequestContext } from "./request/request-context.ts";
