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
 * - Exclusive and shared acquires stand in one line. Sharing is what happens while there is no free resource: holders
 *   beyond the first of a resource count as demand for more, and an exclusive waiter at the head ends all joining, so
 *   that a resource drains for it.
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
import type {
  AcquireLimits,
  CloseOutcome,
  PoolListener,
  ResourceFactory,
  ResourcePoolSettings,
  Verdict,
} from "./resource.ts";
import { Lease, type Lender, type Slot } from "./slot.ts";
import { SlotTable, isInUse } from "./slot-table.ts";
import { WaitingLine } from "./waiting-line.ts";

const LIFETIME_JITTER = 0.1;
/** A check that is silent for so long is no longer counted on: a dial begins beside it. */
const DOUBT_AFTER_MS = 250;

export class ResourcePool<R> implements Lender<R> {
  readonly #settings: ResourcePoolSettings;
  readonly #factory: ResourceFactory<R>;
  readonly #clock: Clock;
  readonly #alarm: Alarm;
  readonly #counters: PoolCounters = new PoolCounters();
  readonly #waiters: WaitingLine<Lease<R>>;
  readonly #outbox: Outbox<R>;
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
    this.#clock = settings.clock;
    this.#outbox = new Outbox(listener);
    this.#waiters = new WaitingLine(
      this.#counters,
      () => this.#clock.now(),
      () => this.#pump(this.#clock.now()),
    );
    this.#idle = new IdleList(settings.maxIdle, settings.maxIdleTrimDelayMs);
    this.#backoff = new DialBackoff(settings.random);
    this.#alarm = new Alarm(settings.clock, settings.timers, () => this.#tick());
  }

  get name(): string {
    return this.#settings.name;
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
    return this.#takeNow(false);
  }

  /** As `take()`, but others may hold the resource at the same time, if they asked for a shared one too. */
  takeShared(): Lease<R> | undefined {
    return this.#takeNow(true);
  }

  /**
   * A resource, in the order of asking. `timeoutMs` (the pool's `acquireTimeoutMs` by default) covers the queue, the
   * dial and the check together. Rejects with the signal's reason when it is aborted.
   */
  acquire(limits: AcquireLimits = {}): Promise<Lease<R>> {
    return this.#acquire(false, limits);
  }

  /** As `acquire()`, but others may hold the resource at the same time, if they asked for a shared one too. */
  acquireShared(limits: AcquireLimits = {}): Promise<Lease<R>> {
    return this.#acquire(true, limits);
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
      this.#pump(this.#clock.now());
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

  #acquire(shared: boolean, { signal, timeoutMs = this.#settings.acquireTimeoutMs }: AcquireLimits): Promise<Lease<R>> {
    if (signal?.aborted) {
      this.#counters.canceled++;
      return Promise.reject(signal.reason);
    }
    const { name, maxOpen, maxWaiting } = this.#settings;
    if (this.#state !== "open") return Promise.reject(poolClosed(name));
    const now = this.#clock.now();
    // Nobody is told of anything before this acquire has its place: a listener that acquires comes after it.
    const lease = this.#take(shared, now);
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
    const joined = this.#waiters.join({ since: now, timeoutMs, shared, signal });
    this.#alarm.atLatest(now + timeoutMs);
    this.#pump(now);
    return joined;
  }

  #takeNow(shared: boolean): Lease<R> | undefined {
    if (this.#state !== "open" || this.#waiters.size > 0) return undefined;
    const lease = this.#take(shared, this.#clock.now());
    this.#outbox.deliver();
    return lease;
  }

  /** For a newcomer. */
  #take(shared: boolean, now: number): Lease<R> | undefined {
    if (this.#waiters.size > 0) return undefined;
    const lease = this.#lendNow(shared, now);
    if (lease !== undefined && (this.#slots.shared.joined > 0 || this.#settings.minIdle > 0)) this.#getMore(now);
    return lease;
  }

  /** Hands what there is to waiters, and gets more on the way while it is wanted. Called after every change. */
  #pump(now: number): void {
    for (;;) {
      const { first } = this.#waiters;
      const lease = first === undefined ? undefined : this.#lendNow(first.shared, now);
      if (lease === undefined) break;
      this.#waiters.serve(lease, now, false);
    }
    this.#getMore(now);
    this.#alarm.keepAlive(this.#waiters.size > 0 || this.#state === "draining");
    if (this.#state === "draining" && this.#waiters.size === 0) this.#drain();
    this.#outbox.deliver();
  }

  /** A free resource, else, for those who are content with it, a share of one. */
  #lendNow(shared: boolean, now: number): Lease<R> | undefined {
    const slot = this.#takeIdle(now);
    if (slot !== undefined) return this.#lend(slot, shared, now);
    return shared ? this.#join(now) : undefined;
  }

  /** The most recently used free slot, if it can be lent without a check. */
  #takeIdle(now: number): Slot<R> | undefined {
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

  /** To its only or first holder. */
  #lend(slot: Slot<R>, shared: boolean, now: number): Lease<R> {
    const resource = slot.resource as R;
    this.#used = true;
    this.#slots.move(slot, shared ? "shared" : "leased");
    slot.holders = 1;
    slot.uses++;
    slot.acquiredAt = now;
    slot.turnSince = now;
    this.#counters.acquired++;
    this.#outbox.post("acquired", resource);
    return new Lease(slot, resource);
  }

  /** A share of what others have already. */
  #join(now: number): Lease<R> | undefined {
    for (;;) {
      const slot = this.#slots.shared.roomiest(now, this.#settings);
      if (slot === undefined) return undefined;
      const resource = slot.resource as R;
      if (this.#factory.isAlive(resource)) {
        this.#slots.shared.join(slot);
        slot.uses++;
        this.#counters.pipelined++;
        return new Lease(slot, resource);
      }
      // Its holders will learn of it; nobody else shall.
      slot.condemned = true;
    }
  }

  /** Checks and dials for those who wait, and for those who would not have to share. */
  #getMore(now: number): void {
    const { maxOpen, minIdle } = this.#settings;
    if (this.#waiters.size === 0 && this.#slots.shared.joined === 0 && minIdle === 0) return;
    if (this.#slots.size >= maxOpen && this.#idle.size === 0) return;
    // Silence makes the other unused ones suspect as well: then dials come first, and checks only where there is no
    // room for one.
    if (this.#slots.doubtful > 0) this.#dialAsWanted(now);
    const dialing = this.#slots.doubtful > 0 ? this.#slots.connecting : 0;
    while (this.#demand(now) > this.#slots.promising + dialing && this.#idle.size > this.#ready(now)) {
      this.#validate(this.#idle.pop() as Slot<R>, now);
    }
    this.#dialAsWanted(now);
  }

  #dialAsWanted(now: number): void {
    while (this.#dialsWanted(now) > 0 && this.#mayDial(now)) this.#dial(now);
  }

  #dialsWanted(now: number): number {
    const { minIdle } = this.#settings;
    const spare = this.#used && this.#state === "open" ? Math.max(0, minIdle - this.idle) : 0;
    return Math.max(0, this.#demand(now) - this.#slots.promising) + spare - this.#slots.connecting;
  }

  /** How many resources are wanted beyond those that can be had without a check or a dial. */
  #demand(now: number): number {
    const { joined } = this.#slots.shared;
    if (joined === 0 || this.#state !== "open") return this.#waiters.size;
    // What those who share had lacked is there for the next ones; they themselves stay where they are.
    return this.#waiters.size + Math.max(0, joined - this.#ready(now));
  }

  /** How many free resources can be had without a check: all, or none if even the newest needs one. */
  #ready(now: number): number {
    const { newest } = this.#idle;
    if (newest === undefined || now - newest.idleSince > this.#settings.validateAfterIdleMs) return 0;
    return this.#idle.size;
  }

  #mayDial(now: number): boolean {
    const { maxOpen, maxConnecting } = this.#settings;
    if (this.#slots.size >= maxOpen) return false;
    // While the far end refuses, one probe at a time is enough to learn that it is back.
    if (this.#slots.connecting >= (this.#backoff.failing ? 1 : maxConnecting)) return false;
    if (now >= this.#backoff.nextAt) return true;
    this.#alarm.atLatest(this.#backoff.nextAt);
    return false;
  }

  // ---- The life of a slot --------------------------------------------------------------------------------------------

  #dial(startedAt: number): void {
    const slot = this.#slots.open(this);
    this.#setDeadline(slot, this.#settings.createTimeoutMs, startedAt);
    this.#factory
      .create(slot.dialing.signal, (error) => this.#lost(slot, error))
      .then(
        (resource) => {
          const now = this.#clock.now();
          this.#dialed(slot, resource, now - startedAt, now);
          this.#pump(now);
        },
        (error: unknown) => {
          const now = this.#clock.now();
          this.#dialFailed(slot, error, now);
          this.#pump(now);
        },
      );
  }

  #dialed(slot: Slot<R>, resource: R, durationMs: number, now: number): void {
    if (slot.state === "gone") return this.#sayGoodbye(resource, true);
    if (!this.#factory.isAlive(resource)) {
      this.#sayGoodbye(resource, true);
      return this.#dialFailed(slot, new Error("the connection ended as soon as it was open"), now);
    }
    this.#backoff.succeeded();
    this.#counters.created(durationMs);
    slot.resource = resource;
    slot.expiresAt = now + this.#settings.maxLifetimeMs * (1 - this.#settings.random() * LIFETIME_JITTER);
    this.#outbox.post("created", resource);
    this.#offer(slot, now);
  }

  #dialFailed(slot: Slot<R>, error: unknown, now: number): void {
    if (slot.state === "gone") return;
    this.#abandonDial(slot);
    this.#counters.createErrors++;
    this.#backoff.failed(error, now);
    this.#outbox.post("createFailed", error);
    // As long as something is open or on its way, waiting is worth while. Otherwise the waiters learn why at once.
    if (this.#slots.size === 0) {
      this.#waiters.refuseAll(() => couldNotConnect(this.#settings.name, error), now);
    }
  }

  /** A resource that has just proved itself goes to whoever has waited longest, without a further check. */
  #offer(slot: Slot<R>, now: number): void {
    const { first } = this.#waiters;
    if (first === undefined) return this.#makeIdle(slot, now);
    const checked = slot.state === "validating" && !slot.doubtful && slot.idleSince <= first.since;
    this.#waiters.serve(this.#lend(slot, first.shared, now), now, checked);
  }

  #makeIdle(slot: Slot<R>, now: number): void {
    this.#slots.move(slot, "idle");
    slot.idleSince = now;
    this.#idle.push(slot, now);
    if (this.#idle.trimAt <= now) this.#trim(now);
    this.#alarm.atLatest(Math.min(slot.expiresAt, now + this.#settings.maxIdleTimeMs, this.#idle.trimAt));
  }

  #trim(now: number): void {
    for (const slot of this.#idle.surplus(now)) this.#remove(slot, "max_idle");
  }

  #validate(slot: Slot<R>, startedAt: number): void {
    this.#slots.move(slot, "validating");
    this.#counters.validations++;
    this.#setDeadline(slot, Math.min(DOUBT_AFTER_MS, this.#settings.validateTimeoutMs), startedAt);
    const done = (ok: boolean): void => {
      if (slot.state !== "validating") return;
      const now = this.#clock.now();
      if (ok && this.#factory.isAlive(slot.resource as R)) this.#offer(slot, now);
      else this.#remove(slot, "broken");
      this.#pump(now);
    };
    this.#factory.validate(slot.resource as R).then(done, () => done(false));
  }

  /** Called by leases. */
  takeBack(slot: Slot<R>, discard: unknown): void {
    const now = this.#clock.now();
    slot.holders--;
    if (discard) slot.condemned ??= discard;
    if (slot.holders === 0) this.#release(slot, discard, now);
    else if (slot.state === "shared") this.#slots.shared.leave(slot, now);
    this.#pump(now);
  }

  /** The last holder has let go. */
  #release(slot: Slot<R>, discard: unknown, now: number): void {
    const resource = slot.resource as R;
    this.#outbox.post("released", resource, slot.condemned ?? discard);
    // It died meanwhile, and was counted as released then.
    if (slot.state === "gone") return;
    // Also for a reset without I/O: it may reach a logger, which may call the pool, which must not share this one.
    this.#slots.move(slot, "resetting");
    const verdict = slot.condemned === undefined ? this.#reset(resource) : "broken";
    if (typeof verdict === "string") return this.#returned(slot, verdict, now);
    this.#setDeadline(slot, this.#settings.resetTimeoutMs, now);
    const done = (outcome: Verdict): void => {
      if (slot.state !== "resetting") return;
      const doneAt = this.#clock.now();
      this.#returned(slot, outcome, doneAt);
      this.#pump(doneAt);
    };
    verdict.then(done, () => done("broken"));
  }

  #reset(resource: R): Verdict | Promise<Verdict> {
    try {
      return this.#factory.reset(resource);
    } catch {
      return "broken";
    }
  }

  /** Ends the checkout of a slot whose resource has come back, and decides whether to keep it. */
  #returned(slot: Slot<R>, verdict: Verdict, now: number): void {
    this.#counters.used(now - slot.acquiredAt);
    if (verdict !== "clean") this.#remove(slot, verdict);
    else if (slot.expiresAt <= now) this.#remove(slot, "max_lifetime");
    else if (slot.uses >= this.#settings.maxUses) this.#remove(slot, "max_uses");
    else this.#offer(slot, now);
  }

  /** The resource ended by itself. */
  #lost(slot: Slot<R>, error: Error): void {
    // A dial that was cut rejects, or its resource is found dead; either way it is handled there.
    if (slot.state === "gone" || slot.state === "connecting") return;
    const now = this.#clock.now();
    const held = isInUse(slot);
    if (held) this.#counters.used(now - slot.acquiredAt);
    this.#remove(slot, "broken");
    if (!held) this.#outbox.post("idleLost", slot.resource, error);
    this.#pump(now);
  }

  /** Of a slot that is in use, the use must have been counted. Leases of it are void from here on. */
  #remove(slot: Slot<R>, reason: RemovalReason): void {
    if (slot.state === "idle") this.#idle.remove(slot);
    const hard = reason === "broken" || reason === "dirty" || this.#state === "closed";
    const resource = slot.resource as R;
    this.#slots.move(slot, "gone");
    this.#counters.closed(reason);
    this.#sayGoodbye(resource, hard);
    this.#outbox.post("removed", resource, reason);
  }

  #sayGoodbye(resource: R, hard: boolean): void {
    const goodbye = this.#factory.close(resource, hard);
    this.#goodbyes.add(goodbye);
    void goodbye.finally(() => this.#goodbyes.delete(goodbye));
  }

  // ---- Time ----------------------------------------------------------------------------------------------------------

  #setDeadline(slot: Slot<R>, ms: number, now: number): void {
    slot.deadline = now + ms;
    this.#alarm.atLatest(slot.deadline);
  }

  #tick(): void {
    const now = this.#clock.now();
    this.#waiters.expire(now, (waitedMs) => this.#timeoutError(waitedMs, now));
    for (const slot of this.#slots) {
      if (slot.deadline <= now) this.#overdue(slot, now);
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
    this.#pump(now);
    this.#alarm.atLatest(this.#nextDue());
  }

  /** A dial, check or reset that has taken too long. Whatever it still brings is unwanted. */
  #overdue(slot: Slot<R>, now: number): void {
    const { createTimeoutMs, validateAfterIdleMs, validateTimeoutMs } = this.#settings;
    if (slot.state === "validating" && !slot.doubtful && validateTimeoutMs > DOUBT_AFTER_MS) {
      this.#slots.doubt(slot);
      this.#setDeadline(slot, validateTimeoutMs - DOUBT_AFTER_MS, now);
    } else if (slot.state === "connecting") {
      this.#dialFailed(slot, new Error(`no connection within ${createTimeoutMs} ms (connectTimeoutMs)`), now);
    } else if (slot.state === "resetting") {
      this.#counters.used(now - slot.acquiredAt);
      this.#remove(slot, "dirty");
    } else if (slot.state === "validating") {
      this.#remove(slot, "broken");
      // Silence means that the path is gone, for the others as well, unless they were heard of since the check began.
      // Trying them one after another, each up to its deadline, would cost the waiter more than a new connection.
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
      if (isInUse(slot)) {
        const heldMs = now - slot.acquiredAt;
        closing.killed.push({ resource: slot.resource as R, heldMs });
        this.#counters.used(heldMs);
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
