import type { HttpPool } from "@vg/pool-http";
import type { MetricFamily, Sample } from "../metrics/family.ts";
import { byLabel, counter, durations, gauge } from "./families.ts";

export type HttpPoolSource = Pick<HttpPool, "getStats" | "histograms">;

type HttpPoolStats = ReturnType<HttpPoolSource["getStats"]>;

export function httpPoolFamilies(pool: HttpPoolSource): MetricFamily[] {
  const stats = pool.getStats();
  const { latency, queue, connect, tls, first_byte } = pool.histograms();
  const results = { success: stats.success_count, error: stats.error_count, canceled: stats.canceled_count };
  return [
    gauge("http_client_open_connections", "Open connections by state and server.", ...connections(stats)),
    gauge("http_client_active_requests", "Requests of the HTTP pool in flight.", { value: stats.in_flight }),
    gauge("http_client_queued_requests", "Requests waiting for a connection.", { value: stats.queued }),
    counter(
      "http_client_requests_total",
      "Requests that have ended, by result: an error is a failure, or a status of 500 and above, 408, 425 or 429.",
      ...byLabel("result", results),
    ),
    counter("http_client_request_retries_total", "Retries by cause.", ...byLabel("cause", stats.retries_by_cause)),
    counter("http_client_request_retries_denied_total", "Retries that the budget did not allow.", {
      value: stats.retries_denied,
    }),
    counter(
      "http_client_request_timeouts_total",
      "Requests that ran out of time, by what they were doing.",
      ...byLabel("phase", stats.timeouts_by_phase),
    ),
    counter("http_client_connect_errors_total", "Connections that could not be opened.", {
      value: stats.connect_failure_count,
    }),
    counter(
      "http_client_connections_closed_total",
      "Connections closed, by reason.",
      ...byLabel("reason", stats.closed_by_reason),
    ),
    counter("http_client_received_bytes_total", "Bytes of response bodies, as they came over the wire.", {
      value: stats.bytes_received,
    }),
    counter("http_client_sent_bytes_total", "Bytes of request bodies, those of retries included.", {
      value: stats.bytes_sent,
    }),
    counter("http_client_response_leaks_total", "Streamed responses that nobody read.", { value: stats.leak_count }),
    durations("http_client_request_duration_seconds", "Duration of whole requests, retries included.", latency),
    durations(
      "http_client_request_first_byte_seconds",
      "From having a connection to the answer's headers.",
      first_byte,
    ),
    durations("http_client_connection_wait_time_seconds", "Waits for a connection, of each attempt.", queue),
    durations("http_client_connection_create_time_seconds", "DNS and TCP, of each connection made.", connect),
    durations("http_client_connection_tls_time_seconds", "TLS handshakes.", tls),
  ];
}

/** By server, as far as the pool tells them apart; the rest under `_other`, so that the sum is the pool's. */
function connections({ per_origin, open_connections, idle_connections }: HttpPoolStats): Sample[] {
  const samples: Sample[] = [];
  const add = (server: Readonly<Record<string, string>>, open: number, idle: number): void => {
    const active = Math.max(0, open - idle);
    samples.push(...byLabel("http_connection_state", { idle, active }, server));
  };
  let [otherOpen, otherIdle] = [open_connections, idle_connections];
  for (const [origin, stats] of Object.entries(per_origin)) {
    const url = URL.parse(origin);
    if (url === null) continue;
    const port = url.port === "" ? (url.protocol === "https:" ? "443" : "80") : url.port;
    add({ server_address: url.hostname, server_port: port }, stats.open_connections, stats.idle_connections);
    otherOpen -= stats.open_connections;
    otherIdle -= stats.idle_connections;
  }
  add({ server_address: "_other", server_port: "_other" }, Math.max(0, otherOpen), Math.max(0, otherIdle));
  return samples;
}
