import { createHistogram } from "@vg/internal";
import type { HistogramFamily } from "../metrics/histogram.ts";
import type { LatencySummary } from "../probes/health-document.ts";
import type { NodeRequestContext } from "./request-context.ts";

type Bound = ReturnType<HistogramFamily["child"]>;

/** A status line has three digits. */
const STATUSES = 1_000;
/** Templates are the program's own. One that takes paths for templates must not fill the memory. */
const MAX_ROUTES = 1_000;
/** The route of what no route matched: never the raw path, whose values are the clients' to choose. */
const NO_ROUTE = "other";
const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]);

/** What is counted of every request, once, at its end. */
export class RequestMetrics {
  /** Those that ended with a status of 500 and above. */
  errorCount = 0;
  readonly #latency = createHistogram();
  readonly #duration: HistogramFamily;
  /** Bound handles by method, route and status, so that no label is looked at twice. */
  readonly #bound = new Map<string, Map<string, (Bound | undefined)[]>>();

  constructor(duration: HistogramFamily) {
    this.#duration = duration;
  }

  ended(context: NodeRequestContext, status: number, latencyMs: number): void {
    if (status >= 500) this.errorCount++;
    this.#latency.record(latencyMs);
    const { method = "" } = context.request;
    const bound = this.#boundTo(METHODS.has(method) ? method : "_OTHER", context.route ?? NO_ROUTE, status);
    if (context.isSampled) bound.observe(latencyMs / 1000, context.traceId, context.spanId);
    else bound.observe(latencyMs / 1000);
  }

  latency(): LatencySummary {
    const histogram = this.#latency;
    const round = (ms: number): number => Math.round(ms * 1000) / 1000;
    return {
      avg_ms: round(histogram.mean),
      min_ms: histogram.count === 0 ? 0 : round(histogram.min),
      max_ms: histogram.count === 0 ? 0 : round(histogram.max),
      p50_ms: round(histogram.percentile(0.5)),
      p95_ms: round(histogram.percentile(0.95)),
      p99_ms: round(histogram.percentile(0.99)),
    };
  }

  #boundTo(method: string, route: string, status: number): Bound {
    let routes = this.#bound.get(method);
    if (routes === undefined) this.#bound.set(method, (routes = new Map()));
    let statuses = routes.get(route);
    if (statuses === undefined) {
      statuses = [];
      if (routes.size < MAX_ROUTES) routes.set(route, statuses);
    }
    const known = statuses[status];
    if (known !== undefined) return known;
    const bound = this.#duration.child({
      http_request_method: method,
      http_route: route,
      http_response_status_code: String(status),
    });
    if (status >= 0 && status < STATUSES) statuses[status] = bound;
    return bound;
  }
}
