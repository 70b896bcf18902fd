/** Attempts and times in words, for error messages. */
import type { HttpAttempt, HttpNotRetried, HttpPhaseTimes } from "../errors.ts";

const MAX_SHOWN = 8;

/** " Attempts: 503 after 12 ms (headers), backoff 950 ms, ECONNRESET after 4 ms (connect 3, headers 1)." */
export function describeAttempts(attempts: readonly HttpAttempt[]): string {
  if (attempts.length === 0) return "";
  const shown = attempts.slice(-MAX_SHOWN).map((attempt) => {
    const backoff = attempt.backoff_ms >= 0.5 ? `backoff ${Math.round(attempt.backoff_ms)} ms, ` : "";
    const what = attempt.error_code ?? String(attempt.status);
    const phases = phasesOf(attempt);
    const where = phases.length === 1 ? phases.map(([name]) => name) : phases.map(([name, ms]) => `${name} ${ms}`);
    const detail = where.length === 0 ? "" : ` (${where.join(", ")})`;
    return `${backoff}${what} after ${Math.round(attempt.time_ms)} ms${detail}`;
  });
  const hidden = attempts.length - shown.length;
  return ` Attempts: ${hidden > 0 ? `${hidden} earlier, ` : ""}${shown.join(", ")}.`;
}

/** " In all: backoff 950 ms, headers 13 ms, connect 3 ms."; "" where the attempts have said as much. */
export function describeTimes(attempts: readonly HttpAttempt[], timings: HttpPhaseTimes): string {
  const phases = phasesOf(timings);
  const attempt = attempts.length === 1 ? attempts[0] : undefined;
  if (phases.length === 0 || (attempt !== undefined && Math.round(attempt.time_ms - timings.total_ms) >= 0)) return "";
  const longestFirst = phases.toSorted(([, a], [, b]) => b - a);
  return ` In all: ${longestFirst.map(([name, ms]) => `${name} ${ms} ms`).join(", ")}.`;
}

/** " The retry budget …": why there was no further attempt. */
export function describeEnd(why: HttpNotRetried | undefined, budget: string): string {
  switch (why) {
    case "budget":
      return ` Not retried: the budget for retries is used up (${budget}), so that retries do not add to the server's load.`;
    case "deadline":
      return " Not retried: the wait would have passed timeoutMs.";
    case "one_shot_body":
      return " Its body can be read only once, so it was not sent again; give a function that makes the body.";
    case "not_idempotent":
      return " Not retried: the server may have acted on it. An Idempotency-Key would allow to send it again.";
    case "max_retries":
    case undefined:
      return "";
    default:
      return why satisfies never;
  }
}

type Phases = Pick<HttpAttempt, "queue_ms" | "connect_ms" | "tls_ms" | "headers_ms" | "body_ms">;

/** The phases that took a time worth telling, in their order, in whole milliseconds. */
function phasesOf(times: Phases & { backoff_ms?: number; total_ms?: number }): [string, number][] {
  const { queue_ms, connect_ms, tls_ms, headers_ms, body_ms, total_ms, backoff_ms = 0 } = times;
  const all: [string, number][] = [
    ["queue", queue_ms],
    ["connect", connect_ms],
    ["tls", tls_ms],
    ["headers", headers_ms],
    ["body", body_ms],
    // Of a single attempt it is no part.
    ["backoff", total_ms === undefined ? 0 : backoff_ms],
  ];
  return all.map(([name, ms]): [string, number] => [name, Math.round(ms)]).filter(([, ms]) => ms >= 1);
}
