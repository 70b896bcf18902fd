/** The guide's advice on an HTTP pool: more than 99 % successes, below 5 % retries, few timeouts, latency as it was. */
import { frozen, judge, rounded, unclear, type Finding, type Verdict } from "./finding.ts";
import { lastOf, mostRisen, rises, type HttpFigures, type SampleWindow } from "./sample.ts";

const SUBJECT = "http_pool";
const SUCCESS_RATE = { bad: 0.99, fine: 0.995 };
const RETRY_SHARE = { bad: 0.05, fine: 0.03 };
const TIMEOUT_SHARE = { bad: 0.01, fine: 0.005 };
/** Of the mean before. */
const LATENCY_RATIO = { bad: 2, fine: 1.5 };
/** From so many requests on a share says something. */
const MIN_REQUESTS = 100;

export function httpVerdicts(window: SampleWindow): Verdict[] {
  const before = window[0].http;
  const after = lastOf(window).http;
  const all = ["http_success_rate", "http_retries", "http_timeouts", "http_latency"] as const;
  const rise = rises(before, after, "request_count", "success_count", "error_count", "retry_count", "timeout_count");
  if (rise === undefined) return unclear(SUBJECT, ...all);
  const ended = rise.success_count + rise.error_count;
  if (ended < MIN_REQUESTS) return unclear(SUBJECT, ...all);
  return [
    successRate(before, after, rise.success_count / ended, ended),
    retries(before, after, rise.retry_count, Math.max(ended, rise.request_count)),
    timeouts(before, after, rise.timeout_count, ended),
    latency(before, after, ended),
  ];
}

function verdict(state: Verdict["state"], finding: Omit<Finding, "subject" | "severity">): Verdict {
  return {
    id: finding.id,
    subject: SUBJECT,
    state,
    finding: frozen({ severity: "warn", subject: SUBJECT, ...finding }),
  };
}

function successRate(before: HttpFigures, after: HttpFigures, rate: number, ended: number): Verdict {
  return verdict(judge(rate, SUCCESS_RATE), {
    id: "http_success_rate",
    title: `${rounded(rate * 100)} % of the HTTP pool's requests succeed; above 99 % is good`,
    evidence: {
      success_rate: rounded(rate),
      error_count: after.error_count - before.error_count,
      ended_count: ended,
      ...worst(before, after, "error_count"),
    },
    setting: "httpPool.maxRetries",
    advice:
      "Look in the log for what fails, and at the upstream that has most of it. Where failures come in bursts, more retries (httpPool.maxRetries) bridge them.",
  });
}

function retries(before: HttpFigures, after: HttpFigures, count: number, requests: number): Verdict {
  const share = count / requests;
  return verdict(judge(share, RETRY_SHARE), {
    id: "http_retries",
    title: `There are retries for ${rounded(share * 100)} % of the HTTP pool's requests; below 5 % is good`,
    evidence: { retry_count: count, retry_share: rounded(share), ...worst(before, after, "retry_count") },
    setting: "httpMaxConnsPerHost",
    advice:
      "Retries hide an upstream that fails, and make its load worse. Find out why it fails; where it is overloaded, send it less at once (httpMaxConnsPerHost).",
  });
}

function timeouts(before: HttpFigures, after: HttpFigures, count: number, ended: number): Verdict {
  const phase = mostRisen(before.timeouts_by_phase, after.timeouts_by_phase);
  const isQueue = phase === "queue";
  return verdict(judge(count / ended, TIMEOUT_SHARE), {
    id: "http_timeouts",
    title: `${rounded((count / ended) * 100)} % of the HTTP pool's requests run out of time`,
    evidence: {
      timeout_count: count,
      timeout_share: rounded(count / ended),
      ...(phase === undefined ? {} : { most_in_phase: phase }),
    },
    setting: isQueue ? "httpMaxConnsPerHost" : "httpTimeoutMs",
    advice: isQueue
      ? "They wait for a connection: raise httpMaxConnsPerHost if the upstream can do more at once."
      : "Raise httpTimeoutMs if the upstream needs so long; else look at the network, and at the size of what is sent.",
  });
}

function latency(before: HttpFigures, after: HttpFigures, ended: number): Verdict {
  const count = ({ success_count, error_count }: HttpFigures): number => success_count + error_count;
  const sum = (figures: HttpFigures): number => figures.avg_latency_ms * count(figures);
  const baselineMs = before.avg_latency_ms;
  if (count(before) < MIN_REQUESTS || baselineMs <= 0)
    return { id: "http_latency", subject: SUBJECT, state: "unclear" };
  const meanMs = Math.max(0, (sum(after) - sum(before)) / ended);
  return verdict(judge(meanMs / baselineMs, LATENCY_RATIO), {
    id: "http_latency",
    title: `The HTTP pool's requests take ${rounded(meanMs)} ms in the mean; before it were ${rounded(baselineMs)} ms`,
    evidence: { avg_latency_ms: rounded(meanMs), baseline_ms: rounded(baselineMs), ended_count: ended },
    setting: "httpTimeoutMs",
    advice: "Look at the upstream: it is slower than it was, or is asked for other things. Its answers can be cached.",
  });
}

function worst(before: HttpFigures, after: HttpFigures, key: "error_count" | "retry_count"): Record<string, string> {
  const counts = ({ per_origin }: HttpFigures): Record<string, number> =>
    Object.fromEntries(Object.entries(per_origin).map(([origin, counters]) => [origin, counters[key]]));
  const origin = mostRisen(counts(before), counts(after));
  return origin === undefined ? {} : { most_at: origin };
}
