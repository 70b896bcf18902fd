import type { MetricFamily, MetricsRegistry, Sample } from "../metrics/registry.ts";
import type { AdmissionStats } from "./admission-stats.ts";
import type { ConcurrencyGate } from "./concurrency-gate.ts";

interface Source {
  readonly gate: ConcurrencyGate;
  getStats(): AdmissionStats;
}

/** Registers what admission counts anyway; it is read at the scrape. */
export function registerAdmissionMetrics(registry: MetricsRegistry, admission: Source): void {
  registry.collect(() => admissionFamilies(admission));
}

function admissionFamilies(admission: Source): MetricFamily[] {
  const stats = admission.getStats();
  return [
    family("gauge", "vg_admission_limit", "Requests that may hold a place at once; 0 is no limit.", stats.limit),
    family("gauge", "vg_admission_in_flight", "Requests that hold a place.", stats.in_flight),
    family("gauge", "vg_admission_queue_length", "Requests that wait for a place.", stats.queue_length),
    family("counter", "vg_admission_admitted_total", "Requests that got a place.", stats.admitted_count),
    labelled("vg_admission_refused_total", "Requests refused, by reason.", stats.refused_by_reason),
    family(
      "gauge",
      "vg_admission_overloaded",
      "1 while requests are shed that the event loop comes to too late.",
      stats.event_loop_overloaded ? 1 : 0,
    ),
    {
      name: "vg_admission_wait_time_seconds",
      help: "Waits for a place that ended with one, or at their deadline.",
      type: "histogram",
      samples: waits(admission.gate),
    },
    family("gauge", "http_server_open_connections", "Connections that are open.", stats.open_connections),
    labelled("http_server_client_faults_total", "What clients did that ended their connection.", stats.client_faults),
  ];
}

function family(type: "gauge" | "counter", name: string, help: string, value: number): MetricFamily {
  return { name, help, type, samples: [{ value }] };
}

function labelled(name: string, help: string, values: Readonly<Record<string, number>>): MetricFamily {
  return {
    name,
    help,
    type: "counter",
    samples: Object.entries(values).map(([reason, value]) => ({ labels: { reason }, value })),
  };
}

function waits({ waits: histogram }: ConcurrencyGate): Sample[] {
  const { buckets, count, sum_ms } = histogram.snapshot();
  const bucket = (le: string, value: number): Sample => ({ suffix: "_bucket", labels: { le }, value });
  return [
    ...buckets.map(({ le_ms, count: within }) => bucket(leText(le_ms / 1000), within)),
    bucket("+Inf", count),
    { suffix: "_sum", value: sum_ms / 1000 },
    { suffix: "_count", value: count },
  ];
}

/** A canonical float of OpenMetrics: "1.0", "0.0025". */
function leText(seconds: number): string {
  return Number.isInteger(seconds) ? `${seconds}.0` : String(seconds);
}
