import fc from "fast-check";
import { expect, test } from "vitest";
import type { Failure } from "../src/failure.ts";
import {
  isRetryableStatus,
  forbiddenBy,
  parseRetryAfter,
  retryCauseOfFailure,
  retryAfterOf,
  retryCauseOfStatus,
  retryDelayMs,
  type RetryRequest,
} from "../src/exchange/retry-policy.ts";

const IDEMPOTENT = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"];

const request: fc.Arbitrary<RetryRequest> = fc.record({
  method: fc.constantFrom(...IDEMPOTENT, "POST", "PATCH", "PROPFIND"),
  keyed: fc.boolean(),
  body: fc.record({ replayable: fc.boolean() }),
  retryOn: fc.constantFrom("safe" as const, "rejected" as const),
});
const failure: fc.Arbitrary<Failure> = fc.record(
  {
    reason: fc.constantFrom(
      ...(["connect", "tls", "stale", "network", "protocol", "timeout", "queue_full"] as const),
      ...(["too_large", "request", "redirect", "closed", "abort"] as const),
    ),
    phase: fc.constantFrom("queue" as const, "connect" as const, "headers" as const, "body" as const),
    code: fc.constant("ECODE"),
    detail: fc.constant("detail"),
    sent: fc.boolean(),
    limit: fc.constantFrom("timeoutMs" as const, "attemptTimeoutMs" as const, "connectTimeoutMs" as const),
  },
  { requiredKeys: ["reason", "phase", "code", "detail", "sent"] },
);

test("what may have been acted on is repeated only where repeating is harmless", () => {
  fc.assert(
    fc.property(request, failure, (given, failed) => {
      const retried = retryCauseOfFailure(given, failed) !== undefined;
      const harmless = IDEMPOTENT.includes(given.method) || given.keyed;
      const neverSent = failed.reason === "connect" || !failed.sent;
      if (retried) expect(given.body.replayable && (harmless || neverSent)).toBe(true);
    }),
  );
});

test("a certificate, a limit, an argument, an abort and the deadline are never retried", () => {
  const final = new Set(["tls", "protocol", "queue_full", "too_large", "request", "redirect", "closed", "abort"]);
  fc.assert(
    fc.property(request, failure, (given, failed) => {
      if (final.has(failed.reason) || failed.limit === "timeoutMs") {
        expect(retryCauseOfFailure(given, failed)).toBeUndefined();
      }
    }),
  );
});

test("a network failure of a repeatable request is retried, and a refused connection for every method", () => {
  fc.assert(
    fc.property(request, failure, (given, failed) => {
      if (!given.body.replayable || failed.limit === "timeoutMs") return;
      const harmless = IDEMPOTENT.includes(given.method) || given.keyed;
      if (failed.reason === "connect") expect(retryCauseOfFailure(given, failed)).toBe("connect");
      if (failed.reason === "network" && harmless) expect(retryCauseOfFailure(given, failed)).toBe("network");
    }),
  );
});

test("a status is retried as documented, and for other methods only where the server refused to act", () => {
  fc.assert(
    fc.property(request, fc.integer({ min: 200, max: 599 }), (given, status) => {
      const expected =
        given.body.replayable &&
        [408, 425, 429, 500, 502, 503, 504].includes(status) &&
        (IDEMPOTENT.includes(given.method) ||
          given.keyed ||
          (given.retryOn === "rejected" && (status === 429 || status === 503)));
      expect(retryCauseOfStatus(given, status) !== undefined).toBe(expected);
      if (expected) expect(isRetryableStatus(status)).toBe(true);
    }),
  );
});

test("a wait is never shorter than Retry-After and never longer than the cap beyond it", () => {
  fc.assert(
    fc.property(
      fc.nat(200),
      fc.nat(10_000),
      fc.nat(60_000),
      fc.double({ min: 0, max: 0.999_999, noNaN: true }),
      fc.option(fc.nat(1_000_000), { nil: undefined }),
      (retry, baseMs, extra, random, retryAfterMs) => {
        const capMs = baseMs + extra;
        const delay = retryDelayMs(retry, { baseMs, capMs, random: () => random, retryAfterMs });
        const after = retryAfterMs ?? 0;
        expect(delay).toBeGreaterThanOrEqual(after);
        expect(delay).toBeLessThanOrEqual(after + Math.min(capMs, baseMs * 2 ** retry));
      },
    ),
  );
});

test("the ceilings of the backoff double from one second", () => {
  const ceiling = (retry: number) => retryDelayMs(retry, { baseMs: 1000, capMs: 30_000, random: () => 1 });
  expect([0, 1, 2, 3, 10].map(ceiling)).toEqual([1000, 2000, 4000, 8000, 30_000]);
});

test.each<[string | undefined, number | undefined]>([
  [undefined, undefined],
  ["0", 0],
  [" 120 ", 120_000],
  ["-1", undefined],
  ["1.5", undefined],
  ["soon", undefined],
  ["Thu, 01 Jan 1970 00:01:40 GMT", 90_000],
  ["Thu, 01 Jan 1970 00:00:01 GMT", 0],
  ["Thursday, 01-Jan-70 00:01:40 GMT", 90_000],
])("Retry-After %o is %o ms at 10 s past the epoch", (value, expected) => {
  expect(parseRetryAfter(value, 10_000)).toBe(expected);
});

test.each<[object, number | undefined]>([
  [{}, undefined],
  [{ "retry-after": "2" }, 2000],
  [{ "retry-after-ms": "150" }, 150],
  [{ "retry-after-ms": " 1500.5 ", "retry-after": "2" }, 1500.5],
  [{ "retry-after-ms": "soon", "retry-after": "2" }, 2000],
  [{ "retry-after-ms": "-5" }, undefined],
  [{ "retry-after-ms": ["1", "2"], "retry-after": "3" }, 2],
  [{ "retry-after": ["5", "5"] }, 5000],
  [{ "retry-after": "5, 7,6" }, 7000],
  [{ "retry-after": ["soon", "2"] }, 2000],
  [{ "retry-after": "2, soon" }, undefined],
  [{ "retry-after": ["Thu, 01 Jan 1970 00:01:40 GMT", "95"] }, 95_000],
  [{ "retry-after": "Thu, 01 Jan 1970 00:01:40 GMT, Thu, 01 Jan 1970 00:01:50 GMT" }, 100_000],
])("the headers %o ask for %o ms", (headers, expected) => {
  expect(retryAfterOf(headers as Record<string, string>, 10_000)).toBe(expected);
});

test("the body is the reason only where the method allows a retry, and the method only where another would", () => {
  fc.assert(
    fc.property(request, failure, fc.integer({ min: 200, max: 599 }), (given, failed, status) => {
      const replayable = { ...given, body: { replayable: true } };
      const retried = retryCauseOfFailure(replayable, failed) !== undefined;
      expect(forbiddenBy(given, failed) === "one_shot_body").toBe(!given.body.replayable && retried);
      const repeated = retryCauseOfStatus(replayable, status) !== undefined;
      expect(forbiddenBy(given, status) === "one_shot_body").toBe(!given.body.replayable && repeated);
      const keyed = { ...replayable, keyed: true };
      const forbidden = !repeated && retryCauseOfStatus(keyed, status) !== undefined;
      expect(forbiddenBy(given, status) === "not_idempotent").toBe(forbidden);
    }),
  );
});

test("an HTTP date without a zone is GMT, wherever this process runs", () => {
  const zone = process.env["TZ"];
  process.env["TZ"] = "America/New_York";
  try {
    const now = Date.UTC(2026, 10, 23, 7, 0, 0);
    expect(parseRetryAfter("Mon Nov 23 07:00:10 2026", now)).toBe(10_000);
    expect(parseRetryAfter("Mon, 23 Nov 2026 07:00:10 GMT", now)).toBe(10_000);
    expect(parseRetryAfter("Monday, 23-Nov-26 07:00:10 GMT", now)).toBe(10_000);
  } finally {
    if (zone === undefined) delete process.env["TZ"];
    else process.env["TZ"] = zone;
  }
});
