import type { AdmissionStats } from "../admission/admission-stats.ts";
import type { ConcurrencyGate } from "../admission/concurrency-gate.ts";
import type { MetricFamily } from "../metrics/family.ts";
import { byLabel, counter, durations, gauge } from "./families.ts";

export interface AdmissionSource {
  readonly gate: Pick<ConcurrencyGate, "waits">;
  getStats(): AdmissionStats;
}

export function admissionFamilies(admission: AdmissionSource): MetricFamily[] {
  const stats = admission.getStats();
  const waits = admission.gate.waits.snapshot();
  return [
    gauge("vg_admission_limit", "Requests that may hold a place at once; 0 is no limit.", { value: stats.limit }),
    gauge("vg_admission_in_flight", "Requests that hold a place.", { value: stats.in_flight }),
    gauge("vg_admission_queue_length", "Requests that wait for a place.", { value: stats.queue_length }),
    counter("vg_admission_admitted_total", "Requests that got a place.", { value: stats.admitted_count }),
    counter(
      "vg_admission_refused_total",
      "Requests refused, by reason.",
      ...byLabel("reason", stats.refused_by_reason),
    ),
    gauge("vg_admission_overloaded", "1 while requests are shed that the event loop comes to too late.", {
      value: stats.event_loop_overloaded ? 1 : 0,
    }),
    durations("vg_admission_wait_time_seconds", "Waits for a place that ended with one, or at their deadline.", waits),
    gauge("http_server_open_connections", "Connections that are open.", { value: stats.open_connections }),
    gauge("http_server_upgraded_connections", "Connections that an upgrade has handed over, and that are open.", {
      value: stats.upgraded_connections,
    }),
    counter(
      "http_server_client_faults_total",
      "What clients did that ended their connection, by what it was.",
      ...byLabel("reason", stats.client_faults),
    ),
  ];
}
