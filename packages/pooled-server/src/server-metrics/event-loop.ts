import { performance, type EventLoopUtilization } from "node:perf_hooks";
import type { HistogramChild } from "../metrics/histogram.ts";

/** Seconds. A loop that is well stays in the first few. */
export const DELAY_BUCKETS: readonly number[] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];

const INTERVAL_MS = 20;
/** The busy share is that of the last 10 to 20 s. */
const WINDOW_MS = 10_000;

/**
 * Measures how late a timer is, every 20 ms, and puts it into a histogram that is never reset: each scraper sees the delays
 * of its own time, by subtraction. A histogram of Node's own (`monitorEventLoopDelay`) can only be read as percentiles
 * since its last reset, so that of two scrapers each would take the other's. The busy share has windows of its own for the
 * same reason.
 */
export class EventLoopWatch {
  readonly #timer: NodeJS.Timeout;
  #windowStart = performance.now();
  #older: EventLoopUtilization = performance.eventLoopUtilization();
  #newer: EventLoopUtilization = this.#older;

  constructor(delays: Pick<HistogramChild, "observe">) {
    let last = this.#windowStart;
    this.#timer = setInterval(() => {
      const now = performance.now();
      delays.observe(Math.max(0, now - last - INTERVAL_MS) / 1000);
      last = now;
      if (now - this.#windowStart >= WINDOW_MS) this.#nextWindow(now);
    }, INTERVAL_MS);
    this.#timer.unref();
  }

  /** 0 to 1. */
  get utilization(): number {
    return performance.eventLoopUtilization(this.#older).utilization;
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  #nextWindow(now: number): void {
    this.#windowStart = now;
    this.#older = this.#newer;
    this.#newer = performance.eventLoopUtilization();
  }
}
