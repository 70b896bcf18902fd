import type { Slot, SlotState } from "./slot.ts";
import type { Stock } from "./stock.ts";
import { DOUBT_AFTER_MS, type Supply } from "./supply.ts";

/** Gives up, in all slots, what has taken too long, closes what has had its time, and reports what is lent for too long. */
export function sweep<R>(stock: Stock<R>, supply: Supply<R>, now: number): void {
  const { slots, idle, settings, leaks, counters, outbox } = stock;
  for (const slot of slots) {
    if (slot.deadline <= now) overdue(stock, supply, slot, now);
    else if (slot.state === "idle" && slot.expiresAt <= now) stock.remove(slot, "max_lifetime");
  }
  for (;;) {
    const { oldest } = idle;
    if (oldest === undefined || idle.size <= settings.minIdle || oldest.idleSince + settings.maxIdleTimeMs > now) break;
    stock.remove(oldest, "max_idle_time");
  }
  stock.trim(now);
  for (const { slot, since, site } of leaks.overdue(now, settings.leakThresholdMs)) {
    counters.leaks++;
    outbox.post("leaked", slot.resource, site, now - since);
  }
}

/** Closes what is over `maxOpen`: dials first, then what is free, then, each when it returns, what is lent. */
export function shrink<R>(stock: Stock<R>): void {
  const { slots, settings } = stock;
  let surplus = slots.size - settings.maxOpen;
  for (const state of SHRINK_ORDER) {
    for (const slot of slots) {
      if (surplus <= 0) return;
      if (slot.state !== state) continue;
      stock.retire(slot, "max_open");
      surplus--;
    }
  }
  // A lease of one's own ends by itself, and is closed if there are too many then. Something shared might never end.
}

const SHRINK_ORDER: readonly SlotState[] = ["connecting", "validating", "idle", "shared"];

/** When `sweep()` will have something to do; `Infinity` when never. */
export function nextSweep<R>({ slots, idle, settings, trimAt, leaks }: Stock<R>): number {
  let due = Math.min(trimAt, leaks.nextDue(settings.leakThresholdMs));
  for (const slot of slots) {
    due = Math.min(due, slot.deadline);
    if (slot.state === "idle") due = Math.min(due, slot.expiresAt);
  }
  const { oldest } = idle;
  const surplus = oldest !== undefined && idle.size > settings.minIdle;
  return surplus ? Math.min(due, oldest.idleSince + settings.maxIdleTimeMs) : due;
}

/** A dial, check or reset that has taken too long. Whatever it still brings is unwanted. */
function overdue<R>(stock: Stock<R>, supply: Supply<R>, slot: Slot<R>, now: number): void {
  const { slots, settings } = stock;
  const { createTimeoutMs, validateAfterIdleMs, validateTimeoutMs } = settings;
  if (slot.state === "validating" && !slot.doubtful && validateTimeoutMs > DOUBT_AFTER_MS) {
    slots.doubt(slot);
    stock.limit(slot, validateTimeoutMs - DOUBT_AFTER_MS, now);
  } else if (slot.state === "connecting") {
    supply.dialFailed(slot, new Error(`no connection within ${createTimeoutMs} ms (connectTimeoutMs)`), now);
  } else if (slot.state === "resetting") {
    stock.removeUsed(slot, "dirty", now);
  } else if (slot.state === "validating") {
    stock.remove(slot, "broken");
    // Silence means that the path is gone, for the others as well, unless they were heard of since the check began.
    // Trying them one after another, each up to its deadline, would cost the waiter more than a new connection.
    const unheardSince = now - Math.max(validateTimeoutMs, validateAfterIdleMs);
    for (const other of slots) {
      if (other.state === "idle" && other.idleSince < unheardSince) stock.remove(other, "broken");
    }
  }
}
