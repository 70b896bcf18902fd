export type { CacheDump, CacheDumpEntry } from "./dump.ts";
export {
  CacheCallbackError,
  CacheConfigError,
  CacheDumpError,
  CacheError,
  CacheLoadAbandonedError,
  CacheSizeError,
  CacheTtlError,
} from "./errors.ts";
export { estimateSize } from "./estimate-size.ts";
export type { EvictionReason } from "./evictions.ts";
export type { LoadContext } from "./loading/inflight-loads.ts";
export { LRUCache } from "./lru-cache.ts";
export type { Clock, LoadOptions, LRUCacheOptions, SetOptions } from "./options.ts";
export type { CacheStats } from "./stats.ts";
