import { describeError } from "./errors.ts";
import type { Clock } from "./pool/alarm.ts";
import { checkCallOptions } from "./query/call-options.ts";

export interface HealthOptions {
  /** The most that the answer may take, the wait for a connection included; default 5 s. */
  readonly timeoutMs?: number | undefined;
  /** Whether the server is asked what it is, beside whether it answers; still in one round trip. Default false. */
  readonly deep?: boolean | undefined;
}

/** One answer of `health()`. */
export interface DbHealth {
  readonly ok: boolean;
  /** How long the answer took, the wait for a connection included. */
  readonly latency_ms: number;
  /** What is wrong, when `ok` is false. */
  readonly error?: string;
  /** Of a deep answer: PostgreSQL's version, as `18.4`. */
  readonly server_version?: string;
  /** Of a deep answer: whether the server is a standby, or recovering, and takes no writes. */
  readonly in_recovery?: boolean;
  /** Of a deep answer: how many connections the server takes in all, from everybody. */
  readonly max_connections?: number;
}

const TIMEOUT_MS = 5_000;

const DEEP = `SELECT current_setting('server_version') AS server_version, pg_is_in_recovery() AS in_recovery,
  current_setting('max_connections')::int AS max_connections`;

type DeepAnswer = Required<Pick<DbHealth, "server_version" | "in_recovery" | "max_connections">>;

/** What is asked: `firstRow` runs a statement within a time. */
interface Asked {
  readonly name: string;
  readonly clock: Clock;
  firstRow(text: string, timeoutMs: number): Promise<object | undefined>;
}

/** Never rejects. */
export async function askHealth({ name, clock, firstRow }: Asked, options: HealthOptions): Promise<DbHealth> {
  const startedAt = clock.now();
  try {
    checkCallOptions(name, "health()", options, ["timeoutMs", "deep"]);
    const deep = options.deep === true;
    const row = await firstRow(deep ? DEEP : "SELECT 1", options.timeoutMs ?? TIMEOUT_MS);
    const answer = { ok: true, latency_ms: clock.now() - startedAt };
    return Object.freeze(deep ? { ...answer, ...(row as DeepAnswer) } : answer);
  } catch (error) {
    return Object.freeze({ ok: false, latency_ms: clock.now() - startedAt, error: describeError(error) });
  }
}
