import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { verdictsOf } from "../../src/advice/advisor.ts";
import { loadOf } from "../../src/advice/db-rules.ts";
import type { Finding, Verdict } from "../../src/advice/finding.ts";
import { windowOf, type Figures } from "./figures.ts";

const bad = (after: Figures, before: Figures = {}): Finding[] =>
  verdictsOf(windowOf(after, before)).flatMap(({ state, finding }) =>
    state === "bad" && finding !== undefined ? [finding] : [],
  );
const idsOf = (after: Figures, before: Figures = {}): string[] => bad(after, before).map(({ id }) => id);
const only = (after: Figures, before: Figures = {}): Finding => {
  const findings = bad(after, before);
  expect(findings.map(({ id }) => id)).toHaveLength(1);
  return findings[0] as Finding;
};

/** A pool that serves 100 acquires a second (30,000 in the window), each for 120 ms: 12 of its 25 are busy. */
const CALM = { acquire_count: 30_000, release_count: 30_000, use_duration_ms: 30_000 * 120, in_use: 12 };

describe("the database pool", () => {
  test("well sized it gives no finding", () => {
    expect(idsOf({ db: CALM })).toEqual([]);
    expect(idsOf({ db: { ...CALM, wait_count: 299, wait_duration_ms: 299 * 9 } })).toEqual([]);
  });

  test("waits of 1 % of acquires, or of 10 ms in the mean, are findings that name the size that the load wants", () => {
    const load = { acquire_count: 30_000, release_count: 30_000, use_duration_ms: 30_000 * 300, in_use: 14 };
    const figures = { ...load, max_open_connections: 32, wait_count: 900, wait_duration_ms: 900 * 3 };
    const finding = only({ db: { ...figures, in_use: 15, use_duration_ms: 30_000 * 150 } });
    expect(finding).toMatchObject({
      id: "db_wait_share",
      severity: "warn",
      subject: "db_pool",
      setting: "dbMaxOpenConns",
      evidence: { wait_count: 900, wait_share: 0.03, avg_wait_ms: 3, arrivals_per_second: 100, busy_connections: 15 },
    });
    const tight = bad({ db: { ...figures, wait_duration_ms: 900 * 40, in_use: 30 } });
    expect(tight.map(({ id }) => id)).toEqual(["db_wait_share", "db_wait_time", "db_in_use_high"]);
    // 100 a second × 0.3 s = 30 busy; 30 / 0.6 = 50.
    for (const { advice, evidence } of tight) {
      expect(advice).toContain("about 50");
      expect(evidence["wanted_connections"]).toBe(50);
    }
  });

  test("waits for new connections want idle ones kept, not more of them", () => {
    const finding = only({ db: { ...CALM, wait_count: 400, wait_duration_ms: 400 * 8, create_count: 380 } });
    expect(finding).toMatchObject({ id: "db_wait_share", setting: "dbMaxIdleConns" });
    expect(finding.advice).toContain("minIdleConns");
  });

  test("a pool that is large enough by its mean load is not told to grow", () => {
    const finding = only({ db: { ...CALM, wait_count: 400, wait_duration_ms: 400 * 8 } });
    expect(finding.advice).toContain("large enough");
  });

  test("acquires that run out of time are a finding, however few", () => {
    expect(only({ db: { ...CALM, timeout_count: 1 } })).toMatchObject({ id: "db_timeouts", severity: "warn" });
  });

  test("more than 60 % in use is a warning; less than 40 % is worth a word, where the pool is used and not small", () => {
    expect(only({ db: { ...CALM, in_use: 16 } })).toMatchObject({
      id: "db_in_use_high",
      evidence: { in_use_ratio: 0.635 },
    });
    const quiet = { acquire_count: 3_000, release_count: 3_000, use_duration_ms: 3_000 * 10, in_use: 0 };
    expect(only({ db: quiet })).toMatchObject({ id: "db_in_use_low", severity: "info" });
    expect(idsOf({ db: { ...quiet, max_open_connections: 5 } })).toEqual([]);
    expect(idsOf({ db: { in_use: 0 } })).toEqual([]);
  });

  test("without a database nothing is said of one", () => {
    const window = windowOf({}).map((sample) => ({ ...sample, db: undefined }));
    const states = verdictsOf(window as never).filter(({ subject }) => subject === "db_pool");
    expect(new Set(states.map(({ state }) => state))).toEqual(new Set(["unclear"]));
  });

  test("the size by Little's law grows with the load, is more than is busy, and leaves 40 % free", () => {
    const count = fc.nat(1_000_000);
    fc.assert(
      fc.property(
        count,
        fc.double({ min: 0, max: 60_000, noNaN: true }),
        fc.integer({ min: 1, max: 3_600_000 }),
        (acquires, holdMs, elapsedMs) => {
          const rise = {
            acquire_count: acquires,
            release_count: acquires,
            rejected_count: 0,
            wait_count: 0,
            wait_duration_ms: 0,
            use_duration_ms: acquires * holdMs,
            timeout_count: 0,
            create_count: 0,
          };
          const { busy, wanted } = loadOf(rise, elapsedMs);
          expect(busy).toBeCloseTo((acquires * holdMs) / elapsedMs, 5);
          expect(wanted).toBeGreaterThanOrEqual(1);
          expect(wanted).toBeGreaterThanOrEqual(busy / 0.6 - 1e-6);
          expect(wanted).toBeLessThanOrEqual(busy / 0.6 + 2 * Math.sqrt(busy) + 2);
          // Those who got nothing wanted something as well.
          expect(loadOf({ ...rise, timeout_count: 1_000 }, elapsedMs).busy).toBeGreaterThanOrEqual(busy);
        },
      ),
    );
  });
});

describe("the HTTP pool", () => {
  const GOOD = { request_count: 1_000, success_count: 1_000, avg_latency_ms: 100 };

  test("with few failures, retries and timeouts it gives no finding", () => {
    const figures = { ...GOOD, success_count: 995, error_count: 5, retry_count: 49, timeout_count: 4 };
    expect(idsOf({ http: figures })).toEqual([]);
  });

  test("a success rate of 99 % or less is one, and names the upstream that has most of the failures", () => {
    const per_origin = {
      "http://a": { error_count: 30, retry_count: 0 },
      "http://b": { error_count: 100, retry_count: 0 },
    };
    const before = { per_origin: { "http://b": { error_count: 90, retry_count: 0 } } };
    expect(
      only({ http: { ...GOOD, success_count: 960, error_count: 40, per_origin } }, { http: before }),
    ).toMatchObject({
      id: "http_success_rate",
      evidence: { success_rate: 0.96, error_count: 40, most_at: "http://a" },
    });
  });

  test("retries of 5 % are one", () => {
    expect(only({ http: { ...GOOD, retry_count: 50 } })).toMatchObject({ id: "http_retries" });
  });

  test("timeouts of 1 % are one, whose setting is that of where they happen", () => {
    const timeouts = (timeouts_by_phase: Record<string, number>): Finding =>
      only({ http: { ...GOOD, timeout_count: 10, timeouts_by_phase } });
    expect(timeouts({ queue: 8, headers: 2 })).toMatchObject({
      setting: "httpMaxConnsPerHost",
      evidence: { most_in_phase: "queue" },
    });
    expect(timeouts({ queue: 2, headers: 8 })).toMatchObject({ setting: "httpTimeoutMs" });
  });

  test("latency is compared with what it was before", () => {
    const before = { request_count: 1_000, success_count: 1_000, avg_latency_ms: 100 };
    const after = (avg: number): Figures => ({
      http: { request_count: 2_000, success_count: 2_000, avg_latency_ms: avg },
    });
    expect(only(after(150), { http: before })).toMatchObject({
      id: "http_latency",
      evidence: { avg_latency_ms: 200, baseline_ms: 100 },
    });
    expect(idsOf(after(149), { http: before })).toEqual([]);
  });

  test("a handful of requests says nothing", () => {
    expect(idsOf({ http: { request_count: 99, error_count: 99, retry_count: 99, timeout_count: 99 } })).toEqual([]);
  });
});

describe("a cache", () => {
  test("few hits are worth a word below 80 %, and a warning below 50 %", () => {
    expect(idsOf({ inference: { hits: 850, misses: 150 } })).toEqual([]);
    expect(only({ inference: { hits: 700, misses: 300 } })).toMatchObject({
      id: "cache_hit_rate",
      severity: "info",
      subject: "inference_cache",
    });
    expect(only({ embedding: { hits: 400, misses: 600 } })).toMatchObject({
      severity: "warn",
      subject: "embedding_cache",
    });
    expect(idsOf({ inference: { hits: 9, misses: 90 } })).toEqual([]);
  });

  test("what to do about few hits depends on what became of the entries", () => {
    const few = { hits: 400, misses: 600 };
    expect(bad({ inference: { ...few, evictions: 300 } })[0]).toMatchObject({ setting: "inferenceCacheCapacity" });
    expect(only({ inference: { ...few, expirations: 300 } })).toMatchObject({ setting: "inferenceCacheTtlMs" });
    expect(only({ inference: few }).advice).toContain("keys");
  });

  test("evictions of 10 % of the entries are a finding, whose setting is the limit that they met", () => {
    const full = { hits: 900, misses: 100, entries: 1_000 };
    expect(idsOf({ inference: { ...full, evictions: 99 } })).toEqual([]);
    expect(only({ inference: { ...full, evictions: 100 } })).toMatchObject({
      id: "cache_evictions",
      setting: "inferenceCacheCapacity",
    });
    expect(only({ inference: { ...full, evictions: 100, evictions_bytes: 60 } })).toMatchObject({
      setting: "inferenceCacheMaxBytes",
    });
  });

  test("near its bytes it is worth a word, and without a limit it may not be much of the heap", () => {
    expect(only({ embedding: { total_size_mb: 95, max_size_mb: 100 } })).toMatchObject({
      id: "cache_size",
      severity: "info",
    });
    expect(idsOf({ embedding: { total_size_mb: 89, max_size_mb: 100 } })).toEqual([]);
    expect(only({ embedding: { total_size_mb: 1_000 } })).toMatchObject({
      id: "cache_size",
      severity: "warn",
      setting: "embeddingCacheMaxBytes",
    });
  });
});

const counter = fc.nat(100_000);
const figures: fc.Arbitrary<Required<Figures>> = fc.record({
  db: fc.record({
    acquire_count: counter,
    release_count: counter,
    rejected_count: counter,
    wait_count: counter,
    wait_duration_ms: counter,
    use_duration_ms: counter,
    timeout_count: counter,
    create_count: counter,
    in_use: fc.nat(25),
    max_open_connections: fc.integer({ min: 1, max: 100 }),
  }),
  http: fc.record({
    request_count: counter,
    success_count: counter,
    error_count: counter,
    retry_count: counter,
    timeout_count: counter,
    avg_latency_ms: fc.double({ min: 0, max: 1e6, noNaN: true }),
  }),
  inference: cacheFigures(),
  embedding: cacheFigures(),
});

function cacheFigures(): fc.Arbitrary<NonNullable<Figures["inference"]>> {
  return fc.record({
    hits: counter,
    misses: counter,
    evictions: counter,
    evictions_bytes: counter,
    expirations: counter,
    entries: fc.nat(1_000),
    total_size_mb: fc.double({ min: 0, max: 10_000, noNaN: true }),
    max_size_mb: fc.constantFrom(0, 100),
  });
}

describe("whatever the figures", () => {
  test("each rule gives one verdict, its finding is frozen, and every figure in it is a number that can be written", () => {
    fc.assert(
      fc.property(figures, figures, (before, after) => {
        const verdicts: Verdict[] = verdictsOf(windowOf(after, before));
        const keys = verdicts.map(({ subject, id }) => `${subject} ${id}`);
        expect(new Set(keys).size).toBe(15);
        expect(keys).toHaveLength(15);
        for (const { state, finding, id, subject } of verdicts) {
          if (state === "unclear") continue;
          expect(finding).toMatchObject({ id, subject });
          expect(Object.isFrozen(finding) && Object.isFrozen(finding?.evidence)).toBe(true);
          for (const value of Object.values(finding?.evidence ?? {})) {
            if (typeof value === "number") expect(Number.isFinite(value)).toBe(true);
          }
          expect(JSON.stringify(finding)).not.toMatch(/NaN|Infinity|undefined/);
        }
      }),
      { numRuns: 500 },
    );
  });

  test("a window in which nothing happened calls for nothing but what is there to be seen", () => {
    fc.assert(
      fc.property(figures, (same) => {
        const counted = idsOf(same, same).filter((id) => id !== "cache_size" && id !== "db_in_use_high");
        expect(counted).toEqual([]);
      }),
    );
  });

  test("counters that begin anew in the window make its rules say nothing", () => {
    const before = { db: { ...CALM, wait_count: 5_000 }, http: { request_count: 5_000 }, inference: { hits: 5_000 } };
    const after = {
      db: { acquire_count: 5_000, wait_count: 400 },
      http: { request_count: 400 },
      inference: { hits: 400, misses: 9_000 },
    };
    expect(idsOf(after, before)).toEqual([]);
  });
});
