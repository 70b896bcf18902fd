import { type HoldsLines, processEnd } from "../destination/process-end.ts";
import { LEVEL_NUMBERS } from "../levels.ts";
import { type Bindings, withBindings } from "../line/bindings.ts";
import { SAMPLE_RATE } from "../line/line-writer.ts";
import type { Gate } from "../line-hooks.ts";
import { RateLimiter, type RateLimitSettings, type Suppressed } from "./rate-limiter.ts";
import { positionOf, Sampler, type SamplingSettings } from "./sampler.ts";

/** What decides how many lines are written; made only where one of its options is set. */
export interface VolumeControl {
  readonly gate: Gate;
  /** Reports the lines that were suppressed so far. */
  report(): void;
  readonly suppressedTotal: number;
  readonly sampledOutTotal: number;
}

/** What is asked of the fields that a logger and its context carry; found out once for each set of them. */
interface Carried {
  readonly component: string | undefined;
  readonly trace: string | undefined;
  readonly position: number | undefined;
  /** The same, with the rate that a line was kept at. */
  readonly atRate: Map<number, Bindings>;
}

/** A longer text is the id of nothing. */
const LONGEST_NAME = 256;

/**
 * @param now milliseconds since 1970; never throws
 * @param write writes the line that reports what was suppressed, at `warn`, past every level and the gate
 */
export function createVolumeControl(
  settings: { readonly rateLimit: RateLimitSettings | undefined; readonly sampling: SamplingSettings | undefined },
  now: () => number,
  write: (message: string, fields: object) => void,
): VolumeControl | undefined {
  const { rateLimit, sampling } = settings;
  if (rateLimit === undefined && sampling === undefined) return undefined;

  const known = new WeakMap<Bindings, Carried>();
  const sampler = sampling === undefined ? undefined : new Sampler(sampling);
  const atEnd = processEnd();
  const limiter =
    rateLimit === undefined
      ? undefined
      : new RateLimiter(rateLimit, now, (suppressed) => {
          write("log lines were suppressed", reportOf(suppressed, rateLimit));
          if (limiter?.hasUnreported === false) atEnd.delete(holder);
        });
  /** In the process' end only while there is something to report. */
  const holder: HoldsLines = { flushAtEnd: () => limiter?.report(), settle: () => undefined };

  const carriedBy = (bindings: Bindings): Carried => {
    let carried = known.get(bindings);
    if (carried === undefined) known.set(bindings, (carried = inspect(bindings)));
    return carried;
  };

  const gate: Gate = (level, template, bindings) => {
    const carried = carriedBy(bindings);
    const rate = sampler?.rate(level, template, carried.trace, carried.position) ?? 1;
    if (rate === 0) return undefined;
    if (limiter !== undefined && !limiter.admit(level, template, carried.component)) {
      atEnd.add(holder);
      return undefined;
    }
    if (rate === 1) return bindings;
    let sampled = carried.atRate.get(rate);
    if (sampled === undefined) {
      sampled = withBindings(bindings, new Map([[SAMPLE_RATE, String(rate)]]));
      carried.atRate.set(rate, sampled);
    }
    return sampled;
  };

  return {
    gate,
    report: () => limiter?.report(),
    get suppressedTotal() {
      return limiter?.suppressedTotal ?? 0;
    },
    get sampledOutTotal() {
      return sampler?.sampledOutTotal ?? 0;
    },
  };
}

function inspect({ names, values }: Bindings): Carried {
  const textOf = (name: string): string | undefined => {
    const at = names.indexOf(name);
    if (at < 0) return undefined;
    const value: unknown = JSON.parse(values[at] as string);
    return typeof value === "string" && value.length <= LONGEST_NAME ? value : undefined;
  };
  const trace = textOf("trace_id");
  const position = trace === undefined ? undefined : positionOf(trace);
  return { component: textOf("component"), trace, position, atRate: new Map() };
}

const LABELS = Object.entries(LEVEL_NUMBERS).toReversed();

function reportOf({ level, template, component, count, since }: Suppressed, limit: RateLimitSettings): object {
  return {
    "log.suppressed": count,
    "log.suppressed_level": LABELS.find(([, number]) => level >= number)?.[0],
    "log.suppressed_message": template,
    "log.suppressed_component": component,
    "log.suppressed_since": new Date(since),
    "log.burst": limit.burst,
    "log.interval_ms": limit.intervalMs,
  };
}
