/** Failures on demand, to show and to test what stands in front of a model that misbehaves. */
import { UpstreamConfigError } from "./errors.ts";

const FAULT_KINDS = ["none", "status", "hang", "slow_first_token", "cut_stream", "malformed_sse", "no_usage"] as const;

/**
 * - `none`: no fault.
 * - `status`: answers `status` at once, without using a slot.
 * - `hang`: takes a slot and never answers; ends when the client leaves or the upstream closes.
 * - `slow_first_token`: waits `delayMs` more before the first token, or the whole answer.
 * - `cut_stream`: breaks the connection in the middle of the answer.
 * - `malformed_sse`: the answer contains JSON that is cut off; then it ends.
 * - `no_usage`: leaves out the token counts.
 */
type FaultKind = (typeof FAULT_KINDS)[number];

export interface Fault {
  kind: FaultKind;
  /** `status` only: the status, 400 to 599; default 500. */
  status?: number;
  /** `status` only: sent as Retry-After; default: none is sent. */
  retryAfterSeconds?: number;
  /** `slow_first_token` only: default 5000. */
  delayMs?: number;
  /** How many requests it hits; default: all, until the next `setFault`. */
  count?: number;
}

/** Which option belongs to which kind, and its range. `count` belongs to all but `none`. */
const RANGES = {
  status: { kind: "status", min: 400, max: 599 },
  retryAfterSeconds: { kind: "status", min: 0, max: 86_400 },
  delayMs: { kind: "slow_first_token", min: 0, max: 2 ** 31 - 1 },
  count: { kind: undefined, min: 1, max: Number.MAX_SAFE_INTEGER },
} as const;

export class FaultPlan {
  #fault: Fault = { kind: "none" };
  #left = Infinity;
  #injected = 0;

  /** How many requests have met a fault. */
  get injected(): number {
    return this.#injected;
  }

  /** @throws UpstreamConfigError for an unknown kind, or an option that is out of range or of another kind */
  set(fault: Fault): void {
    this.#fault = checkFault(fault);
    this.#left = fault.count ?? Infinity;
  }

  /** The fault that the next request meets. */
  take(): Fault {
    if (this.#fault.kind === "none") return this.#fault;
    const fault = this.#fault;
    this.#injected++;
    if (--this.#left === 0) this.#fault = { kind: "none" };
    return fault;
  }
}

function checkFault(fault: Fault): Fault {
  if (!FAULT_KINDS.includes(fault.kind)) {
    throw new UpstreamConfigError(
      `setFault: kind must be one of ${FAULT_KINDS.join(", ")}, got ${JSON.stringify(fault.kind)}.`,
    );
  }
  for (const [name, value] of Object.entries(fault)) {
    if (name === "kind" || value === undefined) continue;
    if (!Object.hasOwn(RANGES, name))
      throw new UpstreamConfigError(`setFault: unknown option ${JSON.stringify(name)}.`);
    const { kind, min, max } = RANGES[name as keyof typeof RANGES];
    if (fault.kind === "none" || (kind !== undefined && fault.kind !== kind)) {
      throw new UpstreamConfigError(`setFault: ${name} has no meaning for kind "${fault.kind}". Leave it out.`);
    }
    if (!Number.isInteger(value) || value < min || value > max) {
      const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`;
      throw new UpstreamConfigError(`setFault: ${name} must be a whole number ${range}, got ${JSON.stringify(value)}.`);
    }
  }
  return { ...fault };
}
