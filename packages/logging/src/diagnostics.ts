import { channel } from "node:diagnostics_channel";
import type { Channel } from "node:diagnostics_channel";

/**
 * Published to `vg:logging:dropped` when a logger's destination has begun to lose lines, and again when it takes lines
 * and the loss is reported in the log. Not for each line: `getStats()` counts those.
 */
export interface LogDroppedMessage {
  readonly state: "dropping" | "reported";
  /** The lines of this logger that were lost since, by level; while `dropping`, the first of them. */
  readonly dropped: Readonly<Record<string, number>>;
  /** When the first was lost, in milliseconds since 1970. */
  readonly since: number;
  /** The system's code, as "ENOSPC"; "closed" after `close`. */
  readonly reason: string;
}

/** A logger publishes to a channel of `node:diagnostics_channel` only while somebody has subscribed to it. */
export const channels: { readonly dropped: Channel } = { dropped: channel("vg:logging:dropped") };
