/** The base of what the embedded upstream throws at whoever starts it. Clients get `ApiError` bodies instead. */
abstract class UpstreamError extends Error {
  abstract readonly code: string;
}

/** An option, an argument or an environment variable is wrong. */
export class UpstreamConfigError extends UpstreamError {
  readonly code = "ERR_VG_UPSTREAM_CONFIG";
  override name = "UpstreamConfigError";
}

/** The server could not listen, or its process ended before it was ready. */
export class UpstreamStartError extends UpstreamError {
  readonly code = "ERR_VG_UPSTREAM_START";
  override name = "UpstreamStartError";
}

/** Every slot is busy and the queue is full. */
export class UpstreamQueueFullError extends UpstreamError {
  readonly code = "ERR_VG_UPSTREAM_QUEUE_FULL";
  override name = "UpstreamQueueFullError";
  /** When a place is likely to be free, from the mean time that a slot has been held; at least 1. */
  readonly retryAfterSeconds: number;

  constructor(message: string, retryAfterSeconds: number) {
    super(message);
    this.retryAfterSeconds = retryAfterSeconds;
  }
}

/** The server or its process has been closed, or was closed while the caller waited. */
export class UpstreamClosedError extends UpstreamError {
  readonly code = "ERR_VG_UPSTREAM_CLOSED";
  override name = "UpstreamClosedError";
}
