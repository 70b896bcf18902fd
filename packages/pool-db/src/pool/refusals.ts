/** The errors with which a pool refuses an acquire. Each says how the pool stood, so that one log line is a diagnosis. */
import { callerLocation, type CallSite } from "../call-site.ts";
import { AcquireTimeoutError, ConnectError, PoolClosedError, QueueFullError, describeConnectError } from "../errors.ts";
import type { PoolGauges } from "./pool-stats.ts";

export function figures({ inUse, idle, connecting, pending }: PoolGauges): string {
  return `open ${inUse + idle}, in_use ${inUse}, idle ${idle}, connecting ${connecting}, waiting ${pending}`;
}

export function queueFull(name: string, maxWaiting: number, gauges: PoolGauges): QueueFullError {
  const why =
    maxWaiting === 0
      ? "every connection is in use and maxWaiting is 0"
      : `every connection is in use and as many wait already as maxWaiting allows, ${maxWaiting}`;
  return new QueueFullError(
    name,
    `refused at once: ${why} (${figures(gauges)}). Retry later, raise maxOpenConns, or shorten what holds the connections.`,
  );
}

export function timedOut(
  name: string,
  elapsedMs: number,
  limit: { name: "acquireTimeoutMs" | "timeoutMs"; ms: number },
  gauges: PoolGauges,
  {
    connectError,
    oldest,
  }: { connectError: unknown; oldest: { heldMs: number; site: CallSite | undefined } | undefined },
): AcquireTimeoutError {
  const failing = connectError !== undefined;
  const lastError = failing ? `; last connect error: ${describeConnectError(connectError)}` : "";
  const location = oldest?.site === undefined ? undefined : callerLocation(oldest.site);
  const place = location === undefined ? "" : `, acquired at ${location}`;
  const held = oldest === undefined ? "" : `; the oldest lease is ${Math.round(oldest.heldMs)} ms old${place}`;
  const advice =
    gauges.inUse >= gauges.max
      ? "Raise maxOpenConns, or shorten what holds the connections."
      : "Check that the server is up, reachable and takes connections.";
  return new AcquireTimeoutError(
    name,
    `no connection became available, timeout after ${Math.round(elapsedMs)} ms (${limit.name} ${Math.round(limit.ms)}; ${figures(gauges)}${lastError}${held}). ${advice}`,
    failing ? { cause: connectError } : undefined,
  );
}

export function notWarm(
  name: string,
  target: number,
  elapsedMs: number,
  gauges: PoolGauges,
  connectError: unknown,
): AcquireTimeoutError {
  const lastError = connectError === undefined ? "" : `; last connect error: ${describeConnectError(connectError)}`;
  return new AcquireTimeoutError(
    name,
    `warm(${target}) was not done after ${Math.round(elapsedMs)} ms (${figures(gauges)}${lastError}). Check that the server is up, reachable and takes so many connections.`,
    connectError === undefined ? undefined : { cause: connectError },
  );
}

export function couldNotConnect(name: string, target: string | undefined, error: unknown): ConnectError {
  const to = target === undefined || target === name ? "" : ` to ${target}`;
  return new ConnectError(name, `could not connect${to}: ${describeConnectError(error)}`, { cause: error });
}

export function poolClosed(name: string): PoolClosedError {
  return new PoolClosedError(
    name,
    "it is closing or closed. Cannot use a pool after calling end on the pool, close() or destroy().",
  );
}

/** For one who waited already. `waitedMs`: until the deadline of `close()`; `undefined` for `destroy()`. */
export function closedBeforeServed(name: string, waitedMs: number | undefined): PoolClosedError {
  const how = waitedMs === undefined ? "destroy() waits for nobody" : `close() waited ${Math.round(waitedMs)} ms`;
  return new PoolClosedError(name, `it was closed before a connection became free (${how}).`);
}
