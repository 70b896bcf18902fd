/** What a finding is about: the names that the statistics have in `/v2/health`. */
export type FindingSubject = "db_pool" | "http_pool" | "inference_cache" | "embedding_cache";

/** Something in the figures that the operator should know of, and what to do about it. */
export interface Finding {
  /** What kind of finding it is; stable, one of a subject at a time. */
  readonly id: FindingId;
  /** `warn`: requests suffer. `info`: something could be better. */
  readonly severity: "warn" | "info";
  readonly subject: FindingSubject;
  readonly title: string;
  /** The figures that it rests on, all of the window of time that it looks at. */
  readonly evidence: Readonly<Record<string, number | string>>;
  /** The option to look at first. */
  readonly setting: string;
  readonly advice: string;
}

export type FindingId =
  | "db_wait_share"
  | "db_wait_time"
  | "db_timeouts"
  | "db_in_use_high"
  | "db_in_use_low"
  | "http_success_rate"
  | "http_retries"
  | "http_timeouts"
  | "http_latency"
  | "cache_hit_rate"
  | "cache_evictions"
  | "cache_size";

/**
 * What a rule says of one window. `bad` calls for the finding, `fine` for its end; between the two, and where there is too
 * little to tell (`unclear`), a finding that is there stays, and one that is not does not come.
 */
export interface Verdict {
  readonly id: FindingId;
  readonly subject: FindingSubject;
  readonly state: "bad" | "between" | "fine" | "unclear";
  /** Where the state is not `unclear`. */
  readonly finding?: Finding;
}

/** Three digits tell as much as there is to tell. */
export function rounded(value: number): number {
  return Number(value.toPrecision(3));
}

/** What each rule gives for a figure that is bad above (or below) one bound and fine below (or above) another. */
export function judge(value: number, { bad, fine }: { bad: number; fine: number }): "bad" | "between" | "fine" {
  const isAbove = bad > fine;
  if (isAbove ? value >= bad : value <= bad) return "bad";
  return (isAbove ? value < fine : value > fine) ? "fine" : "between";
}

export function frozen(finding: Finding): Finding {
  return Object.freeze({ ...finding, evidence: Object.freeze({ ...finding.evidence }) });
}

/** One line when it appears, one when it clears. */
export function logFinding(logger: FindingLogger, finding: Finding, change: "appeared" | "cleared"): void {
  const { id, severity, subject, title, evidence, setting, advice } = finding;
  const fields = { finding: id, subject, title };
  if (change === "cleared") logger.info("Finding cleared", fields);
  else logger[severity]("Finding", { ...fields, evidence, setting, advice });
}

/** What a finding is written to. */
type FindingLogger = Record<"info" | "warn", (message: string, fields: Record<string, unknown>) => void>;

export function unclear(subject: FindingSubject, ...ids: FindingId[]): Verdict[] {
  return ids.map((id) => ({ id, subject, state: "unclear" }));
}
