import type { Alarm, Clock } from "./alarm.ts";
import { IdleList } from "./idle-list.ts";
import { LeakWatch } from "./leak-watch.ts";
import { Outbox } from "./outbox.ts";
import { PoolCounters, type PoolGauges, type RemovalReason } from "./pool-stats.ts";
import type { PoolListener, ResourceFactory, ResourcePoolSettings } from "./resource.ts";
import { Lease, type Slot } from "./slot.ts";
import { SlotTable, isInUse } from "./slot-table.ts";
import { WarmUps } from "./warm-ups.ts";

/**
 * What a pool has: its slots, and what is done with one of them. Nothing here decides who gets what or what is dialled,
 * and nobody is told of anything before the pool has its outbox delivered.
 */
export class Stock<R> {
  readonly settings: ResourcePoolSettings;
  readonly factory: ResourceFactory<R>;
  readonly clock: Clock;
  readonly alarm: Alarm;
  readonly counters: PoolCounters = new PoolCounters();
  readonly outbox: Outbox<R>;
  readonly slots: SlotTable<R> = new SlotTable();
  readonly idle: IdleList<R>;
  readonly leaks: LeakWatch<R> = new LeakWatch();
  readonly warmUps: WarmUps = new WarmUps();
  /** Goodbyes under way, and whose; the pool's end waits for them. */
  readonly goodbyes: Map<Promise<void>, R> = new Map();
  /** "draining": no more acquires; "closed": nothing is left, or it is being cut. */
  state: "open" | "draining" | "closed" = "open";
  /** `minIdle` is kept from the first acquire on: a pool that nobody uses opens nothing. */
  used = false;

  constructor(settings: ResourcePoolSettings, factory: ResourceFactory<R>, listener: PoolListener<R>, alarm: Alarm) {
    this.settings = settings;
    this.factory = factory;
    this.clock = settings.clock;
    this.alarm = alarm;
    this.outbox = new Outbox(listener);
    this.idle = new IdleList(settings);
  }

  gauges(pending: number): PoolGauges {
    const { inUse, idle, connecting } = this.slots;
    return { max: this.settings.maxOpen, inUse, idle, connecting, pending };
  }

  /** Takes the most recently used free slot off the list, if it can be lent without a check. */
  takeIdle(now: number): Slot<R> | undefined {
    const { maxIdleTimeMs, validateAfterIdleMs, minIdle } = this.settings;
    for (;;) {
      const slot = this.idle.newest;
      if (slot === undefined) return undefined;
      // The alarm may ring late; nobody gets what should have been closed by now.
      if (!this.factory.isAlive(slot.resource as R)) this.remove(slot, "broken");
      else if (slot.expiresAt <= now) this.remove(slot, "max_lifetime");
      else if (slot.idleSince + maxIdleTimeMs <= now && this.idle.size > minIdle) this.remove(slot, "max_idle_time");
      // The slots below it have been idle even longer.
      else if (now - slot.idleSince > validateAfterIdleMs) return undefined;
      else {
        this.idle.pop();
        return slot;
      }
    }
  }

  /** How many free resources can be had without a check: all, or none if even the newest needs one. */
  ready(now: number): number {
    const { newest } = this.idle;
    if (newest === undefined || now - newest.idleSince > this.settings.validateAfterIdleMs) return 0;
    return this.idle.size;
  }

  /** To its only or first holder. */
  lend(slot: Slot<R>, shared: boolean, now: number, askedAt: number): Lease<R> {
    const resource = slot.resource as R;
    this.used = true;
    this.slots.move(slot, shared ? "shared" : "leased");
    slot.holders = 1;
    slot.uses++;
    slot.acquiredAt = now;
    slot.turnSince = now;
    this.counters.acquired++;
    const { outbox } = this;
    if (outbox.listener.acquired !== undefined) outbox.post("acquired", resource, undefined, now - askedAt);
    return new Lease(slot, resource);
  }

  /** A share of what others have already, or `undefined`. */
  join(now: number): Lease<R> | undefined {
    for (;;) {
      const slot = this.slots.shared.roomiest(now, this.settings);
      if (slot === undefined) return undefined;
      const resource = slot.resource as R;
      if (this.factory.isAlive(resource)) {
        this.slots.shared.join(slot);
        slot.uses++;
        this.counters.pipelined++;
        return new Lease(slot, resource);
      }
      // Its holders will learn of it; nobody else shall.
      slot.retired = "broken";
    }
  }

  makeIdle(slot: Slot<R>, now: number): void {
    this.slots.move(slot, "idle");
    slot.idleSince = now;
    this.idle.push(slot, now);
    this.trim(now);
    this.alarm.atLatest(Math.min(slot.expiresAt, now + this.settings.maxIdleTimeMs, this.trimAt));
  }

  /** When there will be something to trim. What a warm-up has opened is not surplus before it is done. */
  get trimAt(): number {
    return this.warmUps.size > 0 ? Infinity : this.idle.trimAt;
  }

  /** Closes what is surplus to `maxIdle`. */
  trim(now: number): void {
    if (this.trimAt > now) return;
    for (const slot of this.idle.surplus(now)) this.remove(slot, "max_idle");
  }

  /** The work of the slot's state (dial, check, reset) is given up after `ms`. */
  limit(slot: Slot<R>, ms: number, now: number): void {
    slot.deadline = now + ms;
    this.alarm.atLatest(slot.deadline);
  }

  /** The slot is free from here on; the leases of what was in it are void. What has `ended` gets no goodbye. */
  remove(slot: Slot<R>, reason: RemovalReason, ended: boolean = reason === "broken" || reason === "dirty"): void {
    if (slot.state === "idle") this.idle.remove(slot);
    const hard = ended || this.state === "closed";
    const resource = slot.resource as R;
    this.slots.move(slot, "gone");
    this.counters.closed(reason);
    this.sayGoodbye(resource, hard);
    this.outbox.post("removed", resource, reason);
  }

  /** As `remove()`, of a slot that is in use: its use ends with it. */
  removeUsed(slot: Slot<R>, reason: RemovalReason, now: number): void {
    this.counters.used(now - slot.acquiredAt);
    this.remove(slot, reason);
  }

  /** Closes it now, or, if it is in use, when it comes back. */
  retire(slot: Slot<R>, reason: RemovalReason): void {
    if (slot.state === "connecting") this.abandonDial(slot);
    else if (isInUse(slot)) slot.retired ??= reason;
    else this.remove(slot, reason);
  }

  abandonDial(slot: Slot<R>): void {
    this.slots.move(slot, "gone");
    slot.dialing.abort();
  }

  sayGoodbye(resource: R, hard: boolean): void {
    const goodbye = this.factory.close(resource, hard);
    this.goodbyes.set(goodbye, resource);
    void goodbye.finally(() => this.goodbyes.delete(goodbye));
  }

  cutGoodbyes(): void {
    for (const resource of this.goodbyes.values()) void this.factory.close(resource, true);
  }
}
