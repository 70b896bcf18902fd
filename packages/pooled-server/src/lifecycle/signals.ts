import { constants } from "node:os";

/**
 * Calls `handler` at the first SIGTERM or SIGINT. A second signal ends the process at once with the shell's code for
 * it (128 + number): whoever sends it twice does not want to wait. Returns a function that takes the listeners off.
 *
 * Who calls this owns the process's signals; libraries should not.
 */
export function onTerminationSignal(handler: (signal: NodeJS.Signals) => void): () => void {
  let received = false;
  const listener = (signal: NodeJS.Signals): void => {
    if (received) process.exit(128 + constants.signals[signal]);
    received = true;
    handler(signal);
  };
  process.on("SIGTERM", listener);
  process.on("SIGINT", listener);
  return () => {
    process.off("SIGTERM", listener);
    process.off("SIGINT", listener);
  };
}
