import { isMainThread } from "node:worker_threads";

/** Somebody with lines that would be lost if the process ended now. */
export interface HoldsLines {
  /** Writes what is held, as far as that goes without the event loop. @param last it is the last chance */
  flushAtEnd(last: boolean): void;
  /**
   * Flushes with the event loop, where that is the better way: a stream's write may be on its way, and what is written
   * past it would come before it. `undefined` where there is nothing of that kind. Never rejects.
   */
  settle(deadlineMs: number): Promise<unknown> | undefined;
  /** After the last flush, at a signal that ends the process right now: completes what only an end completes. */
  complete?(): void;
}

/** The ends of a process that tell it before. SIGKILL, `process.abort` and `worker.terminate` don't. */
export interface ProcessEnd {
  /** The process is ending: what is logged now must be written now. */
  readonly isEnding: boolean;
  add(holder: HoldsLines): void;
  delete(holder: HoldsLines): void;
}

const SIGNALS = ["SIGTERM", "SIGINT", "SIGHUP"] as const;
type EndSignal = (typeof SIGNALS)[number];
/** How long a signal that ends the process waits for streams that can't be flushed at once. A second signal doesn't. */
const SETTLE_MS = 2000;

// Copies of this package in one process share one listener a signal; if there were two, each would take the other for
// somebody who ends the process in its own way, and it would never end.
const SHARED = Symbol.for("@vg/logging.processEnd");
const shared = globalThis as { [SHARED]?: ProcessEnd };

/** The one of this process (and thread), for all loggers of all copies of this package. */
export function processEnd(): ProcessEnd {
  return (shared[SHARED] ??= new SharedProcessEnd());
}

/** Listens only while there is a holder. */
class SharedProcessEnd implements ProcessEnd {
  readonly #holders = new Set<HoldsLines>();
  readonly #listeners = new Map<EndSignal, () => void>(SIGNALS.map((signal) => [signal, () => this.#onSignal(signal)]));
  readonly #onExit = (): void => this.#flush(true);
  // The monitor, as a listener of "uncaughtException" would keep the process alive.
  readonly #onThrow = (): void => this.#flush(false);
  /**
   * A signal that comes during the last work of all waits in the event loop, which ends without a look at it; and as we
   * listen for it, the system has not ended the process. One more turn of the loop delivers it. Others who listen for
   * "beforeExit" would be told twice, so with them there is none.
   */
  readonly #onBeforeExit = (): void => {
    this.#isExtraTurn = !this.#isExtraTurn && process.listenerCount("beforeExit") === 1;
    if (this.#isExtraTurn) setImmediate(() => undefined);
  };
  #isExtraTurn = false;
  #isSettling = false;

  get isEnding(): boolean {
    // Not noted by our listener, as who logs in a listener before it, or after nothing was held, must know as well.
    return (process as { _exiting?: unknown })._exiting === true;
  }

  add(holder: HoldsLines): void {
    if (this.#holders.size === 0) this.#listen();
    this.#holders.add(holder);
  }

  delete(holder: HoldsLines): void {
    if (this.#holders.delete(holder) && this.#holders.size === 0) this.#leave();
  }

  #listen(): void {
    process.on("exit", this.#onExit);
    process.on("uncaughtExceptionMonitor", this.#onThrow);
    if (!isMainThread) return;
    process.on("beforeExit", this.#onBeforeExit);
    // First, so that those who listen once are still there to be seen.
    for (const [signal, listener] of this.#listeners) process.prependListener(signal, listener);
  }

  #leave(): void {
    process.removeListener("exit", this.#onExit);
    process.removeListener("uncaughtExceptionMonitor", this.#onThrow);
    process.removeListener("beforeExit", this.#onBeforeExit);
    for (const [signal, listener] of this.#listeners) process.removeListener(signal, listener);
  }

  #flush(last: boolean): void {
    const holders = [...this.#holders];
    for (const holder of holders) holder.flushAtEnd(last);
  }

  #onSignal(signal: EndSignal): void {
    const isOurs = !this.#othersListen(signal);
    const settling: Promise<unknown>[] = [];
    const holders = [...this.#holders];
    for (const holder of holders) {
      const settled = holder.settle(SETTLE_MS);
      if (settled === undefined) holder.flushAtEnd(isOurs);
      else settling.push(settled);
    }
    if (!isOurs) return;
    if (settling.length === 0 || this.#isSettling) {
      this.#flush(true);
      this.#end(signal);
      return;
    }
    this.#isSettling = true;
    void Promise.all(settling).then(() => {
      this.#isSettling = false;
      // Who came meanwhile decides.
      if (this.#othersListen(signal)) return;
      this.#flush(true);
      for (const holder of this.#holders) holder.complete?.();
      this.#end(signal);
    });
  }

  /** Ends the process as the signal would have without us. */
  #end(signal: EndSignal): void {
    const listener = this.#listeners.get(signal);
    if (listener !== undefined) process.removeListener(signal, listener);
    process.kill(process.pid, signal);
  }

  #othersListen(signal: EndSignal): boolean {
    const ours = this.#listeners.get(signal);
    const others = process.listeners(signal).filter((listener) => listener !== ours);
    // Those of signal-exit, which many tools bring along, also end the process only where nobody else listens.
    return others.length > signalExitListeners();
  }
}

/** How many listeners a signal has from the copies of the package signal-exit, by what these tell one another. */
function signalExitListeners(): number {
  const { __signal_exit_emitter__: third } = process as { __signal_exit_emitter__?: { count?: unknown } };
  const fourth = (globalThis as Record<symbol, { count?: unknown } | undefined>)[Symbol.for("signal-exit emitter")];
  return [third?.count, fourth?.count].reduce<number>((sum, count) => sum + (typeof count === "number" ? count : 0), 0);
}
