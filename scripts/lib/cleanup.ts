/**
 * What a script must undo however it ends: at its end, at an error, at Ctrl-C or SIGTERM. Undoing is synchronous,
 * because that is all a process may still do in its "exit" event.
 */
const pending = new Set<() => void>();
let installed = false;

/** Registers `undo` for the end of this process; the function that it returns takes it back. */
export function atExit(undo: () => void): () => void {
  install();
  pending.add(undo);
  return () => void pending.delete(undo);
}

function install(): void {
  if (installed) return;
  installed = true;
  process.once("exit", () => {
    // The last thing made goes first: a process before the folder that it works in.
    for (const undo of [...pending].toReversed()) {
      try {
        undo();
      } catch (error) {
        console.error(`Could not clean up: ${(error as Error).message}`);
      }
    }
  });
  // A signal's default action would skip the "exit" event. 128 + n is how shells report a death by signal.
  process.once("SIGINT", () => process.exit(130));
  process.once("SIGTERM", () => process.exit(143));
}
