import { LONGEST_DELAY_MS } from "@vg/internal";

/** What bounds one call. */
export interface QueryOptions {
  /** Aborting it rejects the call at once with the signal's reason. */
  signal?: AbortSignal | undefined;
  /**
   * The most that the whole call may take, waiting for a connection included; above 0. Default: `queryTimeoutMs` for
   * the query and `acquireTimeoutMs` for the wait.
   */
  timeoutMs?: number | undefined;
  /** False: the statement is not prepared, however often it is run. Default true. */
  prepare?: boolean | undefined;
  /** True: nobody else's statements are under way on its connection, whatever `pipeline` says. Default false. */
  exclusive?: boolean | undefined;
}

export type LimitName = "timeoutMs" | "queryTimeoutMs";

/** Which option bounds a call that has, or has not, a `timeoutMs` of its own. */
export function limitOf(timeoutMs: number | undefined): LimitName {
  return timeoutMs === undefined ? "queryTimeoutMs" : "timeoutMs";
}

/** What is left of a call's limits. */
export interface Limits extends QueryOptions {
  /** What `timeoutMs` was before a wait took its part; for the error. */
  allowedMs?: number | undefined;
  /** The option that `timeoutMs` is of; for the error. */
  limitedBy?: LimitName | undefined;
  /**
   * "close": at a limit the connection is closed, and what runs on it is left alone, where it would else be cancelled
   * and the connection kept. For COMMIT, whose cancellation leaves nobody knowing its outcome, and for ROLLBACK, which the
   * end of the connection does as well.
   */
  atLimit?: "close" | undefined;
}

/**
 * Calls `onExceeded` at most once: with the signal's reason when it is aborted, or with `timeoutError()` after
 * `timeoutMs`; a limit that no timer holds is none. Returns what calls the watch off. An already aborted signal is the caller's to check.
 */
export function watchLimits(
  { signal, timeoutMs = Infinity }: QueryOptions,
  timeoutError: () => Error,
  onExceeded: (error: unknown) => void,
): () => void {
  const timed = timeoutMs <= LONGEST_DELAY_MS;
  if (signal === undefined && !timed) return nothing;
  let timer: NodeJS.Timeout | undefined;
  const off = (): void => {
    clearTimeout(timer);
    signal?.removeEventListener("abort", abort);
  };
  const abort = (): void => {
    off();
    onExceeded(signal?.reason);
  };
  signal?.addEventListener("abort", abort, { once: true });
  if (timed) {
    timer = setTimeout(() => {
      off();
      onExceeded(timeoutError());
    }, timeoutMs);
  }
  return off;
}

const nothing = (): void => undefined;
