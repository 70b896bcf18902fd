/**
 * A limit of concurrent requests that follows their latency.
 *
 * After the gradient algorithm of Netflix' concurrency-limits (`Gradient2Limit`, E. Friedrich and others, 2018), which goes
 * back to TCP Vegas (Brakmo and Peterson, 1994): where latency rises above what it is without contention, requests queue
 * somewhere behind us, and fewer at once would be done as fast. In each window
 *
 *     gradient = clamp(tolerance × usual latency / latency now, 0.5, 1)
 *     limit    = limit × gradient + √limit
 *
 * half of which is taken at once. By Little's law limit × gradient is what the throughput of now needs at the usual
 * latency, so what is needed stays; √limit is room to grow.
 *
 * What is other than there:
 * - Latencies are compared by route and by their logarithm, so that neither another mix of requests nor a few slow ones
 *   look like contention.
 * - The usual latency is learned where there is no contention: below half of the limit, and at its lower end. Learned under
 *   overload as well it would slowly become the overload's, and the limit would creep up.
 * - After a change nothing is measured for as long as a request takes: what ends then began under the limit before.
 */
const WINDOW_MS = 500;
const MIN_SAMPLES = 10;
const TOLERANCE = Math.log(2);
const LOWEST_GRADIENT = 0.5;
const SMOOTHING = 0.5;
/** What a window with timeouts leaves of the limit. */
const BACKOFF = 0.8;
/** The share of requests that time out from which on it is contention, whatever the latency. */
const TIMEOUTS_RATIO = 0.1;
/** How much of the way to the latency of a window the usual one goes: calm, falling while limited, at the lower end. */
const LEARN_CALM = 0.1;
const LEARN_FALLING = 0.25;
const LEARN_AT_MIN = 0.1;
const LONGEST_SETTLE_MS = 30_000;
/** Templates are the program's own; one that makes them of paths must not fill the memory. */
const MAX_ROUTES = 200;
/** Below this a latency is the clock's noise. */
const LEAST_MS = 0.05;

/**
 * How a request is done with its place: with an answer begun, out of time, by a client that left before, or in a way that
 * says nothing of how long an answer takes.
 */
export type HowEnded = "answered" | "timed_out" | "abandoned" | "other";

/** The latency of one route, by its logarithm. */
class RouteLatency {
  usual = NaN;
  sum = 0;
  count = 0;
}

export class AdaptiveLimit {
  readonly min: number;
  readonly max: number;
  #limit: number;
  #restartedAt: number;
  /** Since when the window measures. */
  #measuresFrom: number;
  #peak = 0;
  #count = 0;
  #timeouts = 0;
  readonly #routes = new Map<string, RouteLatency>();

  constructor({ min, max }: { min: number; max: number }, now: number) {
    this.min = min;
    this.max = max;
    this.#limit = max;
    this.#restartedAt = now;
    this.#measuresFrom = now;
  }

  get value(): number {
    return Math.floor(this.#limit);
  }

  /** So many requests are in flight now. */
  entered(inFlight: number): void {
    if (inFlight > this.#peak) this.#peak = inFlight;
  }

  /**
   * A request gave its place back.
   *
   * @param heldMs from its admission on: to the head of its answer, or until its client had enough
   * @param inFlight without it
   */
  observe(route: string, heldMs: number, how: HowEnded, inFlight: number, now: number): void {
    // A clock that went back begins the window anew.
    if (now < this.#restartedAt) this.#restart(now, now, inFlight);
    if (now < this.#measuresFrom || how === "other") return;
    const latency = this.#latencyOf(route);
    const logarithm = Math.log(Math.max(LEAST_MS, heldMs));
    // That somebody left early says nothing; that they left late, as much as an answer then.
    if (how === "abandoned" && !(logarithm > latency.usual)) return;
    this.#count++;
    if (how === "timed_out") {
      this.#timeouts++;
    } else {
      latency.sum += logarithm;
      latency.count++;
    }
    if (this.#count >= MIN_SAMPLES && now - this.#measuresFrom >= WINDOW_MS) this.#endWindow(inFlight, now);
  }

  #latencyOf(route: string): RouteLatency {
    let latency = this.#routes.get(route);
    if (latency === undefined) {
      if (this.#routes.size >= MAX_ROUTES && route !== "") return this.#latencyOf("");
      this.#routes.set(route, (latency = new RouteLatency()));
    }
    return latency;
  }

  #endWindow(inFlight: number, now: number): void {
    const before = this.#limit;
    const limited = this.#peak >= before / 2;
    const { excess, latencyMs } = this.#compare(limited);
    const gradient = Math.min(1, Math.max(LOWEST_GRADIENT, Math.exp(TOLERANCE - excess)));
    if (this.#timeouts >= this.#count * TIMEOUTS_RATIO && this.#timeouts > 0) {
      this.#limit = Math.min(before, this.#peak) * BACKOFF;
    } else if (gradient < 1 && limited) {
      // More than were ever in flight nobody has tried.
      const from = Math.min(before, this.#peak);
      this.#limit = from + SMOOTHING * (from * gradient + Math.sqrt(from) - from);
    } else if (gradient === 1) {
      // Room is given back when it is not needed, too: what was true in the last overload says nothing of the next hour.
      this.#limit = before + SMOOTHING * Math.sqrt(before);
    }
    this.#limit = Math.min(this.max, Math.max(this.min, this.#limit));
    const changed = Math.floor(before) !== Math.floor(this.#limit);
    this.#restart(now, changed && limited ? now + Math.min(latencyMs, LONGEST_SETTLE_MS) : now, inFlight);
  }

  /** How far latency is above the usual one (by its logarithm, over all routes), and how long a request takes. */
  #compare(limited: boolean): { excess: number; latencyMs: number } {
    const atMin = this.value <= this.min;
    let excess = 0;
    let compared = 0;
    let sum = 0;
    let count = 0;
    for (const latency of this.#routes.values()) {
      if (latency.count === 0) continue;
      const mean = latency.sum / latency.count;
      sum += latency.sum;
      count += latency.count;
      if (Number.isNaN(latency.usual)) {
        latency.usual = mean;
        continue;
      }
      const difference = mean - latency.usual;
      excess += difference * latency.count;
      compared += latency.count;
      const learn = !limited ? LEARN_CALM : difference < 0 ? LEARN_FALLING : atMin ? LEARN_AT_MIN : 0;
      // A window with few requests of this route says little about it.
      latency.usual += difference * learn * Math.min(1, latency.count / MIN_SAMPLES);
    }
    return {
      excess: compared === 0 ? 0 : excess / compared,
      latencyMs: count === 0 ? 0 : Math.exp(sum / count),
    };
  }

  #restart(now: number, measuresFrom: number, inFlight: number): void {
    this.#restartedAt = now;
    this.#measuresFrom = measuresFrom;
    this.#peak = inFlight;
    this.#count = 0;
    this.#timeouts = 0;
    for (const latency of this.#routes.values()) {
      latency.sum = 0;
      latency.count = 0;
    }
  }
}
