/** How long a process may need to end by itself once everything is closed. */
const PATIENCE_MS = 5_000;

/**
 * Where the process is still alive a while from now, tells what keeps it: "TCPServerWrap", "Timeout ×3". Does not itself
 * keep it alive.
 */
export function nameWhatKeepsProcess(tell: (handles: readonly string[]) => void): void {
  setTimeout(() => {
    const counts = new Map<string, number>();
    for (const name of process.getActiveResourcesInfo()) counts.set(name, (counts.get(name) ?? 0) + 1);
    tell([...counts].map(([name, count]) => (count === 1 ? name : `${name} ×${count}`)));
  }, PATIENCE_MS).unref();
}
