/** What the pool asks of those who make, use and watch its resources. */
import type { CallSite } from "../call-site.ts";
import type { Clock, Timers } from "./alarm.ts";
import type { RemovalReason } from "./pool-stats.ts";

/** What may be done with a resource that comes back: lend it again, or close it as dirty or broken. */
export type Verdict = "clean" | "dirty" | "broken";

export interface ResourceFactory<R> {
  /**
   * Opens one. When it ends by itself later, `lost` is called; before that with `ended` false, if it reports an error
   * whose end is still to come. An aborted signal means: stop, whatever comes is unwanted.
   */
  create(signal: AbortSignal, lost: (error: Error, ended?: boolean) => void): Promise<R>;
  /** A look without I/O at whether it could still be used. */
  isAlive(resource: R): boolean;
  /** Asks the far end whether it still answers. */
  validate(resource: R): Promise<boolean>;
  /** Makes a returned resource fit for a stranger. */
  reset(resource: R): Verdict | Promise<Verdict>;
  /**
   * Whether `create()` failed because the far end has no room or is not ready yet. Then whoever waits goes on waiting,
   * even if nothing is open. Default: never.
   */
  isCapacity?(error: unknown): boolean;
  /** Closes it, `hard` without a goodbye. Never rejects, and ends within a bounded time. */
  close(resource: R, hard: boolean): Promise<void>;
}

/**
 * Told after the pool's state has changed, so they may call the pool. What they throw is reported as an uncaught error
 * and harms no slot. A shared resource is `acquired` by its first holder and `released` by its last. A
 * member may be a getter that is `undefined` while nobody would hear of it: then the event costs nothing.
 */
export interface PoolListener<R> {
  created?(resource: R, durationMs: number): void;
  createFailed?(error: unknown, durationMs: number): void;
  /** `waitedMs`: since it was asked for; 0 when it was free. */
  readonly acquired?: ((resource: R, waitedMs: number) => void) | undefined;
  readonly released?: ((resource: R, discard: unknown, heldMs: number) => void) | undefined;
  removed?(resource: R, reason: RemovalReason): void;
  /** A resource that nobody held (any more) ended by itself. */
  idleLost?(resource: R, error: Error): void;
  /** A resource ended by itself while it was lent. */
  lentLost?(resource: R, error: Error, heldMs: number): void;
  /** An acquire ran into its deadline. */
  timedOut?(error: Error, waitedMs: number): void;
  /** An acquire was refused because too many wait already. */
  refused?(error: Error): void;
  /** A lease has lasted for longer than `leakThresholdMs`; once a lease. */
  leaked?(resource: R, site: CallSite, heldMs: number): void;
  /** A lease that was reported has been released after all; `ended`: what was lent had ended before. */
  leakReturned?(resource: R, ended: boolean, heldMs: number): void;
}

/** What bounds one acquire. */
export interface AcquireLimits {
  readonly signal?: AbortSignal | undefined;
  readonly timeoutMs?: number | undefined;
}

export interface ResourcePoolSettings extends PoolLimits {
  readonly name: string;
  /** Where the resources come from, for errors. */
  readonly target?: string | undefined;
  readonly clock: Clock;
  readonly timers: Timers;
  readonly random: () => number;
}

/** What may change while the pool runs. Where a limit may be absent, it is `Infinity`. */
export interface PoolLimits {
  maxOpen: number;
  maxIdle: number;
  minIdle: number;
  maxWaiting: number;
  maxConnecting: number;
  maxUses: number;
  /** How many may hold a shared resource at the same time; 1 is no sharing. */
  maxShares: number;
  /** Nobody joins a shared resource whose holders have waited for an answer (a release) for longer. */
  maxShareAgeMs: number;
  acquireTimeoutMs: number;
  createTimeoutMs: number;
  maxLifetimeMs: number;
  maxIdleTimeMs: number;
  maxIdleTrimDelayMs: number;
  validateAfterIdleMs: number;
  validateTimeoutMs: number;
  resetTimeoutMs: number;
  /** A lease that lasts for longer is reported as a leak. */
  leakThresholdMs: number;
}

export interface CloseOutcome<R> {
  durationMs: number;
  /** What was still lent, or being cleaned after it, at the deadline; and for how long. */
  killed: { resource: R; heldMs: number }[];
  rejectedWaiters: number;
}
