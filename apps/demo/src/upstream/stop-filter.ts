/**
 * Cuts a text at a stop sequence while the text still arrives in pieces. What may be the beginning of a stop sequence
 * is held back until it is known, so that no part of one is ever passed on.
 *
 * The text ends before the stop sequence that is complete first; of those complete at the same character, before the
 * longest. That rule makes the outcome independent of where the pieces are cut.
 */
export class StopFilter {
  readonly #stops: readonly string[];
  /** Text not passed on yet: always the beginning of some stop sequence, or empty. */
  #held = "";

  /** @param stops sequences that are not empty */
  constructor(stops: readonly string[]) {
    this.#stops = stops;
  }

  /** Takes the next piece and gives what may be passed on. After `stopped`, nothing more may be pushed. */
  push(piece: string): { text: string; stopped: boolean } {
    if (this.#stops.length === 0) return { text: piece, stopped: false };
    const text = this.#held + piece;
    const cut = firstStop(text, this.#stops);
    if (cut !== undefined) {
      this.#held = "";
      return { text: text.slice(0, cut), stopped: true };
    }
    const hold = longestOpenStop(text, this.#stops);
    this.#held = text.slice(text.length - hold);
    return { text: text.slice(0, text.length - hold), stopped: false };
  }

  /** The text held back, once no more will come. */
  flush(): string {
    const rest = this.#held;
    this.#held = "";
    return rest;
  }
}

/** Where the text is to be cut, or `undefined` without a stop sequence in it. */
function firstStop(text: string, stops: readonly string[]): number | undefined {
  let start: number | undefined;
  let end = Infinity;
  for (const stop of stops) {
    const at = text.indexOf(stop);
    if (at === -1) continue;
    const stopEnd = at + stop.length;
    if (stopEnd < end || (stopEnd === end && at < (start as number))) [start, end] = [at, stopEnd];
  }
  return start;
}

/** The length of the longest end of `text` that is a proper beginning of a stop sequence. */
function longestOpenStop(text: string, stops: readonly string[]): number {
  let longest = 0;
  for (const stop of stops) {
    for (let length = Math.min(stop.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(stop.slice(0, length))) longest = length;
    }
  }
  return longest;
}
