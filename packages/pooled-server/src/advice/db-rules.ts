/** The guide's advice on a database pool: waits below 1 % and 10 ms, and 40 to 60 % of the connections in use. */
import { frozen, judge, rounded, unclear, type Finding, type Verdict } from "./finding.ts";
import { lastOf, rises, type DbFigures, type SampleWindow } from "./sample.ts";

const SUBJECT = "db_pool";
const WAIT_SHARE = { bad: 0.01, fine: 0.005 };
const WAIT_MS = { bad: 10, fine: 5 };
const IN_USE_HIGH = { bad: 0.6, fine: 0.55 };
const IN_USE_LOW = { bad: 0.4, fine: 0.45 };
/** From so many on a share of acquires, or a mean of waits, says something. */
const MIN_ACQUIRES = 100;
const MIN_WAITS = 20;
const MIN_SAMPLES = 6;
/** A pool of so few is not too large. */
const SMALL_POOL = 5;

export function dbVerdicts(window: SampleWindow): Verdict[] {
  const before = window[0].db;
  const after = lastOf(window).db;
  const all = ["db_wait_share", "db_wait_time", "db_timeouts", "db_in_use_high", "db_in_use_low"] as const;
  if (before === undefined || after === undefined) return unclear(SUBJECT, ...all);
  const rise = rises(
    before,
    after,
    "acquire_count",
    "release_count",
    "rejected_count",
    "wait_count",
    "wait_duration_ms",
    "use_duration_ms",
    "timeout_count",
    "create_count",
  );
  const elapsedMs = lastOf(window).atMs - window[0].atMs;
  if (rise === undefined || elapsedMs <= 0) return unclear(SUBJECT, ...all);
  const load = loadOf(rise, elapsedMs);
  return [...waits(after, rise, load), timeouts(after, rise, load), ...inUse(window, after, rise, load)];
}

type Rise = Record<
  | "acquire_count"
  | "release_count"
  | "rejected_count"
  | "wait_count"
  | "wait_duration_ms"
  | "use_duration_ms"
  | "timeout_count"
  | "create_count",
  number
>;

/** What is asked of the pool, and what it takes. */
export interface Load {
  /** Acquires a second, those included that were refused or ran out of time. */
  readonly arrivalsPerSecond: number;
  /** How long a connection is held, in the mean. */
  readonly holdMs: number;
  /** Connections that this keeps busy, by Little's law: arrivals × hold time. */
  readonly busy: number;
  /** The pool size that serves it. */
  readonly wanted: number;
}

/**
 * The pool size that a load wants. By Little's law (J. Little, 1961) arrivals × hold time are busy in the mean, whatever
 * their distributions; more by twice the square root (the rule of square-root staffing, after A. K. Erlang) serves all but
 * a few at once, and no more than 60 % may be in use.
 */
export function loadOf(rise: Rise, elapsedMs: number): Load {
  const arrivals = rise.acquire_count + rise.timeout_count + rise.rejected_count;
  const holdMs = rise.release_count === 0 ? 0 : rise.use_duration_ms / rise.release_count;
  const busy = (arrivals / elapsedMs) * holdMs;
  const wanted = Math.max(1, Math.ceil(busy + 2 * Math.sqrt(busy)), Math.ceil(busy / IN_USE_HIGH.bad));
  return { arrivalsPerSecond: (arrivals / elapsedMs) * 1000, holdMs, busy, wanted };
}

function evidenceOf({ arrivalsPerSecond, holdMs, busy, wanted }: Load, max: number): Record<string, number> {
  return {
    arrivals_per_second: rounded(arrivalsPerSecond),
    avg_hold_ms: rounded(holdMs),
    busy_connections: rounded(busy),
    max_open_connections: max,
    wanted_connections: wanted,
  };
}

function waits({ max_open_connections: max }: DbFigures, rise: Rise, load: Load): Verdict[] {
  const acquires = rise.acquire_count + rise.timeout_count;
  const share = acquires === 0 ? 0 : rise.wait_count / acquires;
  const meanMs = rise.wait_count === 0 ? 0 : rise.wait_duration_ms / rise.wait_count;
  // Where most of those who waited waited for a dial, there was room: what lacks are connections that are ready.
  const isDialling = rise.create_count >= rise.wait_count / 2;
  const setting = isDialling ? "dbMaxIdleConns" : "dbMaxOpenConns";
  const advice = isDialling
    ? "Most waits are for new connections: raise dbMaxIdleConns, so that connections stay, or keep some ready with dbPool.minIdleConns."
    : load.wanted > max
      ? `Raise dbMaxOpenConns to about ${load.wanted}, or make what holds a connection shorter (${rounded(load.holdMs)} ms in the mean).`
      : `By its mean load the pool is large enough (${load.wanted} of ${max}): arrivals come in bursts, or some hold a connection for very long. Look for long transactions, and spread what comes at once.`;
  const evidence = {
    wait_count: rise.wait_count,
    wait_share: rounded(share),
    avg_wait_ms: rounded(meanMs),
    connections_created: rise.create_count,
    ...evidenceOf(load, max),
  };
  const finding = (id: "db_wait_share" | "db_wait_time", title: string): Finding =>
    frozen({ id, severity: "warn", subject: SUBJECT, title, evidence, setting, advice });
  return [
    acquires < MIN_ACQUIRES
      ? { id: "db_wait_share", subject: SUBJECT, state: "unclear" }
      : {
          id: "db_wait_share",
          subject: SUBJECT,
          state: judge(share, WAIT_SHARE),
          finding: finding("db_wait_share", `${percent(share)} of acquires wait for a connection; below 1 % is good`),
        },
    rise.wait_count < MIN_WAITS
      ? { id: "db_wait_time", subject: SUBJECT, state: "unclear" }
      : {
          id: "db_wait_time",
          subject: SUBJECT,
          state: judge(meanMs, WAIT_MS),
          finding: finding(
            "db_wait_time",
            `Waits for a connection take ${rounded(meanMs)} ms in the mean; below 10 ms is good`,
          ),
        },
  ];
}

function timeouts({ max_open_connections: max }: DbFigures, rise: Rise, load: Load): Verdict {
  return {
    id: "db_timeouts",
    subject: SUBJECT,
    state: rise.timeout_count > 0 ? "bad" : "fine",
    finding: frozen({
      id: "db_timeouts",
      severity: "warn",
      subject: SUBJECT,
      title: `${rise.timeout_count} acquires got no connection in time`,
      evidence: { timeout_count: rise.timeout_count, acquire_count: rise.acquire_count, ...evidenceOf(load, max) },
      setting: "dbMaxOpenConns",
      advice:
        load.wanted > max
          ? `Raise dbMaxOpenConns to about ${load.wanted}, or make what holds a connection shorter (${rounded(load.holdMs)} ms in the mean).`
          : "Look for transactions that hold a connection for very long (dbPool.leakDetectionThresholdMs names them), and whether the database answers.",
    }),
  };
}

function inUse(window: SampleWindow, { max_open_connections: max }: DbFigures, rise: Rise, load: Load): Verdict[] {
  if (window.length < MIN_SAMPLES || max === 0) return unclear(SUBJECT, "db_in_use_high", "db_in_use_low");
  const sampled = window.reduce((sum, { db }) => sum + (db?.in_use ?? 0), 0) / window.length;
  // Samples miss what is short; the time of what was given back lacks what is held still.
  const ratio = Math.max(sampled, load.busy) / max;
  const evidence = { in_use_ratio: rounded(ratio), avg_in_use: rounded(sampled), ...evidenceOf(load, max) };
  const isLarge = max > Math.max(SMALL_POOL, load.wanted);
  const isUsed = rise.acquire_count >= MIN_ACQUIRES;
  return [
    {
      id: "db_in_use_high",
      subject: SUBJECT,
      state: judge(ratio, IN_USE_HIGH),
      finding: frozen({
        id: "db_in_use_high",
        severity: "warn",
        subject: SUBJECT,
        title: `${percent(ratio)} of the connections are in use; 40 to 60 % is good`,
        evidence,
        setting: "dbMaxOpenConns",
        advice: `Raise dbMaxOpenConns to about ${Math.max(load.wanted, Math.ceil((ratio * max) / IN_USE_HIGH.bad))}: what is left does not last for a burst.`,
      }),
    },
    {
      id: "db_in_use_low",
      subject: SUBJECT,
      state: !isLarge ? "fine" : isUsed ? judge(ratio, IN_USE_LOW) : "unclear",
      finding: frozen({
        id: "db_in_use_low",
        severity: "info",
        subject: SUBJECT,
        title: `${percent(ratio)} of the connections are in use; 40 to 60 % is good`,
        evidence,
        setting: "dbMaxOpenConns",
        advice: `If this load is the usual one, dbMaxOpenConns of ${Math.max(SMALL_POOL, load.wanted)} serves it, and leaves the database more room for others.`,
      }),
    },
  ];
}

function percent(ratio: number): string {
  return `${rounded(ratio * 100)} %`;
}
