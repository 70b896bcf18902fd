import type { Answer, CallTimes } from "./contender.ts";
import { LatencyHistogram } from "./latency-histogram.ts";

const CLOCK_CALLS = 10_000;
const nothing = (): void => undefined;

/** Makes the calls from `first` to `end` (exclusive), each between two readings of the clock. */
export function timeEach(call: (i: number) => void, first: number, end: number, into: LatencyHistogram): void {
  for (let i = first; i < end; i++) {
    const start = process.hrtime.bigint();
    call(i);
    into.record(Number(process.hrtime.bigint() - start));
  }
}

/** The result of a sample whose calls have been timed. What the clock takes is not subtracted: it is said. */
export function callTimes(histogram: LatencyHistogram, answer: Answer): CallTimes {
  const clock = new LatencyHistogram();
  timeEach(nothing, 0, CLOCK_CALLS, clock);
  return {
    p50Ns: histogram.percentile(0.5),
    p99Ns: histogram.percentile(0.99),
    clockNs: clock.percentile(0.5),
    answer,
  };
}
