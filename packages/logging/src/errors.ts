/** What every error of this package is: `error instanceof LoggerError`, or by its stable `code`. No log call throws one. */
export class LoggerError extends Error {
  override name = "LoggerError";
  readonly code: string = "ERR_VG_LOGGING";
}

/** An option of `createLogger` (or a level given later) that makes no sense. Correct the option that it names. */
export class LoggerConfigError extends LoggerError {
  override name = "LoggerConfigError";
  override readonly code = "ERR_VG_LOGGING_CONFIG" as const;
}

/** The file of `destination` cannot be opened for appending; `cause` is the system's error. */
export class LoggerDestinationError extends LoggerError {
  override name = "LoggerDestinationError";
  override readonly code = "ERR_VG_LOGGING_DESTINATION" as const;
}
