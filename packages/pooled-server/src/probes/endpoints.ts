import type { IncomingMessage, ServerResponse } from "node:http";
import type { LifecycleState } from "../lifecycle/lifecycle.ts";
import { createMetricsEndpoint } from "../metrics/metrics-endpoint.ts";
import type { MetricsRegistry } from "../metrics/registry.ts";
import type { CheckResult } from "./background-check.ts";
import type { HealthDocument } from "./health-document.ts";
import { HEALTH_JSON, healthJson, wantsHealthJson } from "./health-json.ts";
import { readProbeQuery } from "./probe-query.ts";

/** An endpoint of the server's own: no rate limit, never refused, never waits. */
export type Endpoint = (request: IncomingMessage, response: ServerResponse) => void;

/** What the endpoints show. */
interface Sources {
  lifecycle: { readonly state: LifecycleState; readonly serving: boolean; readonly started: boolean };
  checks: { results(): Readonly<Record<string, CheckResult>>; failingCritical(): string[] };
  health: () => HealthDocument;
  metrics: MetricsRegistry;
  onError: (error: unknown) => void;
}

export function createEndpoints({
  lifecycle,
  checks,
  health,
  metrics,
  onError,
}: Sources): ReadonlyMap<string, Endpoint> {
  const probe =
    (pass: () => boolean): Endpoint =>
    (_request, response) =>
      answerProbe(response, pass());
  const answerProbe = (response: ServerResponse, ok: boolean, more: object = {}): void =>
    sendJson(response, ok ? 200 : 503, { status: ok ? "ok" : "unavailable", state: lifecycle.state, ...more });
  return new Map<string, Endpoint>([
    // Alive as long as it answers: a dependency that fails is no reason to be restarted.
    ["/livez", probe(() => true)],
    [
      "/readyz",
      (request, response) => {
        const { verbose, exclude } = readProbeQuery(request.url);
        const failing = checks.failingCritical().filter((name) => !exclude.has(name));
        const shown = Object.entries(checks.results()).filter(([name]) => !exclude.has(name));
        const ok = lifecycle.serving && failing.length === 0;
        answerProbe(response, ok, verbose ? { checks: Object.fromEntries(shown) } : {});
      },
    ],
    ["/startupz", probe(() => lifecycle.started)],
    [
      "/v2/health",
      (request, response) => {
        const document = health();
        // As the document says it: what has begun to drain is no place for new requests.
        const status = document.status === "ok" || document.status === "degraded" ? 200 : 503;
        response.setHeader("vary", "accept");
        if (wantsHealthJson(request.headers.accept)) sendJson(response, status, healthJson(document), HEALTH_JSON);
        else sendJson(response, status, document);
      },
    ],
    ["/metrics", createMetricsEndpoint(metrics, onError)],
  ]);
}

function sendJson(
  response: ServerResponse,
  status: number,
  document: unknown,
  type: string = "application/json; charset=utf-8",
): void {
  const body = JSON.stringify(document, readable);
  response.writeHead(status, {
    "content-type": type,
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
  });
  response.end(body);
}

/** Six decimals are a nanosecond where the unit is a millisecond; more are noise of the arithmetic. */
function readable(_key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isInteger(value) ? Math.round(value * 1e6) / 1e6 : value;
}
