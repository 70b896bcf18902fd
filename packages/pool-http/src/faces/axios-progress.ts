import type { AxiosProgressEvent } from "axios";

/** axios promises no more than three events a second. */
const EVERY_MS = 1000 / 3;

/**
 * Tells a listener of axios how far a body has come: with its first bytes, then at most three times a second, and at its
 * end. What the listener throws is its own affair, as in axios, and does not reach the connection.
 */
export class AxiosProgress {
  readonly #listener: (event: AxiosProgressEvent) => void;
  readonly #direction: "download" | "upload";
  readonly #total: number | undefined;
  #loaded = 0;
  #told = 0;
  #startedAt = performance.now();
  #toldAt = Number.NEGATIVE_INFINITY;

  constructor(
    listener: (event: AxiosProgressEvent) => void,
    total: number | undefined,
    direction: "download" | "upload",
  ) {
    this.#listener = listener;
    this.#total = total;
    this.#direction = direction;
  }

  /** A body that is sent once more begins again. */
  restart(): void {
    this.#loaded = 0;
    this.#told = 0;
    this.#startedAt = performance.now();
  }

  took(bytes: number): void {
    this.#loaded += bytes;
    if (performance.now() - this.#toldAt >= EVERY_MS) this.#tell();
  }

  end(): void {
    if (this.#loaded !== this.#told) this.#tell();
  }

  #tell(): void {
    const now = performance.now();
    const [loaded, total] = [this.#loaded, this.#total];
    const bytes = loaded - this.#told;
    const rate = now > this.#startedAt ? (loaded * 1000) / (now - this.#startedAt) : undefined;
    this.#told = loaded;
    this.#toldAt = now;
    const event = {
      loaded,
      total,
      progress: total === undefined || total === 0 ? undefined : loaded / total,
      bytes,
      rate,
      estimated: rate === undefined || total === undefined ? undefined : (total - loaded) / rate,
      event: { loaded, total, lengthComputable: total !== undefined },
      lengthComputable: total !== undefined,
      [this.#direction]: true,
    } as AxiosProgressEvent;
    queueMicrotask(() => this.#listener(event));
  }
}
