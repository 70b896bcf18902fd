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
