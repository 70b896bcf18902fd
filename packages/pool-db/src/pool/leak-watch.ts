import type { CallSite } from "../call-site.ts";
import type { Lease, Slot } from "./slot.ts";

interface Held<R> {
  readonly slot: Slot<R>;
  readonly since: number;
  readonly site: CallSite;
  reported: boolean;
}

/**
 * The leases that are out, with the places of their acquires, while leaks are looked for; otherwise it is empty. It only
 * reports: a lease may be long on purpose.
 */
export class LeakWatch<R> {
  /** In the order of lending, so the first that was not reported is the first to be due. */
  readonly #held = new Map<Lease<R>, Held<R>>();
  /** Since when those were out that were reported and have ended meanwhile: nothing here keeps them from being forgotten. */
  readonly #ended = new WeakMap<Lease<R>, number>();

  lent(lease: Lease<R>, since: number, site: CallSite): void {
    this.#held.set(lease, { slot: lease.slot, since, site, reported: false });
  }

  /** It has come back. Returns since when it had been out, if that was reported as a leak. */
  returned(lease: Lease<R>): number | undefined {
    const held = this.#held.get(lease);
    if (held === undefined) return this.#ended.get(lease);
    this.#held.delete(lease);
    return held.reported ? held.since : undefined;
  }

  /** Those that are out for longer than `thresholdMs`, each once. */
  *overdue(now: number, thresholdMs: number): Generator<Held<R>, void, undefined> {
    for (const [lease, held] of this.#held) {
      if (held.since + thresholdMs > now) return;
      // What died meanwhile holds no place in the pool any more.
      if (held.slot.state === "gone") {
        this.#held.delete(lease);
        if (held.reported) this.#ended.set(lease, held.since);
      } else if (!held.reported) {
        held.reported = true;
        yield held;
      }
    }
  }

  /** When there will be something overdue. */
  nextDue(thresholdMs: number): number {
    if (thresholdMs === Infinity) return Infinity;
    for (const { since, reported } of this.#held.values()) if (!reported) return since + thresholdMs;
    return Infinity;
  }

  /** Where what this slot holds was acquired. */
  siteOf(slot: Slot<R>): CallSite | undefined {
    for (const held of this.#held.values()) if (held.slot === slot) return held.site;
    return undefined;
  }

  clear(): void {
    this.#held.clear();
  }
}
