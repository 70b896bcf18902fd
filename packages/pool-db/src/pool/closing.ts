import type { CloseOutcome } from "./resource.ts";
import { isInUse } from "./slot-table.ts";
import type { Stock } from "./stock.ts";

/** The end of a pool, from `close()` on: until when it may take, and what it had to kill. */
export class Closing<R> {
  readonly deadline: number;
  readonly outcome: Promise<CloseOutcome<R>>;
  readonly #stock: Stock<R>;
  readonly #since: number;
  readonly #killed: CloseOutcome<R>["killed"] = [];
  #rejectedWaiters = 0;
  #isEmpty = false;
  #finish: (() => void) | undefined;

  constructor(stock: Stock<R>, deadlineMs: number) {
    const { clock, goodbyes } = stock;
    const since = clock.now();
    this.#stock = stock;
    this.#since = since;
    this.deadline = since + deadlineMs;
    const finished = new Promise<void>((resolve) => {
      this.#finish = resolve;
    });
    this.outcome = finished.then(async () => {
      await Promise.all(goodbyes.keys());
      return { durationMs: clock.now() - since, killed: this.#killed, rejectedWaiters: this.#rejectedWaiters };
    });
  }

  /** How long it has waited for what was lent. */
  waitedMs(now: number): number {
    return now - this.#since;
  }

  /** Nobody waits: closes whatever is free, and ends when nothing is lent and every goodbye has been said. */
  drain(): void {
    const stock = this.#stock;
    for (const slot of stock.slots) {
      if (slot.state === "connecting") stock.abandonDial(slot);
      else if (slot.state === "idle" || slot.state === "validating") stock.remove(slot, "pool_closed");
    }
    if (stock.slots.size > 0 || this.#isEmpty) return;
    this.#isEmpty = true;
    void Promise.all(stock.goodbyes.keys()).then(() => this.#end());
  }

  /** Closes everything now, whoever holds it. `refuse` rejects those who wait and says how many they were. */
  kill(refuse: (now: number) => number): void {
    const stock = this.#stock;
    if (stock.state === "closed") return;
    stock.state = "closed";
    const now = stock.clock.now();
    this.#rejectedWaiters = refuse(now);
    for (const slot of stock.slots) {
      if (slot.state === "connecting") {
        stock.abandonDial(slot);
      } else if (isInUse(slot)) {
        this.#killed.push({ resource: slot.resource as R, heldMs: now - slot.acquiredAt });
        stock.removeUsed(slot, "pool_closed", now);
      } else {
        stock.remove(slot, "pool_closed");
      }
    }
    stock.cutGoodbyes();
    this.#end();
  }

  #end(): void {
    const { alarm } = this.#stock;
    this.#stock.state = "closed";
    alarm.cancel();
    alarm.keepAlive(false);
    this.#finish?.();
  }
}
