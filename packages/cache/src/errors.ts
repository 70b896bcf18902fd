/** The base of all errors of this package; `code` tells them apart, across copies of the package too. */
export class CacheError extends Error {
  override name = "CacheError";
  readonly code: string = "ERR_VG_CACHE";
}

/**
 * An option, of the constructor or of a call, is out of range, of the wrong type, or unknown, or the clock gave no finite
 * number. Nothing was constructed or changed.
 */
export class CacheConfigError extends CacheError {
  override name = "CacheConfigError";
  override readonly code = "ERR_VG_CACHE_CONFIG";
}

/** A TTL that is no number of milliseconds of at least 0. Nothing was stored or changed. */
export class CacheTtlError extends CacheError {
  override name = "CacheTtlError";
  override readonly code = "ERR_VG_CACHE_TTL";
}

/** A size, from `sizeBytes` or from `sizeOf`, that is no whole number of at least 0. Nothing was stored or changed. */
export class CacheSizeError extends CacheError {
  override name = "CacheSizeError";
  override readonly code = "ERR_VG_CACHE_SIZE";
}

/** `load()` was given something that no `dump()` of a known version made. Nothing was loaded. */
export class CacheDumpError extends CacheError {
  override name = "CacheDumpError";
  override readonly code = "ERR_VG_CACHE_DUMP";
}

/** `onEvict` (or `onError`) threw or rejected; `cause` is what it threw. The cache itself is unharmed. */
export class CacheCallbackError extends CacheError {
  override name = "CacheCallbackError";
  override readonly code = "ERR_VG_CACHE_CALLBACK";
}

/** The reason of a loader's `signal` when the last caller that waited for it has left; `cause` is that caller's reason. */
export class CacheLoadAbandonedError extends CacheError {
  override name = "CacheLoadAbandonedError";
  override readonly code = "ERR_VG_CACHE_LOAD_ABANDONED";
}

/** A load took longer than `loadTimeoutMs`. It was aborted; what it gives later is dropped. */
export class CacheLoadTimeoutError extends CacheError {
  override name = "CacheLoadTimeoutError";
  override readonly code = "ERR_VG_CACHE_LOAD_TIMEOUT";
}

/** The loader of `getManyOrLoad` gave neither a Map nor an array with a value for each key. Nothing was stored. */
export class CacheLoadResultError extends CacheError {
  override name = "CacheLoadResultError";
  override readonly code = "ERR_VG_CACHE_LOAD_RESULT";
}
