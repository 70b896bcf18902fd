/**
 * A pool of things that are slow to open: it knows nothing of what they are.
 *
 * - Waiters wait on the pool, not on a dial: whatever becomes free first, a released resource or a new one, goes to the
 *   one who has waited longest. A dial outlives the waiter that caused it, and its resource goes to the next.
 * - Exclusive and shared acquires stand in one line. Sharing is what happens while there is no free resource: holders
 *   beyond the first of a resource count as demand for more, and an exclusive waiter at the head ends all joining, so
 *   that a resource drains for it.
 * - Nothing that a resource or its far end does, or fails to do, costs a slot: every dial, check and reset has a
 *   deadline here, and a slot is free from the moment that the pool has given its resource up.
 * - One timer serves all deadlines, and the path of an acquire that finds a free resource touches no timer at all. Each
 *   operation looks at the clock once and hands the time on.
 * - Listeners are told when the state is whole, so they may call the pool.
 *
 * This file decides who gets what, in `#pump` alone; `SlotTable.move` is the only place that changes a slot's state.
 * Stock holds the slots, Supply dials and checks, sweep() sees to what time ends, Closing to the pool's own end.
 */
import { callSite, type CallSite } from "../call-site.ts";
import { Alarm } from "./alarm.ts";
import { Closing } from "./closing.ts";
import type { DbPoolHistograms, ResourcePoolStats, RemovalReason } from "./pool-stats.ts";
import { closedBeforeServed, notWarm, poolClosed, queueFull, timedOut } from "./refusals.ts";
import type {
  AcquireLimits,
  CloseOutcome,
  PoolLimits,
  PoolListener,
  ResourceFactory,
  ResourcePoolSettings,
  Verdict,
} from "./resource.ts";
import type { Lease, Lender, Slot } from "./slot.ts";
import { isInUse, turnOf } from "./slot-table.ts";
import { Stock } from "./stock.ts";
import { Supply } from "./supply.ts";
import { nextSweep, shrink, sweep } from "./sweep.ts";
import type { WaitRequest } from "./waiter-queue.ts";
import { WaitingLine } from "./waiting-line.ts";

export class ResourcePool<R> implements Lender<R> {
  readonly name: string;
  readonly #stock: Stock<R>;
  readonly #waiters: WaitingLine<Lease<R>>;
  readonly #supply: Supply<R>;
  #closing: Closing<R> | undefined;

  constructor(settings: ResourcePoolSettings, factory: ResourceFactory<R>, listener: PoolListener<R>) {
    const { name, clock, timers } = settings;
    this.name = name;
    const now = (): number => clock.now();
    const alarm = new Alarm(clock, timers, (at) => this.#tick(at));
    this.#stock = new Stock({ ...settings }, factory, listener, alarm);
    this.#waiters = new WaitingLine(this.#stock.counters, now, () => this.#pump(now()));
    this.#supply = new Supply(this.#stock, this.#waiters, {
      lender: this,
      offer: (slot, at) => this.#offer(slot, at),
      lost: (slot, error, ended) => this.#lost(slot, error, ended),
      pump: (at) => this.#pump(at),
    });
  }

  get state(): "open" | "draining" | "closed" {
    return this.#stock.state;
  }

  get waiting(): number {
    return this.#waiters.size;
  }

  get idle(): number {
    return this.#stock.slots.idle;
  }

  get inUse(): number {
    return this.#stock.slots.inUse;
  }

  get connecting(): number {
    return this.#stock.slots.connecting;
  }

  /** Those past their life that are still lent. */
  get expired(): number {
    return this.#stock.slots.expired(this.#stock.clock.now());
  }

  getStats(): ResourcePoolStats {
    return this.#stock.counters.snapshot(this.#stock.gauges(this.waiting));
  }

  histograms(): DbPoolHistograms {
    return this.#stock.counters.histograms();
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
   *
   * Resolves with what `as` makes of the lease, at once; it must not throw. A `then()` instead is one more promise.
   */
  acquire(limits?: AcquireLimits): Promise<Lease<R>>;
  acquire<T>(limits: AcquireLimits, as: (lease: Lease<R>) => T): Promise<T>;
  acquire(limits: AcquireLimits = {}, as?: (lease: Lease<R>) => unknown): Promise<unknown> {
    return this.#acquire(false, limits, as);
  }

  /** As `acquire()`, but others may hold the resource at the same time, if they asked for a shared one too. */
  acquireShared(limits: AcquireLimits = {}): Promise<Lease<R>> {
    return this.#acquire(true, limits) as Promise<Lease<R>>;
  }

  /** Takes effect at once, also for what is open, lent or waiting. What is surplus now and lent is closed as it returns. */
  configure(changes: Partial<PoolLimits>): void {
    const { settings, slots, idle, clock, leaks } = this.#stock;
    const now = clock.now();
    Object.assign(settings, changes);
    if (settings.leakThresholdMs === Infinity) leaks.clear();
    for (const slot of slots) {
      if (slot.resource !== undefined) slot.expiresAt = slot.openedAt + settings.maxLifetimeMs * slot.lifeShare;
    }
    shrink(this.#stock);
    idle.limitsChanged(now);
    this.#tick(now);
  }

  /**
   * Dials until `target` are open, lent ones included, and resolves with how many are; `acquire()`'s limits hold. Once
   * open they are kept as any others are: beyond `maxIdle` not for long.
   */
  warm(target: number, { signal, timeoutMs }: AcquireLimits = {}): Promise<number> {
    const { settings, state, clock, alarm } = this.#stock;
    if (signal?.aborted) return Promise.reject(signal.reason);
    if (state !== "open") return Promise.reject(poolClosed(this.name));
    const now = clock.now();
    this.#stock.used = true;
    const limits = { target, since: now, deadline: now + (timeoutMs ?? settings.acquireTimeoutMs) };
    const warm = this.#stock.warmUps.join(limits, signal, () => this.#tick(clock.now()));
    alarm.atLatest(limits.deadline);
    this.#pump(now);
    return warm;
  }

  /** Closes all that is open now: what is free at once, what is lent when it returns. Dials under way begin anew. */
  reset(): void {
    for (const slot of this.#stock.slots) this.#stock.retire(slot, "reset");
    this.#pump(this.#stock.clock.now());
  }

  /**
   * No more acquires; those that wait already are served. Resolves when everything has come back and is closed, or,
   * after `deadlineMs`, when what was left has been killed.
   */
  close(deadlineMs: number): Promise<CloseOutcome<R>> {
    if (this.#closing === undefined) {
      this.#closing = new Closing(this.#stock, deadlineMs);
      this.#stock.state = "draining";
      this.#stock.warmUps.refuseAll(() => poolClosed(this.name));
      this.#stock.alarm.atLatest(this.#closing.deadline);
      this.#pump(this.#stock.clock.now());
    }
    return this.#closing.outcome;
  }

  /** Closes everything now, whoever holds it. */
  destroy(): Promise<CloseOutcome<R>> {
    const outcome = this.close(Infinity);
    this.#kill(false);
    this.#stock.outbox.deliver();
    return outcome;
  }

  // ---- Who gets what -------------------------------------------------------------------------------------------------

  #takeNow(shared: boolean): Lease<R> | undefined {
    if (this.#stock.state !== "open" || this.#waiters.size > 0) return undefined;
    const lease = this.#take(shared, this.#stock.clock.now(), this.#site());
    this.#stock.outbox.deliver();
    return lease;
  }

  #acquire(shared: boolean, { signal, timeoutMs }: AcquireLimits, as?: (lease: Lease<R>) => unknown): Promise<unknown> {
    const { settings, state, counters, clock, outbox } = this.#stock;
    if (signal?.aborted) {
      counters.canceled++;
      return Promise.reject(signal.reason);
    }
    if (state !== "open") return Promise.reject(poolClosed(this.name));
    const now = clock.now();
    // Nobody is told of anything before this acquire has its place: a listener that acquires comes after it.
    const site = this.#site();
    const lease = this.#take(shared, now, site);
    if (lease !== undefined) {
      outbox.deliver();
      return Promise.resolve(as === undefined ? lease : as(lease));
    }
    // Whoever will be served by free capacity stands in the line too, for the time of a dial; the bound is for the rest.
    if (this.#waiters.size >= settings.maxWaiting + Math.max(0, settings.maxOpen - this.inUse)) {
      counters.rejected++;
      const refusal = queueFull(this.name, settings.maxWaiting, this.#stock.gauges(this.waiting));
      outbox.post("refused", refusal);
      outbox.deliver();
      return Promise.reject(refusal);
    }
    this.#stock.used = true;
    const deadline = now + (timeoutMs ?? settings.acquireTimeoutMs);
    const limitedBy = timeoutMs === undefined ? "acquireTimeoutMs" : "timeoutMs";
    const joined = this.#waiters.join({ since: now, deadline, limitedBy, shared, site, signal }, as);
    this.#stock.alarm.atLatest(deadline);
    this.#pump(now);
    return joined;
  }

  /** For a newcomer. */
  #take(shared: boolean, now: number, site: CallSite | undefined): Lease<R> | undefined {
    if (this.#waiters.size > 0) return undefined;
    const lease = this.#lendNow(shared, now, now);
    if (lease === undefined) return undefined;
    if (site !== undefined) this.#watch(lease, now, site);
    this.#supply.getMore(now);
    return lease;
  }

  #serve(lease: Lease<R>, now: number, checked: boolean): void {
    const site = this.#waiters.first?.site;
    if (site !== undefined) this.#watch(lease, now, site);
    this.#waiters.serve(lease, now, checked);
  }

  /** Where the acquire that is under way was asked for, if that may be wanted. */
  #site(): CallSite | undefined {
    return this.#stock.settings.leakThresholdMs === Infinity ? undefined : callSite();
  }

  #watch(lease: Lease<R>, now: number, site: CallSite): void {
    this.#stock.leaks.lent(lease, now, site);
    this.#stock.alarm.atLatest(now + this.#stock.settings.leakThresholdMs);
  }

  /** Hands what there is to waiters, and gets more on the way while it is wanted. Called after every change. */
  #pump(now: number): void {
    const { alarm, state, outbox, warmUps } = this.#stock;
    for (;;) {
      const { first } = this.#waiters;
      const lease = first === undefined ? undefined : this.#lendNow(first.shared, now, first.since);
      if (lease === undefined) break;
      this.#serve(lease, now, false);
    }
    if (warmUps.size > 0) this.#settleWarmUps(now);
    this.#supply.getMore(now);
    alarm.keepAlive(this.#waiters.size > 0 || warmUps.size > 0 || state === "draining");
    if (state === "draining" && this.#waiters.size === 0) this.#closing?.drain();
    outbox.deliver();
  }

  #settleWarmUps(now: number): void {
    const { warmUps, idle, alarm, settings } = this.#stock;
    warmUps.settle(this.idle + this.inUse, settings.maxOpen);
    if (warmUps.size > 0) return;
    idle.limitsChanged(now);
    alarm.atLatest(idle.trimAt);
  }

  /** A free resource, else, for those who are content with it, a share of one. */
  #lendNow(shared: boolean, now: number, askedAt: number): Lease<R> | undefined {
    const slot = this.#stock.takeIdle(now);
    if (slot !== undefined) return this.#stock.lend(slot, shared, now, askedAt);
    return shared ? this.#stock.join(now) : undefined;
  }

  /** A resource that has just proved itself goes to whoever has waited longest, without a further check. */
  #offer(slot: Slot<R>, now: number): void {
    const { first } = this.#waiters;
    if (first === undefined) return this.#stock.makeIdle(slot, now);
    const checked = slot.state === "validating" && !slot.doubtful && slot.idleSince <= first.since;
    this.#serve(this.#stock.lend(slot, first.shared, now, first.since), now, checked);
  }

  // ---- What comes back -----------------------------------------------------------------------------------------------

  /** Called by leases. */
  takeBack(lease: Lease<R>, discard: unknown): void {
    const { clock, leaks, outbox } = this.#stock;
    const { slot } = lease;
    const now = clock.now();
    const leakedSince = leaks.returned(lease);
    if (leakedSince !== undefined) outbox.post("leakReturned", slot.resource, slot.state === "gone", now - leakedSince);
    slot.holders--;
    if (discard) {
      slot.retired = "broken";
      slot.discard ??= discard;
    }
    if (slot.holders === 0) this.#release(slot, discard, now);
    else if (slot.state === "shared") this.#stock.slots.shared.leave(slot, now);
    this.#pump(now);
  }

  /** The last holder has let go. */
  #release(slot: Slot<R>, discard: unknown, now: number): void {
    const { slots, outbox, clock, settings } = this.#stock;
    if (outbox.listener.released !== undefined) {
      outbox.post("released", slot.resource, slot.discard ?? discard, now - slot.acquiredAt);
    }
    // It died meanwhile, and was counted as released then.
    if (slot.state === "gone") return;
    // Also for a reset without I/O: it may reach a logger, which may call the pool, which must not share this one.
    slots.move(slot, "resetting");
    const verdict = slot.retired ?? this.#clean(slot.resource as R);
    if (typeof verdict === "string") return this.#returned(slot, verdict, now);
    this.#stock.limit(slot, settings.resetTimeoutMs, now);
    const done = (outcome: Verdict): void => {
      if (slot.state !== "resetting") return;
      const doneAt = clock.now();
      this.#returned(slot, outcome, doneAt);
      this.#pump(doneAt);
    };
    verdict.then(done, () => done("broken"));
  }

  #clean(resource: R): Verdict | Promise<Verdict> {
    try {
      return this.#stock.factory.reset(resource);
    } catch {
      return "broken";
    }
  }

  /** Its resource has come back, and is kept or closed. */
  #returned(slot: Slot<R>, verdict: Verdict | RemovalReason, now: number): void {
    const reason = verdict === "clean" ? this.#reasonToClose(slot, now) : verdict;
    if (reason !== undefined) return this.#stock.removeUsed(slot, reason, now);
    this.#stock.counters.used(now - slot.acquiredAt);
    this.#offer(slot, now);
  }

  #reasonToClose({ retired, expiresAt, uses }: Slot<R>, now: number): RemovalReason | undefined {
    const { slots, settings } = this.#stock;
    if (retired !== undefined) return retired;
    if (expiresAt <= now) return "max_lifetime";
    if (uses >= settings.maxUses) return "max_uses";
    return slots.size > settings.maxOpen ? "max_open" : undefined;
  }

  /** The resource ended by itself, or is about to. */
  #lost(slot: Slot<R>, error: Error, ended: boolean): void {
    // A dial that was cut rejects, or its resource is found dead; either way it is handled there.
    if (slot.state === "gone" || slot.state === "connecting") return;
    const held = slot.state === "leased" || slot.state === "shared";
    // Whoever holds it may still have answers to read.
    if (held && !ended) return;
    const { clock, outbox, counters } = this.#stock;
    const now = clock.now();
    if (isInUse(slot)) counters.used(now - slot.acquiredAt);
    this.#stock.remove(slot, "broken", ended);
    outbox.post(held ? "lentLost" : "idleLost", slot.resource, error, held ? now - slot.acquiredAt : undefined);
    this.#pump(now);
  }

  // ---- Time and the end ----------------------------------------------------------------------------------------------

  #tick(now: number): void {
    const stock = this.#stock;
    this.#waiters.expire(now, (waiter) => this.#timeoutError(waiter, now));
    this.#stock.warmUps.expire(now, (target, waitedMs) => this.#notWarm(target, waitedMs));
    sweep(stock, this.#supply, now);
    if (stock.state === "draining" && this.#closingDeadline <= now) this.#kill(true);
    this.#pump(now);
    const end = stock.state === "draining" ? this.#closingDeadline : Infinity;
    const waits = Math.min(this.#waiters.nextDeadline(), this.#stock.warmUps.nextDeadline());
    stock.alarm.atLatest(Math.min(waits, nextSweep(stock), end));
  }

  get #closingDeadline(): number {
    return this.#closing?.deadline ?? Infinity;
  }

  #kill(deadlinePassed: boolean): void {
    const closing = this.#closing;
    closing?.kill((now) => {
      const waitedMs = deadlinePassed ? closing.waitedMs(now) : undefined;
      return this.#waiters.refuseAll(() => closedBeforeServed(this.name, waitedMs), now);
    });
  }

  #notWarm(target: number, waitedMs: number): Error {
    return notWarm(this.name, target, waitedMs, this.#stock.gauges(this.waiting), this.#supply.lastError);
  }

  #timeoutError(
    { since, deadline, limitedBy }: Pick<WaitRequest, "since" | "deadline" | "limitedBy">,
    now: number,
  ): Error {
    const { slots, leaks, outbox } = this.#stock;
    const slot = slots.oldestLent;
    const oldest = slot === undefined ? undefined : { heldMs: now - turnOf(slot), site: leaks.siteOf(slot) };
    const { lastError: connectError } = this.#supply;
    const waitedMs = now - since;
    const limit = { name: limitedBy, ms: deadline - since };
    const error = timedOut(this.name, waitedMs, limit, this.#stock.gauges(this.waiting), { connectError, oldest });
    outbox.post("timedOut", error, undefined, waitedMs);
    return error;
  }
}
