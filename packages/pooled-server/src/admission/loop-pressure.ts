import { performance, type EventLoopUtilization } from "node:perf_hooks";

const INTERVAL_MS = 50;
/** Only a loop that is late for so long is overloaded; a pause of the garbage collector is not. */
const PATIENCE_MS = 1_000;
/** And only one that is in time by a margin for so long is not any more. */
const CALM_MS = 1_000;
const CALM_PART = 0.5;
/** From so many times the delay on nothing is taken on, wherever the time went. */
const FAR_TOO_LATE = 5;

/**
 * Sheds requests while the event loop has more to do than time.
 *
 * A loop that is busy all the time may still be in time: that is a server at its best. So two things must be true for a
 * second: it is busy, and late. From then on each request is looked at by itself, as CoDel does with packets (Nichols and
 * Jacobson, 2012): requests that came together are handled one after another in the same turn of the loop, and those whose
 * turn comes after `maxDelayMs` are refused, which takes next to no time. So each turn does as much as fits into it.
 */
export class LoopPressure {
  /** Whether what is late is refused. */
  overloaded = false;
  utilization = 0;
  /** How late the loop was the last time. */
  delayMs = 0;
  readonly #maxUtilization: number;
  readonly #maxDelayMs: number;
  #lateMs = 0;
  #calmMs = 0;
  #beatAt = 0;
  #timer: NodeJS.Timeout | undefined;

  /** @param maxUtilization 0 never sheds, and measures nothing */
  constructor({ maxUtilization, maxDelayMs }: { maxUtilization: number; maxDelayMs: number }) {
    this.#maxUtilization = maxUtilization;
    this.#maxDelayMs = maxDelayMs;
  }

  start(): void {
    if (this.#maxUtilization === 0 || this.#timer !== undefined) return;
    let last: EventLoopUtilization = performance.eventLoopUtilization();
    this.#beatAt = performance.now();
    this.#timer = setInterval(() => {
      const now = performance.eventLoopUtilization();
      this.sample(performance.eventLoopUtilization(now, last).utilization, performance.now());
      last = now;
    }, INTERVAL_MS).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.overloaded = false;
  }

  /**
   * The loop has come round to its timers.
   *
   * @param utilization the busy share since the last time, 0..1
   * @param now as `performance.now()`
   */
  sample(utilization: number, now: number): void {
    const elapsedMs = now - this.#beatAt;
    this.#beatAt = now;
    this.utilization = utilization;
    this.delayMs = Math.max(0, elapsedMs - INTERVAL_MS);
    const isBusy = utilization >= this.#maxUtilization;
    const isLate = isBusy && this.delayMs >= this.#maxDelayMs;
    const isCalm = !isBusy || this.delayMs < this.#maxDelayMs * CALM_PART;
    this.#lateMs = isLate ? this.#lateMs + elapsedMs : 0;
    this.#calmMs = isCalm ? this.#calmMs + elapsedMs : 0;
    if (this.#lateMs >= PATIENCE_MS) this.overloaded = true;
    else if (this.#calmMs >= CALM_MS) this.overloaded = false;
  }

  /** Whether a request that is looked at now is shed. */
  refuses(): boolean {
    return this.overloaded && this.isLate(performance.now());
  }

  /** Whether the loop is late at that time. */
  isLate(now: number): boolean {
    return now - this.#beatAt - INTERVAL_MS >= this.#maxDelayMs || this.delayMs >= this.#maxDelayMs * FAR_TOO_LATE;
  }
}
