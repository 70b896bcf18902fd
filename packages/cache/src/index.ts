export type { CacheEvictMessage, CacheLoadMessage, CacheMissMessage } from "./diagnostics-messages.ts";
export type { CacheDump, CacheDumpEntry } from "./dump.ts";
export {
  CacheCallbackError,
  CacheConfigError,
  CacheDumpError,
  CacheError,
  CacheLoadAbandonedError,
  CacheLoadResultError,
  CacheLoadTimeoutError,
  CacheSizeError,
  CacheTtlError,
} from "./errors.ts";
export { estimateSize } from "./estimate-size.ts";
export type { EvictionReason } from "./evictions.ts";
export type { BatchContext, BatchLoader, LoadContext, Loader, LoadOptions } from "./loading/load-options.ts";
export type { MemoizeOptions } from "./loading/memoize.ts";
export { LRUCache } from "./lru-cache.ts";
export type { Clock, LifetimeOptions, LoadingOptions, LRUCacheOptions, SetOptions } from "./options.ts";
export type { PolicyName } from "./policy/make-policy.ts";
export type { CacheStats } from "./stats.ts";
