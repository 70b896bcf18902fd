import type { Dispatcher } from "undici";

export type RawHeaders = Exclude<Dispatcher.DispatchController["rawHeaders"], undefined>;

/**
 * What a face hears of every attempt while it goes on: the things that undici's handlers are told and a response does
 * not hold. Nothing here may throw.
 */
export interface Tap {
  bodySent(chunk: Buffer): void;
  requestSent(): void;
  responseStarted(): void;
  /** A response with a status from 100 to 199; the answer is yet to come. */
  informed(
    status: number,
    headers: Record<string, string | string[] | undefined>,
    statusText: string | undefined,
    raw: RawHeaders,
  ): void;
  /** The final response's headers as they came over the wire. */
  answered(raw: RawHeaders): void;
  ended(trailers: Record<string, string | string[] | undefined>, raw: RawHeaders): void;
}
