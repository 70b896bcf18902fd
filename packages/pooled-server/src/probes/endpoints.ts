import type { IncomingMessage, ServerResponse } from "node:http";
import type { LifecycleState } from "../lifecycle/lifecycle.ts";
import { createMetricsEndpoint } from "../metrics/metrics-endpoint.ts";
import type { MetricsRegistry } from "../metrics/registry.ts";
import type { HealthDocument } from "./health-document.ts";

/** An endpoint of the server's own: no rate limit, never refused, never waits. */
export type Endpoint = (request: IncomingMessage, response: ServerResponse) => void;

/** What the endpoints show. */
interface Sources {
  state: () => LifecycleState;
  ready: () => boolean;
  serving: () => boolean;
  health: () => HealthDocument;
  metrics: MetricsRegistry;
  onError: (error: unknown) => void;
}

export function createEndpoints({
  state,
  ready,
  serving,
  health,
  metrics,
  onError,
}: Sources): ReadonlyMap<string, Endpoint> {
  const probe =
    (pass: () => boolean): Endpoint =>
    (_request, response) => {
      const ok = pass();
      sendJson(response, ok ? 200 : 503, { status: ok ? "ok" : "unavailable", state: state() });
    };
  return new Map<string, Endpoint>([
    // Alive as long as it answers: a dependency that fails is no reason to be restarted.
    ["/livez", probe(() => true)],
    ["/readyz", probe(ready)],
    ["/startupz", probe(() => state() !== "starting")],
    ["/v2/health", (_request, response) => sendJson(response, serving() ? 200 : 503, health())],
    ["/metrics", createMetricsEndpoint(metrics, onError)],
  ]);
}

function sendJson(response: ServerResponse, status: number, document: unknown): void {
  const body = JSON.stringify(document, readable);
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(body),
    "cache-control": "no-store",
  });
  response.end(body);
}

/** Six decimals are a nanosecond where the unit is a millisecond; more are noise of the arithmetic. */
function readable(_key: string, value: unknown): unknown {
  return typeof value === "number" && !Number.isInteger(value) ? Math.round(value * 1e6) / 1e6 : value;
}
