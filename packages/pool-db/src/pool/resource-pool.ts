/**
 * A pool of things that are slow to open: it knows nothing of what they are.
 *
 * - Waiters wait on the pool, not on a dial: whatever becomes free first, a released resource or a new one, goes to the
 *   one who has waited longest. A dial outlives the waiter that caused it, and its resource goes to the next.
 * - Nothing that a resource or its far end does, or fails to do, costs a slot: every dial, check and reset has a
 *   deadline here, and a slot is free from the moment that the pool has given its resource up.
 * - At most `maxConnecting` dials run at a time. The others begin only if they are still wanted, so a short burst is
 *   served by what is open already. After a failure one dial at a time probes, with a growing pause between attempts.
 * - One timer serves all deadlines, and the path of an acquire that finds a free resource touches no timer at all.
 *
 * `#move` is the only place that changes a slot's state, and `#pump` the only one that decides who gets what.
 */
import { Alarm, type Clock } from "./alarm.ts";
import { DialBackoff } from "./dial-backoff.ts";
import { IdleList } from "./idle-list.ts";
import { PoolCounters, type DbPoolStats, type PoolGauges, type RemovalReason } from "./pool-stats.ts";
import { couldNotConnect, poolClosed, queueFull, timedOut } from "./refusals.ts";
import type { CloseOutcome, PoolListener, ResourceFactory, ResourcePoolSettings, Verdict } from "./resource.ts";
import { Lease, Slot, type SlotState } from "./slot.ts";
import { WaiterQueue, type Waiter } from "./waiter-queue.ts";

const LIFETIME_JITTER = 0.1;

export class ResourcePool<R> {
  readonly #settings: ResourcePoolSettings;
  readonly #factory: ResourceFactory<R>;
  readonly #listener: PoolListener<R>;
  readonly #clock: Clock;
  readonly #alarm: Alarm;
  readonly #counters: PoolCounters = new PoolCounters();
  readonly #waiters: WaiterQueue<Lease<R>> = new WaiterQueue();
  /** Every slot that is not gone. */
  readonly #slots = new Set<Slot<R>>();
  /** How many slots are in each state; `#move` keeps it. */
  readonly #in: Record<SlotState, number> = { connecting: 0, idle: 0, validating: 0, leased: 0, resetting: 0, gone: 0 };
  readonly #idle: IdleList<R>;
  readonly #backoff: DialBackoff;
  /** `minIdle` is kept from the first acquire on: a pool that nobody uses opens nothing. */
  #used = false;
  #state: "open" | "draining" | "closed" = "open";
  #closing: { deadline: number; finish: (() => void) | undefined; outcome: Promise<CloseOutcome<R>> } | undefined;
  readonly #killed: CloseOutcome<R>["killed"] = [];
  #rejectedWaiters = 0;
  /** Goodbyes under way; close() waits for them. */
  readonly #goodbyes = new Set<Promise<void>>();

  constructor(settings: ResourcePoolSettings, factory: ResourceFactory<R>, listener: PoolListener<R>) {
    this.#settings = settings;
    this.#factory = factory;
    this.#listener = listener;
    this.#clock = settings.clock;
    this.#idle = new IdleList(settings.maxIdle, settings.maxIdleTrimDelayMs);
    this.#backoff = new DialBackoff(settings.random);
    this.#alarm = new Alarm(settings.clock, settings.timers, () => this.#tick());
  }

  get state(): "open" | "draining" | "closed" {
    return this.#state;
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  get idle(): number {
    return this.#in.idle + this.#in.validating;
  }

  get inUse(): number {
    return this.#in.leased + this.#in.resetting;
  }

  get connecting(): number {
    return this.#in.connecting;
  }

  /** Those past their life that are still lent. */
  get expired(): number {
    const now = this.#clock.now();
    let count = 0;
    for (const slot of this.#slots) if (slot.expiresAt <= now) count++;
    return count;
  }

  /** Every open resource. */
  resources(): R[] {
    return [...this.#slots].filter((slot) => slot.state !== "connecting").map((slot) => slot.resource as R);
  }

  getStats(): DbPoolStats {
    return this.#counters.snapshot(this.#gauges());
  }

  /** A free resource without waiting, or `undefined`. Never overtakes a waiter. */
  take(): Lease<R> | undefined {
    if (this.#state !== "open" || this.#waiters.size > 0) return undefined;
    const slot = this.#takeIdle();
    if (slot === undefined) return undefined;
    const lease = this.#lend(slot);
    if (this.#settings.minIdle > 0) this.#pump();
    return lease;
  }

  /**
   * A resource, in the order of asking. `timeoutMs` (the pool's `acquireTimeoutMs` by default) covers the queue, the
   * dial and the check together. Rejects with the signal's reason when it is aborted.
   */
  acquire(limits: { signal?: AbortSignal | undefined; timeoutMs?: number | undefined } = {}): Promise<Lease<R>> {
    const { name, maxOpen, maxWaiting, acquireTimeoutMs } = this.#settings;
    const { signal, timeoutMs = acquireTimeoutMs } = limits;
    if (signal?.aborted) {
      this.#counters.canceled++;
      return Promise.reject(signal.reason);
    }
    if (this.#state !== "open") return Promise.reject(poolClosed(name));
    const lease = this.take();
    if (lease !== undefined) return Promise.resolve(lease);
    // Whoever will be served by free capacity stands in the line too, for the time of a dial; the bound is for the rest.
    if (this.#waiters.size >= maxWaiting + (maxOpen - this.inUse)) {
      this.#counters.rejected++;
      return Promise.reject(queueFull(name, maxWaiting, this.#gauges()));
    }
    this.#used = true;
    return new Promise((resolve, reject) => {
      const since = this.#clock.now();
      const abort = (): void => {
        this.#counters.canceled++;
        this.#dismiss(waiter, signal?.reason);
        this.#pump();
      };
      const waiter: Waiter<Lease<R>> = {
        since,
        deadline: since + timeoutMs,
        resolve,
        reject,
        detach: () => signal?.removeEventListener("abort", abort),
        previous: undefined,
        next: undefined,
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#waiters.push(waiter);
      this.#alarm.atLatest(waiter.deadline);
      this.#pump();
    });
  }

  /**
   * No more acquires; those that wait already are served. Resolves when everything has come back and is closed, or,
   * after `deadlineMs`, when what was left has been killed.
   */
  close(deadlineMs: number): Promise<CloseOutcome<R>> {
    if (this.#closing === undefined) {
      const since = this.#clock.now();
      let finish: (() => void) | undefined;
      const finished = new Promise<void>((resolve) => {
        finish = resolve;
      });
      const outcome = finished.then(async () => {
        await Promise.all(this.#goodbyes);
        const durationMs = this.#clock.now() - since;
        return { durationMs, killed: this.#killed, rejectedWaiters: this.#rejectedWaiters };
      });
      this.#closing = { deadline: since + deadlineMs, finish, outcome };
      this.#state = "draining";
      this.#alarm.atLatest(this.#closing.deadline);
      this.#pump();
    }
    return this.#closing.outcome;
  }

  /** Closes everything now, whoever holds it. */
  destroy(): Promise<CloseOutcome<R>> {
    const outcome = this.close(Infinity);
    this.#kill();
    return outcome;
  }

  // ---- Who gets what -------------------------------------------------------------------------------------------------

  /** Hands free resources to waiters, and gets more on the way while they are wanted. Called after every change. */
  #pump(): void {
    while (this.#waiters.size > 0) {
      const slot = this.#takeIdle();
      if (slot === undefined) break;
      this.#serve(this.#waiters.shift() as Waiter<Lease<R>>, slot);
    }
    // What is left in #idle has been unused for so long that it has to be checked first.
    while (this.#waiters.size > this.#in.validating && this.#idle.size > 0) {
      this.#validate(this.#idle.pop() as Slot<R>);
    }
    while (this.#dialsWanted() > 0 && this.#mayDial()) this.#dial();
    this.#alarm.keepAlive(this.#waiters.size > 0 || this.#state === "draining");
    if (this.#state === "draining" && this.#waiters.size === 0) this.#drain();
  }

  /** The most recently used free slot, if it can be lent without a check. */
  #takeIdle(): Slot<R> | undefined {
    if (this.#idle.size === 0) return undefined;
    const now = this.#clock.now();
    const { maxIdleTimeMs, validateAfterIdleMs } = this.#settings;
    for (;;) {
      const slot = this.#idle.newest;
      if (slot === undefined) return undefined;
      // The alarm may ring late; nobody gets what should have been closed by now.
      if (!this.#factory.isAlive(slot.resource as R)) this.#remove(slot, "broken");
      else if (slot.expiresAt <= now) this.#remove(slot, "max_lifetime");
      else if (slot.idleSince + maxIdleTimeMs <= now) this.#remove(slot, "max_idle_time");
      // The slots below it have been idle even longer.
      else if (now - slot.idleSince > validateAfterIdleMs) return undefined;
      else {
        this.#idle.pop();
        return slot;
      }
    }
  }

  #serve(waiter: Waiter<Lease<R>>, slot: Slot<R>): void {
    this.#leave(waiter);
    waiter.resolve(this.#lend(slot));
  }

  #lend(slot: Slot<R>): Lease<R> {
    const resource = slot.resource as R;
    this.#used = true;
    this.#move(slot, "leased");
    slot.uses++;
    slot.acquiredAt = this.#clock.now();
    slot.lease = new Lease(resource, this.#settings.name, (lease, discard) => this.#release(slot, lease, discard));
    this.#counters.acquired++;
    const { lease } = slot;
    this.#tell(() => this.#listener.acquired(resource));
    return lease;
  }

  #dialsWanted(): number {
    const { minIdle } = this.#settings;
    const spare = this.#used && this.#state === "open" ? Math.max(0, minIdle - this.idle) : 0;
    return Math.max(0, this.#waiters.size - this.#in.validating) + spare - this.#in.connecting;
  }

  #mayDial(): boolean {
    const { maxOpen, maxConnecting } = this.#settings;
    if (this.#slots.size >= maxOpen) return false;
    // While the far end refuses, one probe at a time is enough to learn that it is back.
    if (this.#in.connecting >= (this.#backoff.failing ? 1 : maxConnecting)) return false;
    if (this.#clock.now() >= this.#backoff.nextAt) return true;
    this.#alarm.atLatest(this.#backoff.nextAt);
    return false;
  }

  // ---- The life of a slot --------------------------------------------------------------------------------------------

  #move(slot: Slot<R>, state: SlotState): void {
    this.#in[slot.state]--;
    this.#in[state]++;
    slot.state = state;
    slot.deadline = Infinity;
  }

  #dial(): void {
    const slot = new Slot<R>();
    this.#slots.add(slot);
    this.#move(slot, "connecting");
    const startedAt = this.#clock.now();
    this.#setDeadline(slot, this.#settings.createTimeoutMs);
    this.#factory
      .create(slot.dialing.signal, (error) => this.#lost(slot, error))
      .then(
        (resource) => this.#dialed(slot, resource, startedAt),
        (error: unknown) => this.#dialFailed(slot, error),
      );
  }

  #dialed(slot: Slot<R>, resource: R, startedAt: number): void {
    if (slot.state === "gone") return this.#sayGoodbye(resource, true);
    if (!this.#factory.isAlive(resource)) {
      this.#sayGoodbye(resource, true);
      return this.#dialFailed(slot, new Error("the connection ended as soon as it was open"));
    }
    const now = this.#clock.now();
    this.#backoff.succeeded();
    this.#counters.created(now - startedAt);
    slot.resource = resource;
    slot.expiresAt = now + this.#settings.maxLifetimeMs * (1 - this.#settings.random() * LIFETIME_JITTER);
    this.#tell(() => this.#listener.created(resource));
    this.#offer(slot);
    this.#pump();
  }

  #dialFailed(slot: Slot<R>, error: unknown): void {
    if (slot.state === "gone") return;
    this.#forget(slot);
    slot.dialing.abort();
    this.#counters.createErrors++;
    this.#backoff.failed(error, this.#clock.now());
    this.#tell(() => this.#listener.createFailed(error));
    // As long as something is open or on its way, waiting is worth while. Otherwise the waiters learn why at once.
    if (this.#slots.size === 0) {
      for (const waiter of this.#waiters) this.#dismiss(waiter, couldNotConnect(this.#settings.name, error));
    }
    this.#pump();
  }

  /** A resource that has just proved itself goes to whoever has waited longest, without a further check. */
  #offer(slot: Slot<R>): void {
    const waiter = this.#waiters.shift();
    if (waiter === undefined) this.#makeIdle(slot);
    else this.#serve(waiter, slot);
  }

  #makeIdle(slot: Slot<R>): void {
    this.#move(slot, "idle");
    slot.idleSince = this.#clock.now();
    this.#idle.push(slot, slot.idleSince);
    if (this.#idle.trimAt <= slot.idleSince) this.#trim(slot.idleSince);
    const timeUp = slot.idleSince + this.#settings.maxIdleTimeMs;
    this.#alarm.atLatest(Math.min(slot.expiresAt, timeUp, this.#idle.trimAt));
  }

  #trim(now: number): void {
    for (const slot of this.#idle.surplus(now)) this.#remove(slot, "max_idle");
  }

  #validate(slot: Slot<R>): void {
    this.#move(slot, "validating");
    this.#setDeadline(slot, this.#settings.validateTimeoutMs);
    const done = (ok: boolean): void => {
      if (slot.state !== "validating") return;
      if (ok && this.#factory.isAlive(slot.resource as R)) this.#offer(slot);
      else this.#remove(slot, "broken");
      this.#pump();
    };
    this.#factory.validate(slot.resource as R).then(done, () => done(false));
  }

  #release(slot: Slot<R>, lease: Lease<R>, discard: unknown): void {
    const { resource } = lease;
    // It died meanwhile, and was counted as released then.
    if (slot.lease !== lease) return this.#tell(() => this.#listener.released(resource, discard));
    const verdict = discard ? "broken" : this.#factory.reset(resource);
    if (typeof verdict === "string") {
      this.#returned(slot, verdict);
    } else {
      this.#move(slot, "resetting");
      this.#setDeadline(slot, this.#settings.resetTimeoutMs);
      const done = (outcome: Verdict): void => {
        if (slot.state === "resetting") this.#returned(slot, outcome);
        this.#pump();
      };
      verdict.then(done, () => done("broken"));
    }
    this.#tell(() => this.#listener.released(resource, discard));
    this.#pump();
  }

  /** Ends the lease of a slot whose resource has come back, and decides whether to keep it. */
  #returned(slot: Slot<R>, verdict: Verdict): void {
    this.#endLease(slot);
    if (verdict !== "clean") this.#remove(slot, verdict);
    else if (slot.expiresAt <= this.#clock.now()) this.#remove(slot, "max_lifetime");
    else if (slot.uses >= this.#settings.maxUses) this.#remove(slot, "max_uses");
    else this.#offer(slot);
  }

  #endLease(slot: Slot<R>): void {
    slot.lease = undefined;
    this.#counters.used(this.#clock.now() - slot.acquiredAt);
  }

  /** The resource ended by itself. */
  #lost(slot: Slot<R>, error: Error): void {
    // A dial that was cut rejects, or its resource is found dead; either way it is handled there.
    if (slot.state === "gone" || slot.state === "connecting") return;
    const held = slot.lease !== undefined;
    if (held) this.#endLease(slot);
    this.#remove(slot, "broken");
    if (!held) this.#tell(() => this.#listener.idleLost(slot.resource as R, error));
    this.#pump();
  }

  #remove(slot: Slot<R>, reason: RemovalReason): void {
    if (slot.state === "idle") this.#idle.remove(slot);
    const hard = reason === "broken" || reason === "dirty" || this.#state === "closed";
    const resource = slot.resource as R;
    this.#forget(slot);
    this.#counters.closed(reason);
    this.#sayGoodbye(resource, hard);
    this.#tell(() => this.#listener.removed(resource, reason));
  }

  /** From here on the slot's place is free. */
  #forget(slot: Slot<R>): void {
    this.#move(slot, "gone");
    this.#slots.delete(slot);
  }

  #sayGoodbye(resource: R, hard: boolean): void {
    const goodbye = this.#factory.close(resource, hard);
    this.#goodbyes.add(goodbye);
    void goodbye.finally(() => this.#goodbyes.delete(goodbye));
  }

  // ---- Time ----------------------------------------------------------------------------------------------------------

  #setDeadline(slot: Slot<R>, ms: number): void {
    slot.deadline = this.#clock.now() + ms;
    this.#alarm.atLatest(slot.deadline);
  }

  #tick(): void {
    const now = this.#clock.now();
    for (const waiter of this.#waiters) {
      if (waiter.deadline > now) continue;
      this.#counters.timedOut++;
      this.#dismiss(waiter, this.#timeoutError(waiter, now));
    }
    for (const slot of this.#slots) {
      if (slot.deadline <= now) this.#overdue(slot);
      else if (slot.state === "idle" && slot.expiresAt <= now) this.#remove(slot, "max_lifetime");
    }
    const { minIdle, maxIdleTimeMs } = this.#settings;
    for (;;) {
      const { oldest } = this.#idle;
      if (oldest === undefined || this.#idle.size <= minIdle || oldest.idleSince + maxIdleTimeMs > now) break;
      this.#remove(oldest, "max_idle_time");
    }
    this.#trim(now);
    if (this.#state === "draining" && (this.#closing?.deadline ?? Infinity) <= now) this.#kill();
    this.#pump();
    this.#alarm.atLatest(this.#nextDue());
  }

  /** A dial, check or reset that has taken too long. Whatever it still brings is unwanted. */
  #overdue(slot: Slot<R>): void {
    const { createTimeoutMs, validateAfterIdleMs } = this.#settings;
    if (slot.state === "connecting") {
      this.#dialFailed(slot, new Error(`no connection within ${createTimeoutMs} ms (connectTimeoutMs)`));
    } else if (slot.state === "resetting") {
      this.#endLease(slot);
      this.#remove(slot, "dirty");
    } else if (slot.state === "validating") {
      this.#remove(slot, "broken");
      // Silence means that the path is gone, for the others as well. Trying them one after another, each up to its
      // deadline, would cost the waiter more than a new connection.
      const now = this.#clock.now();
      for (const other of this.#slots) {
        if (other.state === "idle" && now - other.idleSince > validateAfterIdleMs) this.#remove(other, "broken");
      }
    }
  }

  #nextDue(): number {
    const { minIdle, maxIdleTimeMs } = this.#settings;
    let due = Math.min(
      this.#idle.trimAt,
      this.#state === "draining" ? (this.#closing?.deadline ?? Infinity) : Infinity,
    );
    for (const waiter of this.#waiters) due = Math.min(due, waiter.deadline);
    for (const slot of this.#slots) {
      due = Math.min(due, slot.deadline);
      if (slot.state === "idle") due = Math.min(due, slot.expiresAt);
    }
    const { oldest } = this.#idle;
    if (oldest !== undefined && this.#idle.size > minIdle) due = Math.min(due, oldest.idleSince + maxIdleTimeMs);
    return due;
  }

  // ---- Waiters, and the end ------------------------------------------------------------------------------------------

  /** Takes the books of a waiter that is out of the line. */
  #leave(waiter: Waiter<Lease<R>>): void {
    waiter.detach();
    this.#counters.waited(this.#clock.now() - waiter.since);
  }

  #dismiss(waiter: Waiter<Lease<R>>, error: unknown): void {
    this.#waiters.remove(waiter);
    this.#leave(waiter);
    waiter.reject(error);
  }

  /** Draining, and nobody waits: closes whatever is free, and ends when nothing is lent. */
  #drain(): void {
    for (const slot of this.#slots) {
      if (slot.state === "connecting") this.#abandonDial(slot);
      else if (slot.state === "idle" || slot.state === "validating") this.#remove(slot, "pool_closed");
    }
    if (this.#slots.size === 0) this.#finish();
  }

  #kill(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    for (const waiter of this.#waiters) {
      this.#rejectedWaiters++;
      this.#dismiss(waiter, poolClosed(this.#settings.name));
    }
    const now = this.#clock.now();
    for (const slot of this.#slots) {
      if (slot.state === "connecting") {
        this.#abandonDial(slot);
        continue;
      }
      if (slot.state === "leased") this.#killed.push({ resource: slot.resource as R, heldMs: now - slot.acquiredAt });
      if (slot.lease !== undefined) this.#endLease(slot);
      this.#remove(slot, "pool_closed");
    }
    this.#finish();
  }

  #finish(): void {
    this.#state = "closed";
    this.#alarm.cancel();
    this.#alarm.keepAlive(false);
    this.#closing?.finish?.();
  }

  #abandonDial(slot: Slot<R>): void {
    this.#forget(slot);
    slot.dialing.abort();
  }

  #gauges(): PoolGauges {
    const { inUse, idle, connecting, waiting: pending } = this;
    return { max: this.#settings.maxOpen, inUse, idle, connecting, pending };
  }

  #timeoutError(waiter: Waiter<Lease<R>>, now: number): Error {
    let oldestLeaseMs: number | undefined;
    for (const { lease, acquiredAt } of this.#slots) {
      if (lease !== undefined) oldestLeaseMs = Math.max(oldestLeaseMs ?? 0, now - acquiredAt);
    }
    const { lastError: connectError } = this.#backoff;
    return timedOut(this.#settings.name, now - waiter.since, this.#gauges(), { connectError, oldestLeaseMs });
  }

  #tell(event: () => void): void {
    try {
      event();
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }
}
