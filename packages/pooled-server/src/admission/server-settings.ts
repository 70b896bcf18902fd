import type { ServerOptions } from "node:http";
import type { CheckedAdmission } from "./check-admission.ts";

/** After so long in silence the system asks whether the peer of a connection is still there. */
const TCP_KEEP_ALIVE_MS = 60_000;
const LONGEST_CHECK_MS = 5_000;
const SHORTEST_CHECK_MS = 20;

/** What node:http itself sees to. `maxHeadersCount` is a property of the server. */
export function serverSettings(options: CheckedAdmission): ServerOptions {
  const { headersTimeoutMs, receiveTimeoutMs, keepAliveTimeoutMs, maxHeaderBytes } = options;
  // node:http takes whole milliseconds only.
  const shortest = Math.min(headersTimeoutMs || Infinity, receiveTimeoutMs || Infinity);
  return {
    maxHeaderSize: maxHeaderBytes,
    headersTimeout: Math.ceil(headersTimeoutMs),
    requestTimeout: Math.ceil(receiveTimeoutMs),
    keepAliveTimeout: Math.ceil(keepAliveTimeoutMs),
    // What is over time is noticed within a quarter of it.
    connectionsCheckingInterval: Math.ceil(Math.min(LONGEST_CHECK_MS, Math.max(SHORTEST_CHECK_MS, shortest / 4))),
    // `Admission` refuses a request without one: node:http would neither say why nor count it.
    requireHostHeader: false,
    keepAlive: true,
    keepAliveInitialDelay: TCP_KEEP_ALIVE_MS,
  };
}
