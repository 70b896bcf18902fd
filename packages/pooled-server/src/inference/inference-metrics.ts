import type { MetricFamily, MetricsRegistry, Sample } from "../metrics/registry.ts";
import type { InferenceStats } from "./inference-stats.ts";

/**
 * Registers what `getStats()` counts; it is read at the scrape.
 *
 * @param priced whether a price is known for any model
 */
export function registerInferenceMetrics(
  registry: MetricsRegistry,
  getStats: () => InferenceStats,
  priced: boolean,
): void {
  registry.collect(() => {
    const stats = getStats();
    const of = (label: string, values: Readonly<Record<string, number>>): Sample[] =>
      Object.entries(values).map(([word, value]) => ({ labels: { [label]: word }, value }));
    return [
      counter(
        "vg_inference_requests_total",
        "Completions by where their answer came from.",
        of("result", {
          hit: stats.hits,
          miss: stats.misses,
          collapsed: stats.collapsed,
          bypass: stats.bypassed,
          crowded: stats.crowded,
        }),
      ),
      counter(
        "vg_inference_embedding_inputs_total",
        "Inputs of embeddings by where their vector came from.",
        of("result", {
          hit: stats.embedding_hits,
          miss: stats.embedding_misses,
          collapsed: stats.embedding_collapsed,
          bypass: stats.embedding_bypassed,
        }),
      ),
      counter("vg_inference_stored_total", "Completions that were stored.", [{ value: stats.stored }]),
      counter(
        "vg_inference_not_stored_total",
        "Completions of cacheable requests that were not stored, by reason.",
        of("reason", stats.not_stored),
      ),
      counter("vg_inference_upstream_calls_total", "Calls to the model.", [{ value: stats.upstream_calls }]),
      counter("vg_inference_upstream_errors_total", "Calls to the model that failed.", [
        { value: stats.upstream_errors },
      ]),
      counter("vg_inference_upstream_aborts_total", "Calls aborted because nobody waited for them any more.", [
        { value: stats.upstream_aborts },
      ]),
      counter("vg_inference_stalled_clients_total", "Clients cut because they did not read their stream.", [
        { value: stats.stalled_clients },
      ]),
      counter(
        "vg_cache_saved_tokens_total",
        "Tokens that hits and shared calls would have taken, by the upstream's count.",
        of("gen_ai_token_type", { input: stats.saved_prompt_tokens, output: stats.saved_completion_tokens }),
      ),
      ...(priced
        ? [
            counter("vg_cache_saved_cost_usd_total", "What the saved tokens would have cost, in US dollars.", [
              { value: stats.saved_cost_usd },
            ]),
          ]
        : []),
      gauge("vg_inference_flights", "Calls in flight for completions.", stats.flights),
      gauge("vg_inference_waiters", "Requests that wait for them.", stats.waiters),
    ];
  });
}

function counter(name: string, help: string, samples: Sample[]): MetricFamily {
  return { name, help, type: "counter", samples };
}

function gauge(name: string, help: string, value: number): MetricFamily {
  return { name, help, type: "gauge", samples: [{ value }] };
}
