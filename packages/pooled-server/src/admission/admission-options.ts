/** How much a server takes on, and how long it waits for its clients. All are optional. */
export interface AdmissionOptions {
  // How much at once.
  /**
   * How many requests are handled at once. A number counts each from its admission to its end. `"adaptive"`, the default,
   * counts each until the head of its answer, and finds the limit by the time that takes. 0 is no limit.
   */
  maxConcurrency?: number | "adaptive";
  /** What an adaptive limit never falls below; default 50. Not below what your backends do at once. */
  minConcurrency?: number;
  /** Where an adaptive limit begins, and what it never rises above; default 10,000. It may fall when half of it is in use. */
  concurrencyCeiling?: number;
  /** Connections that may be open after an upgrade (WebSocket) at once; more get 503. Default 0: no limit. */
  maxUpgradedConnections?: number;
  /** How many requests may wait for a place; default 1,000, 0 refuses at once. */
  queueDepth?: number;
  /** How long one may wait for a place before it is refused; default 1,000 ms. */
  queueDeadlineMs?: number;
  /** The busy share of the event loop (0..1) from which on requests are shed, if it is late as well; default 0.95, 0 never. */
  maxEventLoopUtilization?: number;
  /** How late the busy event loop may come to a request; later ones are shed. Default 200 ms, from 1 on. */
  maxEventLoopDelayMs?: number;

  // Of one client.
  /** Requests a second that one client may make, and as many at once; default 10, 0 is no limit. */
  rateLimitPerSecond?: number;
  /** Whether answers say what is left of the client's rate: `RateLimit`, `RateLimit-Policy`, `x-ratelimit-*`. Default true. */
  rateLimitHeaders?: boolean;
  /** Requests of one connection at once (HTTP/1.1 pipelining); default 100, 0 is no limit. */
  maxPipelinedRequests?: number;
  /** Requests of one connection before it is ended; default 0: no limit. */
  maxRequestsPerSocket?: number;

  // Of one request.
  /** Bytes of a request's body; default 10 MiB (10,485,760), 0 is no limit. */
  maxBodyBytes?: number;
  /** Bytes of a request's head; default 16 KiB (16,384), from 1,024 on. */
  maxHeaderBytes?: number;
  /** Header fields of a request; default 200, 0 is no limit. */
  maxHeaderCount?: number;

  // Slow clients. 0 is no limit.
  /** How long a connection may take to bring the head of a request, counted from its first byte or from the connection; default 10,000 ms. */
  headersTimeoutMs?: number;
  /** How long it may take to bring a whole request; default 300,000 ms. */
  receiveTimeoutMs?: number;
  /** What a body must bring on average, while somebody reads it, beyond `bodyGraceMs`; default 500 bytes a second. */
  minBodyBytesPerSecond?: number;
  /** How long a body may bring nothing before it has to keep `minBodyBytesPerSecond`; default 10,000 ms, from 1 on. */
  bodyGraceMs?: number;
  /** How long a client may take none of an answer that waits for it; default 60,000 ms. */
  stalledClientMs?: number;
  /** How long a connection may rest between requests; default 65,000 ms: longer than the 60 s of common balancers. */
  keepAliveTimeoutMs?: number;
}
