import { HttpRequestError } from "./errors.ts";
import type { Failure } from "./failure.ts";
import { toError } from "./exchange/to-error.ts";
import type { ResolvedOptions } from "./options.ts";
import type { Transport } from "./transport/transport.ts";

export interface HttpPreconnectOptions {
  /** How long to wait for the connections, ms from 1. Default: the pool's `timeoutMs`. */
  timeoutMs?: number | undefined;
  /** Ends the wait; what is being dialled goes on. */
  signal?: AbortSignal | undefined;
}

const NO_ROOM: Failure = {
  reason: "connect",
  phase: "connect",
  code: "ERR_VG_HTTP_CONNECT",
  detail:
    "no connection is open: maxTotalConns leaves no room, or each one that was opened has closed again (by its server, or " +
    "because maxIdleConns or maxIdleConnsPerHost keeps none), or the pool was closed meanwhile",
  sent: false,
};

/** See {@link HttpPool.preconnect}. Throws HttpRequestError for what cannot be. */
export function preconnect(
  transport: Transport,
  options: ResolvedOptions,
  origin: string,
  count: number,
  { timeoutMs = options.timeoutMs, signal }: HttpPreconnectOptions,
): Promise<number> {
  const refuse = (rule: string): Error =>
    new HttpRequestError(`${options.name}: preconnect: ${rule}.`, { pool: options.name });
  if (!Number.isInteger(count) || count < 1) throw refuse("count must be a whole number of at least 1");
  if (typeof timeoutMs !== "number" || !(timeoutMs >= 1 && timeoutMs < 2 ** 31)) {
    throw refuse(`timeoutMs must be a number of milliseconds from 1 to ${2 ** 31 - 1}`);
  }
  if (signal !== undefined && !(signal instanceof AbortSignal)) throw refuse("signal must be an AbortSignal");
  if (signal?.aborted === true) return Promise.reject(signal.reason as Error);

  const startedAt = options.clock.now();
  const connected = (): number => {
    const { open, dialling, leaving } = transport.countsOf(origin);
    return open - dialling - leaving;
  };
  const { open, leaving } = transport.countsOf(origin);
  // One for each that is missing, and no more: what closes again, because of its server or of the idle limits, would
  // be dialled for ever.
  let dialsLeft = Math.max(0, Math.min(count, options.maxConnsPerHost) - (open - leaving));
  return new Promise((resolve, reject) => {
    let last: Failure | undefined;
    let failed = 0;
    const end = (settle: () => void): void => {
      clearTimeout(timer);
      unwatch();
      signal?.removeEventListener("abort", aborted);
      settle();
    };
    const finish = (failure: Failure = NO_ROOM): void => {
      if (connected() > 0) return end(() => resolve(connected()));
      const total_ms = options.clock.now() - startedAt;
      const none = { queue_ms: 0, tls_ms: 0, headers_ms: 0, body_ms: 0, backoff_ms: 0 };
      const about = {
        pool: options.name,
        request: `preconnect to ${origin}`,
        attempts: [],
        timings: { ...none, connect_ms: total_ms, total_ms },
        sent: false,
        repeatable: true,
        ended: "",
      };
      end(() => reject(toError(failure, about) as Error));
    };
    const check = (): void => {
      const wanted = count - failed;
      if (wanted > 0) dialsLeft -= transport.dialAhead(origin, wanted, dialsLeft);
      if (connected() >= count) return finish();
      if (transport.countsOf(origin).dialling > 0) return;
      // What is just closing makes room for another.
      if (connected() >= wanted || dialsLeft === 0 || transport.leavingCount === 0) finish(last);
    };
    const aborted = (): void => end(() => reject(signal?.reason as Error));
    const unwatch = transport.watchDials(origin, (failure) => {
      last = failure ?? last;
      if (failure !== undefined) failed++;
      check();
    });
    const timer = setTimeout(() => {
      const detail = `timeoutMs (${timeoutMs} ms) passed. Check the server, or raise timeoutMs`;
      finish({
        reason: "timeout",
        phase: "connect",
        code: "ERR_VG_HTTP_TIMEOUT",
        limit: "timeoutMs",
        detail,
        sent: false,
      });
    }, timeoutMs);
    signal?.addEventListener("abort", aborted, { once: true });
    check();
  });
}
