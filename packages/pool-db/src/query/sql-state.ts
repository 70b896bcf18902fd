/** The SQLSTATE of an error of the server, or `undefined` for any other error. */
export function sqlStateOf(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  const { code, severity } = error as { code?: unknown; severity?: unknown };
  return typeof severity === "string" && typeof code === "string" ? code : undefined;
}

/**
 * Whether the connection cannot be used after this error: connection exceptions (class 08) and shutdowns (57P01-57P03). Not
 * 08P01, which is what a statement with too few values gets; where it is worse, the server closes.
 */
export function endsConnection(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state !== undefined && state !== "08P01" && (state.startsWith("08") || /^57P0[123]$/.test(state));
}

/**
 * Whether the server rolled the transaction back through no fault of its statements, so that running it again may
 * succeed: class 40 (serialization failures, deadlocks), on the error or on one of its causes. Not 40003, which leaves
 * the outcome open.
 */
export function isRollbackToRetry(error: unknown): boolean {
  for (let depth = 0, current = error; current instanceof Error && depth < 8; depth++, current = current.cause) {
    const state = sqlStateOf(current);
    if (state !== undefined) return state.startsWith("40") && state !== "40003";
  }
  return false;
}

/**
 * Whether the server refused a login because it has no room or is not ready yet, which passes: 53300 (too many
 * connections), 57P03 (starting up, shutting down, or recovering).
 */
export function isCapacity(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state === "53300" || state === "57P03";
}
