import type pg from "pg";
import type { CloseOutcome } from "./pool/resource.ts";
import { processIdOf } from "./protocol/pg-client.ts";

/** What `close()` had to do, in the form of a document. */
export interface CloseReport {
  /** Whether everything came back by itself: nothing was killed, nobody refused. */
  readonly drained: boolean;
  readonly duration_ms: number;
  /** Connections that were still held, or being rolled back after it, at the deadline and were destroyed. */
  readonly killed_connections: number;
  readonly killed: readonly { readonly process_id: number | undefined; readonly held_ms: number }[];
  /** Acquires that were still waiting at the deadline. */
  readonly rejected_waiters: number;
}

export function closeReport({ durationMs, killed, rejectedWaiters }: CloseOutcome<pg.Client>): CloseReport {
  return Object.freeze({
    drained: killed.length === 0 && rejectedWaiters === 0,
    duration_ms: durationMs,
    killed_connections: killed.length,
    killed: killed.map(({ resource, heldMs }) => ({ process_id: processIdOf(resource), held_ms: heldMs })),
    rejected_waiters: rejectedWaiters,
  });
}
