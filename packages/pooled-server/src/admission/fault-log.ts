import type { Logger } from "@vg/logging";
import type { FaultReason } from "./client-fault.ts";

/** One line about a kind of fault in so long: who can make lines at will must not fill the log. */
const QUIET_MS = 10_000;

/** Counts what clients do wrong, and says it in the log, each kind at most once in 10 s. */
export class FaultLog {
  readonly counts: Record<FaultReason, number> = {
    malformed: 0,
    headers_too_large: 0,
    slow_head: 0,
    slow_body: 0,
    body_too_large: 0,
    stalled: 0,
    max_requests: 0,
  };
  readonly #logger: Logger;
  readonly #clock: { now(): number };
  readonly #said = new Map<FaultReason, { at: number; count: number }>();

  constructor(logger: Logger, clock: { now(): number }) {
    this.#logger = logger;
    this.#clock = clock;
  }

  add(reason: FaultReason, address: string | undefined, details: Readonly<Record<string, unknown>> = {}): void {
    const count = ++this.counts[reason];
    const now = this.#clock.now();
    const last = this.#said.get(reason);
    if (last !== undefined && now >= last.at && now - last.at < QUIET_MS) return;
    this.#said.set(reason, { at: now, count });
    // How many of this kind there were since the line before, this one included.
    const since = count - (last?.count ?? 0);
    this.#logger.warn("A client's connection was ended", {
      reason,
      client_address: address,
      ...details,
      faults: since,
    });
  }
}
