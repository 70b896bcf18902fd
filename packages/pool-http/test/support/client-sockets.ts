import { subscribe, unsubscribe } from "node:diagnostics_channel";
import type { Socket } from "node:net";

/** The sockets without TLS that this process has connected, by the port that they lead to, until they have closed. */
export class ClientSockets implements Disposable {
  readonly #open = new Map<number, number>();
  readonly #peaks = new Map<number, number>();
  #all = 0;
  /** The most at once to all ports. */
  peak = 0;

  constructor() {
    subscribe("net.client.socket", this.#made);
  }

  /** The most at once to one port. */
  peakOf(port: number): number {
    return this.#peaks.get(port) ?? 0;
  }

  reset(): void {
    this.#peaks.clear();
    this.peak = 0;
  }

  [Symbol.dispose](): void {
    unsubscribe("net.client.socket", this.#made);
  }

  readonly #made = (message: unknown): void => {
    const { socket } = message as { socket: Socket };
    let port = 0;
    // Only now it knows where it leads to.
    socket.once("connectionAttempt", (_ip: string, to: number) => {
      port = to;
      const open = (this.#open.get(port) ?? 0) + 1;
      this.#open.set(port, open);
      this.#peaks.set(port, Math.max(this.peakOf(port), open));
      this.peak = Math.max(this.peak, ++this.#all);
    });
    socket.once("close", () => {
      if (port === 0) return;
      this.#open.set(port, (this.#open.get(port) ?? 0) - 1);
      this.#all--;
    });
  };
}
