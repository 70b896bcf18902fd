import { channel } from "node:diagnostics_channel";
import type { Channel } from "node:diagnostics_channel";
import type { EvictionReason } from "./evictions.ts";

/** Published to `vg:cache:miss` for each look-up that found no live entry. */
export interface CacheMissMessage {
  readonly cache: string;
  readonly key: unknown;
}

/** Published to `vg:cache:evict` for each value that left. */
export interface CacheEvictMessage {
  readonly cache: string;
  readonly key: unknown;
  readonly value: unknown;
  readonly reason: EvictionReason;
}

/** Published to `vg:cache:load` at the end of each load. */
export interface CacheLoadMessage {
  readonly cache: string;
  readonly keys: readonly unknown[];
  readonly outcome: "ok" | "failed" | "abandoned";
  readonly durationMs: number;
  /** What it failed with. */
  readonly error: unknown;
}

/** A cache publishes to a channel of `node:diagnostics_channel` only while somebody has subscribed to it. */
export const channels: { readonly miss: Channel; readonly evict: Channel; readonly load: Channel } = {
  miss: channel("vg:cache:miss"),
  evict: channel("vg:cache:evict"),
  load: channel("vg:cache:load"),
};
