/** The base of this package's errors; `code` is stable, messages may change. */
export class PooledServerError extends Error {
  override readonly name: string = "PooledServerError";
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** An option or an environment variable holds what it must not. Thrown by `createPooledServer` and by
 * `pooledServerConfigFromEnv`; nothing was opened. */
export class PooledServerConfigError extends PooledServerError {
  override readonly name = "PooledServerConfigError";

  constructor(message: string, options?: ErrorOptions) {
    super("ERR_VG_SERVER_CONFIG", message, options);
  }
}

/** `listen()` could not bind: the port is taken, or is not ours to take. */
export class ListenError extends PooledServerError {
  override readonly name = "ListenError";
  readonly host: string;
  readonly port: number;

  constructor(host: string, port: number, cause: NodeJS.ErrnoException) {
    const advice =
      cause.code === "EADDRINUSE"
        ? "Another process listens there: stop it, or choose another port (0 picks a free one)."
        : cause.code === "EACCES"
          ? "This user may not listen there: choose a port above 1023."
          : cause.code === "EADDRNOTAVAIL" || cause.code === "ENOTFOUND"
            ? "This machine has no such address: choose one of its own."
            : "";
    super(
      "ERR_VG_SERVER_LISTEN",
      `Cannot listen on ${host}:${port} (${cause.code ?? cause.message}). ${advice}`.trim(),
      {
        cause,
      },
    );
    this.host = host;
    this.port = port;
  }
}

/** A verb that the server's state does not allow, such as `listen()` after `close()`. */
export class LifecycleError extends PooledServerError {
  override readonly name = "LifecycleError";

  constructor(message: string) {
    super("ERR_VG_SERVER_LIFECYCLE", message);
  }
}

/**
 * The base server did what none may: it did not get ready, or its `fetch` returned what is no answer. Thrown by
 * `createPooledServer` and `listen()`; of a request it is in the log, and the client gets a 500.
 */
export class BaseServerError extends PooledServerError {
  override readonly name = "BaseServerError";

  constructor(message: string, options?: ErrorOptions) {
    super("ERR_VG_SERVER_BASE", message, options);
  }
}

/** The reason of the signal of a request whose client left before its answer was complete. */
export class ClientClosedError extends PooledServerError {
  override readonly name = "ClientClosedError";

  constructor() {
    super("ERR_VG_SERVER_CLIENT_CLOSED", "The client closed the connection before its answer was complete");
  }
}

/** The reason of the signal of a request whose handler has had its `requestTimeoutMs` and not begun to answer. */
export class RequestTimeoutError extends PooledServerError {
  override readonly name = "RequestTimeoutError";
  readonly timeoutMs: number;

  /** @param request its method and path */
  constructor(request: string, timeoutMs: number) {
    super(
      "ERR_VG_SERVER_REQUEST_TIMEOUT",
      `${request} was not answered within ${timeoutMs} ms (requestTimeoutMs). Look in the log for what it waited for, ` +
        "or allow more.",
    );
    this.timeoutMs = timeoutMs;
  }
}
