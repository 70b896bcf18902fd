/**
 * Whether the server ends the session with this error. Where its messages are not in English (`lc_messages`), the severity
 * is not, either: then only the SQLSTATE tells.
 */
export function isFatal(error: unknown): boolean {
  const { severity } = error as { severity?: unknown };
  return severity === "FATAL" || severity === "PANIC";
}
