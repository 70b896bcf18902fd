import type { Timers } from "../src/pool/alarm.ts";
import type { PoolListener, ResourceFactory, ResourcePoolSettings, Verdict } from "../src/pool/resource.ts";
import { ResourcePool } from "../src/pool/resource-pool.ts";

/** Time that moves only when a test says so. */
export class FakeTime {
  #now = 1_000;
  readonly #timers = new Map<object, { at: number; ring: () => void }>();
  readonly timers: Timers = {
    set: (ring, delayMs) => {
      const timer = {};
      this.#timers.set(timer, { at: this.#now + delayMs, ring });
      return timer;
    },
    clear: (timer) => void this.#timers.delete(timer),
    keepAlive: () => undefined,
  };

  readonly now = (): number => this.#now;

  get armed(): number {
    return this.#timers.size;
  }

  /** Moves on, ringing on the way whatever is due, each at its time. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const [timer, due] = [...this.#timers].toSorted(([, a], [, b]) => a.at - b.at)[0] ?? [];
      if (timer === undefined || due === undefined || due.at > end) break;
      this.#now = Math.max(this.#now, due.at);
      this.#timers.delete(timer);
      due.ring();
      await settle();
    }
    this.#now = end;
  }
}

/** Lets everything that is ready to run do so. */
export function settle(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}

export interface FakeResource {
  readonly id: number;
  alive: boolean;
  closed: boolean;
  lost: (error: Error, ended?: boolean) => void;
}

interface Job<T> {
  resource?: FakeResource;
  resolve(value: T): void;
  reject(error: Error): void;
  aborted(): boolean;
}

/** Resources whose every answer waits for the test. */
export class FakeFactory implements ResourceFactory<FakeResource> {
  readonly made: FakeResource[] = [];
  readonly dials: (Job<void> & { lost: (error: Error, ended?: boolean) => void })[] = [];
  readonly validations: Job<boolean>[] = [];
  readonly resets: Job<Verdict>[] = [];
  nextReset: Verdict | "later" | "throws" = "clean";
  /** Whether failures of dials are for want of room. */
  full = false;

  create(signal: AbortSignal, lost: (error: Error, ended?: boolean) => void): Promise<FakeResource> {
    return new Promise((resolve, reject) => {
      const done = (): void => {
        const resource: FakeResource = { id: this.made.length, alive: true, closed: false, lost };
        this.made.push(resource);
        resolve(resource);
      };
      this.dials.push({ resolve: done, reject, aborted: () => signal.aborted, lost });
    });
  }

  isAlive(resource: FakeResource): boolean {
    return resource.alive;
  }

  validate(resource: FakeResource): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.validations.push({ resource, resolve, reject, aborted: () => false });
    });
  }

  reset(resource: FakeResource): Verdict | Promise<Verdict> {
    if (!resource.alive) return "broken";
    if (this.nextReset === "throws") throw new Error("the reset failed");
    if (this.nextReset !== "later") return this.nextReset;
    return new Promise((resolve, reject) => {
      this.resets.push({ resource, resolve, reject, aborted: () => false });
    });
  }

  isCapacity(): boolean {
    return this.full;
  }

  close(resource: FakeResource, _hard: boolean): Promise<void> {
    resource.closed = true;
    resource.alive = false;
    return Promise.resolve();
  }
}

/** A pool of fakes; limits that a test does not name are out of its way. */
export function fakePool(settings: Partial<ResourcePoolSettings> = {}, listener: PoolListener<FakeResource> = {}) {
  const time = new FakeTime();
  const factory = new FakeFactory();
  const pool = new ResourcePool<FakeResource>(
    {
      name: "test",
      maxOpen: 3,
      maxIdle: 3,
      minIdle: 0,
      maxWaiting: Infinity,
      maxConnecting: 8,
      maxUses: Infinity,
      maxShares: 1,
      maxShareAgeMs: 100,
      acquireTimeoutMs: Infinity,
      createTimeoutMs: 10_000,
      maxLifetimeMs: Infinity,
      maxIdleTimeMs: Infinity,
      maxIdleTrimDelayMs: 1_000,
      validateAfterIdleMs: Infinity,
      validateTimeoutMs: 1_000,
      resetTimeoutMs: 1_000,
      leakThresholdMs: Infinity,
      clock: time,
      timers: time.timers,
      random: () => 0.5,
      ...settings,
    },
    factory,
    listener,
  );
  /** Completes the dial that has waited longest. */
  const dialed = async (): Promise<void> => {
    factory.dials.shift()?.resolve();
    await settle();
  };
  /** A lease, through a dial where one is needed. */
  const lease = async () => {
    const acquiring = pool.acquire();
    await dialed();
    return acquiring;
  };
  return { time, factory, pool, dialed, lease };
}
