import type { EvictionPolicy, PolicySettings } from "./eviction-policy.ts";
import { LruPolicy } from "./lru.ts";
import { S3FifoPolicy } from "./s3-fifo.ts";
import { SievePolicy } from "./sieve.ts";
import { TinyLfuPolicy } from "./tiny-lfu.ts";

export const POLICY_NAMES = ["lru", "sieve", "s3fifo", "tinylfu"] as const;

export type PolicyName = (typeof POLICY_NAMES)[number];

const POLICIES: Readonly<Record<PolicyName, new (settings: PolicySettings) => EvictionPolicy>> = {
  lru: LruPolicy,
  sieve: SievePolicy,
  s3fifo: S3FifoPolicy,
  tinylfu: TinyLfuPolicy,
};

export function makePolicy(name: PolicyName, settings: PolicySettings): EvictionPolicy {
  return new POLICIES[name](settings);
}
