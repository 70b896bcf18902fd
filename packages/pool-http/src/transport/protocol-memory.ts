import type { ResolvedOptions } from "../options.ts";

/** Origins whose protocol is remembered; the one that was dialled least recently is forgotten. */
const MAX_ORIGINS = 1000;

/** What each origin spoke last, so that its next dial is planned for it. The server still decides, at every dial. */
export class ProtocolMemory {
  readonly #options: ResolvedOptions;
  /** How many requests one connection carried. */
  readonly #shares = new Map<string, number>();

  constructor(options: ResolvedOptions) {
    this.#options = options;
  }

  /** For how many waiters one dial to this origin will do, or that nobody knows. */
  expect(origin: string): { share: number; unknown: boolean } {
    const { http2, maxConnsPerHost, disableKeepAlives } = this.#options;
    if (http2 === "off" || disableKeepAlives || (http2 === "auto" && origin.startsWith("http:"))) {
      return { share: 1, unknown: false };
    }
    const known = this.#shares.get(origin);
    if (known !== undefined) return { share: known, unknown: false };
    // Those who wait for the answer are no more than dials of their own would have been.
    return { share: maxConnsPerHost, unknown: true };
  }

  remember(origin: string, share: number): void {
    if (this.#options.http2 === "off") return;
    this.#shares.delete(origin);
    this.#shares.set(origin, share);
    if (this.#shares.size > MAX_ORIGINS) {
      const [oldest] = this.#shares.keys();
      this.#shares.delete(oldest as string);
    }
  }
}
