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
 * - Listeners are told when the state is whole, so they may call the pool.
 *
 * `SlotTable.move` is the only place that changes a slot's state, and `#pump` the only one that decides who gets what.
 */
import { Alarm, type Clock } from "./alarm.ts";
import { Closing } from "./closing.ts";
import { DialBackoff } from "./dial-backoff.ts";
import { IdleList } from "./idle-list.ts";
import { Outbox } from "./outbox.ts";
import { PoolCounters, type DbPoolStats, type PoolGauges, type RemovalReason } from "./pool-stats.ts";
import { couldNotConnect, poolClosed, queueFull, timedOut } from "./refusals.ts";
import type { CloseOutcome, PoolListener, ResourceFactory, ResourcePoolSettings, Verdict } from "./resource.ts";
import { Lease, type Slot } from "./slot.ts";
import { SlotTable } from "./slot-table.ts";
import { WaitingLine } from "./waiting-line.ts";

const LIFETIME_JITTER = 0.1;
/** A check that is silent for so long is no longer counted on: a dial begins beside it. */
const DOUBT_AFTER_MS = 250;

export class ResourcePool<R> {
  readonly #settings: ResourcePoolSettings;
  readonly #factory: ResourceFactory<R>;
  readonly #listener: PoolListener<R>;
  readonly #clock: Clock;
  readonly #alarm: Alarm;
  readonly #counters: PoolCounters = new PoolCounters();
  readonly #waiters: WaitingLine<Lease<R>> = new WaitingLine(this.#counters);
  readonly #outbox: Outbox = new Outbox();
  readonly #slots: SlotTable<R> = new SlotTable();
  readonly #idle: IdleList<R>;
  readonly #backoff: DialBackoff;
  /** `minIdle` is kept from the first acquire on: a pool that nobody uses opens nothing. */
  #used = false;
  #state: "open" | "draining" | "closed" = "open";
  #closing: Closing<R> | undefined;
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
    return this.#slots.idle;
  }

  get inUse(): number {
    return this.#slots.inUse;
  }

  get connecting(): number {
    return this.#slots.connecting;
  }

  /** Those past their life that are still lent. */
  get expired(): number {
    return this.#slots.expired(this.#clock.now());
  }

  getStats(): DbPoolStats {
    return this.#counters.snapshot(this.#gauges());
  }

  /** A free resource without waiting, or `undefined`. Never overtakes a waiter. */
  take(): Lease<R> | undefined {
    const lease = this.#take();
    this.#outbox.deliver();
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
    // Nobody is told of anything before this acquire has its place: a listener that acquires comes after it.
    const lease = this.#take();
    if (lease !== undefined) {
      this.#outbox.deliver();
      return Promise.resolve(lease);
    }
    // Whoever will be served by free capacity stands in the line too, for the time of a dial; the bound is for the rest.
    if (this.#waiters.size >= maxWaiting + (maxOpen - this.inUse)) {
      this.#counters.rejected++;
      const refusal = queueFull(name, maxWaiting, this.#gauges());
      this.#outbox.deliver();
      return Promise.reject(refusal);
    }
    this.#used = true;
    const since = this.#clock.now();
    const now = (): number => this.#clock.now();
    const joined = this.#waiters.join(since, { signal, timeoutMs }, { now, onAbort: () => this.#pump() });
    this.#alarm.atLatest(since + timeoutMs);
    this.#pump();
    return joined;
  }

  /**
   * No more acquires; those that wait already are served. Resolves when everything has come back and is closed, or,
   * after `deadlineMs`, when what was left has been killed.
   */
  close(deadlineMs: number): Promise<CloseOutcome<R>> {
    if (this.#closing === undefined) {
      this.#closing = new Closing(deadlineMs, () => this.#clock.now(), this.#goodbyes);
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
    this.#outbox.deliver();
    return outcome;
  }

  // ---- Who gets what -------------------------------------------------------------------------------------------------

  #take(): Lease<R> | undefined {
    if (this.#state !== "open" || this.#waiters.size > 0) return undefined;
    const slot = this.#takeIdle();
    if (slot === undefined) return undefined;
    const lease = this.#lend(slot);
    if (this.#settings.minIdle > 0) this.#dialAsWanted();
    return lease;
  }

  /** Hands free resources to waiters, and gets more on the way while they are wanted. Called after every change. */
  #pump(): void {
    while (this.#waiters.size > 0) {
      const slot = this.#takeIdle();
      if (slot === undefined) break;
      this.#serve(slot, false);
    }
    // Silence makes the other unused ones suspect as well: then dials come first, and checks only where there is no
    // room for one.
    if (this.#slots.doubtful > 0) this.#dialAsWanted();
    // What is left in #idle has been unused for so long that it has to be checked first.
    const dialing = this.#slots.doubtful > 0 ? this.#slots.connecting : 0;
    while (this.#waiters.size > this.#slots.promising + dialing && this.#idle.size > 0) {
      this.#validate(this.#idle.pop() as Slot<R>);
    }
    this.#dialAsWanted();
    this.#alarm.keepAlive(this.#waiters.size > 0 || this.#state === "draining");
    if (this.#state === "draining" && this.#waiters.size === 0) this.#drain();
    this.#outbox.deliver();
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

  #serve(slot: Slot<R>, checked: boolean): void {
    this.#waiters.serve(this.#lend(slot), this.#clock.now(), checked);
  }

  #lend(slot: Slot<R>): Lease<R> {
    const resource = slot.resource as R;
    this.#used = true;
    this.#slots.move(slot, "leased");
    slot.uses++;
    slot.acquiredAt = this.#clock.now();
    slot.lease = new Lease(resource, this.#settings.name, (lease, discard) => this.#release(slot, lease, discard));
    this.#counters.acquired++;
    const { lease } = slot;
    this.#outbox.post(() => this.#listener.acquired(resource));
    return lease;
  }

  #dialAsWanted(): void {
    while (this.#dialsWanted() > 0 && this.#mayDial()) this.#dial();
  }

  #dialsWanted(): number {
    const { minIdle } = this.#settings;
    const spare = this.#used && this.#state === "open" ? Math.max(0, minIdle - this.idle) : 0;
    return Math.max(0, this.#waiters.size - this.#slots.promising) + spare - this.#slots.connecting;
  }

  #mayDial(): boolean {
    const { maxOpen, maxConnecting } = this.#settings;
    if (this.#slots.size >= maxOpen) return false;
    // While the far end refuses, one probe at a time is enough to learn that it is back.
    if (this.#slots.connecting >= (this.#backoff.failing ? 1 : maxConnecting)) return false;
    if (this.#clock.now() >= this.#backoff.nextAt) return true;
    this.#alarm.atLatest(this.#backoff.nextAt);
    return false;
  }

  // ---- The life of a slot --------------------------------------------------------------------------------------------

  #dial(): void {
    const slot = this.#slots.open();
    const startedAt = this.#clock.now();
    this.#setDeadline(slot, this.#settings.createTimeoutMs);
    this.#factory
      .create(slot.dialing.signal, (error) => this.#lost(slot, error))
      .then(
        (resource) => {
          this.#dialed(slot, resource, startedAt);
          this.#pump();
        },
        (error: unknown) => {
          this.#dialFailed(slot, error);
          this.#pump();
        },
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
    this.#outbox.post(() => this.#listener.created(resource));
    this.#offer(slot);
  }

  #dialFailed(slot: Slot<R>, error: unknown): void {
    if (slot.state === "gone") return;
    this.#abandonDial(slot);
    this.#counters.createErrors++;
    this.#backoff.failed(error, this.#clock.now());
    this.#outbox.post(() => this.#listener.createFailed(error));
    // As long as something is open or on its way, waiting is worth while. Otherwise the waiters learn why at once.
    if (this.#slots.size === 0) {
      this.#waiters.refuseAll(() => couldNotConnect(this.#settings.name, error), this.#clock.now());
    }
  }

  /** A resource that has just proved itself goes to whoever has waited longest, without a further check. */
  #offer(slot: Slot<R>): void {
    const { firstSince } = this.#waiters;
    if (firstSince === undefined) return this.#makeIdle(slot);
    const checked = slot.state === "validating" && !slot.doubtful && slot.idleSince <= firstSince;
    this.#serve(slot, checked);
  }

  #makeIdle(slot: Slot<R>): void {
    this.#slots.move(slot, "idle");
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
    this.#slots.move(slot, "validating");
    this.#counters.validations++;
    this.#setDeadline(slot, Math.min(DOUBT_AFTER_MS, this.#settings.validateTimeoutMs));
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
    this.#outbox.post(() => this.#listener.released(resource, discard));
    // Otherwise it died meanwhile, and was counted as released then.
    if (slot.lease === lease) {
      const verdict = discard ? "broken" : this.#reset(resource);
      if (typeof verdict === "string") {
        this.#returned(slot, verdict);
      } else {
        this.#slots.move(slot, "resetting");
        this.#setDeadline(slot, this.#settings.resetTimeoutMs);
        const done = (outcome: Verdict): void => {
          if (slot.state === "resetting") this.#returned(slot, outcome);
          this.#pump();
        };
        verdict.then(done, () => done("broken"));
      }
    }
    this.#pump();
  }

  #reset(resource: R): Verdict | Promise<Verdict> {
    try {
      return this.#factory.reset(resource);
    } catch {
      return "broken";
    }
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
    if (!held) this.#outbox.post(() => this.#listener.idleLost(slot.resource as R, error));
    this.#pump();
  }

  #remove(slot: Slot<R>, reason: RemovalReason): void {
    if (slot.state === "idle") this.#idle.remove(slot);
    const hard = reason === "broken" || reason === "dirty" || this.#state === "closed";
    const resource = slot.resource as R;
    this.#slots.move(slot, "gone");
    this.#counters.closed(reason);
    this.#sayGoodbye(resource, hard);
    this.#outbox.post(() => this.#listener.removed(resource, reason));
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
    this.#waiters.expire(now, (waitedMs) => this.#timeoutError(waitedMs, now));
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
    const { createTimeoutMs, validateAfterIdleMs, validateTimeoutMs } = this.#settings;
    if (slot.state === "validating" && !slot.doubtful && validateTimeoutMs > DOUBT_AFTER_MS) {
      this.#slots.doubt(slot);
      this.#setDeadline(slot, validateTimeoutMs - DOUBT_AFTER_MS);
    } else if (slot.state === "connecting") {
      this.#dialFailed(slot, new Error(`no connection within ${createTimeoutMs} ms (connectTimeoutMs)`));
    } else if (slot.state === "resetting") {
      this.#endLease(slot);
      this.#remove(slot, "dirty");
    } else if (slot.state === "validating") {
      this.#remove(slot, "broken");
      // Silence means that the path is gone, for the others as well, unless they were heard of since the check began.
      // Trying them one after another, each up to its deadline, would cost the waiter more than a new connection.
      const now = this.#clock.now();
      const unheardSince = now - Math.max(validateTimeoutMs, validateAfterIdleMs);
      for (const other of this.#slots) {
        if (other.state === "idle" && other.idleSince < unheardSince) this.#remove(other, "broken");
      }
    }
  }

  #nextDue(): number {
    const { minIdle, maxIdleTimeMs } = this.#settings;
    let due = Math.min(
      this.#waiters.nextDeadline(),
      this.#idle.trimAt,
      this.#state === "draining" ? (this.#closing?.deadline ?? Infinity) : Infinity,
    );
    for (const slot of this.#slots) {
      due = Math.min(due, slot.deadline);
      if (slot.state === "idle") due = Math.min(due, slot.expiresAt);
    }
    const { oldest } = this.#idle;
    if (oldest !== undefined && this.#idle.size > minIdle) due = Math.min(due, oldest.idleSince + maxIdleTimeMs);
    return due;
  }

  // ---- The end -------------------------------------------------------------------------------------------------------

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
    const closing = this.#closing as Closing<R>;
    const now = this.#clock.now();
    closing.rejectedWaiters = this.#waiters.refuseAll(() => poolClosed(this.#settings.name), now);
    for (const slot of this.#slots) {
      if (slot.state === "connecting") {
        this.#abandonDial(slot);
        continue;
      }
      if (slot.lease !== undefined) {
        closing.killed.push({ resource: slot.resource as R, heldMs: now - slot.acquiredAt });
        this.#endLease(slot);
      }
      this.#remove(slot, "pool_closed");
    }
    this.#finish();
  }

  #finish(): void {
    this.#state = "closed";
    this.#alarm.cancel();
    this.#alarm.keepAlive(false);
    this.#closing?.finish();
  }

  #abandonDial(slot: Slot<R>): void {
    this.#slots.move(slot, "gone");
    slot.dialing.abort();
  }

  #gauges(): PoolGauges {
    const { inUse, idle, connecting, waiting: pending } = this;
    return { max: this.#settings.maxOpen, inUse, idle, connecting, pending };
  }

  #timeoutError(waitedMs: number, now: number): Error {
    const oldestLeaseMs = this.#slots.oldestLeaseMs(now);
    const { lastError: connectError } = this.#backoff;
    return timedOut(this.#settings.name, waitedMs, this.#gauges(), { connectError, oldestLeaseMs });
  }
}
