import { DialBackoff } from "./dial-backoff.ts";
import { couldNotConnect } from "./refusals.ts";
import type { Lender, Slot } from "./slot.ts";
import type { Stock } from "./stock.ts";
import type { WaitingLine } from "./waiting-line.ts";

const LIFETIME_JITTER = 0.1;
/** A check that is silent for so long is no longer counted on: a dial begins beside it. */
export const DOUBT_AFTER_MS = 250;

type Line = Pick<WaitingLine<unknown>, "size" | "refuseAll">;

/** What the supply asks of the pool. */
interface Customer<R> {
  readonly lender: Lender<R>;
  /** This slot's resource has just proved itself: somebody may have it. */
  offer(slot: Slot<R>, now: number): void;
  /** A resource that was open has ended by itself. */
  lost(slot: Slot<R>, error: Error, ended: boolean): void;
  /** Something has changed. */
  pump(now: number): void;
}

/**
 * Gets resources ready, by checks and dials, as many as are wanted: by those who wait, by those who have to share, for
 * `minIdle`, and to warm up. At most `maxConnecting` dials run at a time; the others begin only if they are still wanted then. After
 * a failure one dial at a time probes, with a growing pause between attempts.
 */
export class Supply<R> {
  readonly #stock: Stock<R>;
  readonly #waiters: Line;
  readonly #customer: Customer<R>;
  readonly #backoff: DialBackoff;

  constructor(stock: Stock<R>, waiters: Line, customer: Customer<R>) {
    this.#stock = stock;
    this.#waiters = waiters;
    this.#customer = customer;
    this.#backoff = new DialBackoff(stock.settings.random);
  }

  /** Why the last dial failed; `undefined` when it did not. */
  get lastError(): unknown {
    return this.#backoff.lastError;
  }

  /** Begins the checks and dials that are wanted and allowed. */
  getMore(now: number): void {
    const { slots, idle, settings, warmUps } = this.#stock;
    const { size: waiting } = this.#waiters;
    if (waiting === 0 && slots.shared.joined === 0 && settings.minIdle === 0 && warmUps.size === 0) return;
    if (slots.size >= settings.maxOpen && idle.size === 0) return;
    // Silence makes the other unused ones suspect as well: then dials come first, and checks only where there is no
    // room for one.
    if (slots.doubtful > 0) this.#dialAsWanted(now);
    const dialing = slots.doubtful > 0 ? slots.connecting : 0;
    while (this.#demand(now) > slots.promising + dialing && idle.size > this.#stock.ready(now)) {
      this.#validate(idle.pop() as Slot<R>, now);
    }
    this.#dialAsWanted(now);
  }

  /** How many resources are wanted beyond those that can be had without a check or a dial. */
  #demand(now: number): number {
    const { joined } = this.#stock.slots.shared;
    if (joined === 0 || this.#stock.state !== "open") return this.#waiters.size;
    // What those who share had lacked is there for the next ones; they themselves stay where they are.
    return this.#waiters.size + Math.max(0, joined - this.#stock.ready(now));
  }

  #dialAsWanted(now: number): void {
    while (this.#dialsWanted(now) > 0 && this.#mayDial(now)) this.#dial(now);
  }

  #dialsWanted(now: number): number {
    const { slots, settings, state, used, warmUps } = this.#stock;
    const spare = used && state === "open" ? Math.max(0, settings.minIdle - slots.idle) : 0;
    const wanted = Math.max(0, this.#demand(now) - slots.promising) + spare - slots.connecting;
    return warmUps.size === 0 ? wanted : Math.max(wanted, warmUps.target - slots.size);
  }

  #mayDial(now: number): boolean {
    const { slots, alarm, settings } = this.#stock;
    if (slots.size >= settings.maxOpen) return false;
    // While the far end refuses, one probe at a time is enough to learn that it is back.
    if (slots.connecting >= (this.#backoff.failing ? 1 : settings.maxConnecting)) return false;
    if (now >= this.#backoff.nextAt) return true;
    alarm.atLatest(this.#backoff.nextAt);
    return false;
  }

  #dial(startedAt: number): void {
    const { slots, settings, factory, clock } = this.#stock;
    const customer = this.#customer;
    const slot = slots.open(customer.lender);
    slot.openedAt = startedAt;
    this.#stock.limit(slot, settings.createTimeoutMs, startedAt);
    factory
      .create(slot.dialing.signal, (error, ended = true) => customer.lost(slot, error, ended))
      .then(
        (resource) => {
          const now = clock.now();
          this.#dialed(slot, resource, now - startedAt, now);
          customer.pump(now);
        },
        (error: unknown) => {
          const now = clock.now();
          this.dialFailed(slot, error, now);
          customer.pump(now);
        },
      );
  }

  #dialed(slot: Slot<R>, resource: R, durationMs: number, now: number): void {
    const { factory, counters, outbox, settings } = this.#stock;
    if (slot.state === "gone") return this.#stock.sayGoodbye(resource, true);
    if (!factory.isAlive(resource)) {
      this.#stock.sayGoodbye(resource, true);
      return this.dialFailed(slot, new Error("the connection ended as soon as it was open"), now);
    }
    this.#backoff.succeeded();
    counters.created(durationMs);
    slot.resource = resource;
    slot.openedAt = now;
    slot.lifeShare = 1 - settings.random() * LIFETIME_JITTER;
    slot.expiresAt = now + settings.maxLifetimeMs * slot.lifeShare;
    outbox.post("created", resource, undefined, durationMs);
    this.#customer.offer(slot, now);
  }

  dialFailed(slot: Slot<R>, error: unknown, now: number): void {
    const { slots, counters, outbox, settings, factory, warmUps } = this.#stock;
    if (slot.state === "gone") return;
    this.#stock.abandonDial(slot);
    counters.createErrors++;
    this.#backoff.failed(error, now);
    outbox.post("createFailed", error, undefined, now - slot.openedAt);
    // As long as something is open or on its way, or the far end will have room again, waiting is worth while. Otherwise
    // the waiters learn why at once.
    if (slots.size > 0 || factory.isCapacity?.(error) === true) return;
    this.#waiters.refuseAll(() => couldNotConnect(settings.name, settings.target, error), now);
    warmUps.refuseAll(() => couldNotConnect(settings.name, settings.target, error));
  }

  #validate(slot: Slot<R>, startedAt: number): void {
    const { slots, counters, settings, factory, clock } = this.#stock;
    slots.move(slot, "validating");
    counters.validations++;
    this.#stock.limit(slot, Math.min(DOUBT_AFTER_MS, settings.validateTimeoutMs), startedAt);
    const done = (ok: boolean): void => {
      if (slot.state !== "validating") return;
      const now = clock.now();
      if (ok && factory.isAlive(slot.resource as R)) this.#customer.offer(slot, now);
      else this.#stock.remove(slot, "broken");
      this.#customer.pump(now);
    };
    factory.validate(slot.resource as R).then(done, () => done(false));
  }
}
