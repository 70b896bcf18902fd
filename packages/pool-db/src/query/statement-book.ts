import { classify, type StatementKind } from "./classify.ts";

/** A text that the pool has seen. */
export interface KnownStatement extends StatementKind {
  readonly text: string;
  /** How often it was run, by whatever connection. */
  uses: number;
}

/** How many texts are remembered at least; at most twice as many. */
const REMEMBERED = 1_000;
/** Unless they are so long that all of them together have more characters than this. */
const CHARACTERS = 1_000_000;
/** A longer text is not worth remembering, or preparing. */
const MAX_LENGTH = 16 * 1024;

/**
 * What a pool has learned of the texts that it runs. Texts that are made anew for each query (values inside of them, lists
 * of ever another length) come and go without taking the place of the others for long: two generations, of which the older
 * is forgotten when the younger is full, and what is used again is young.
 */
export class StatementBook {
  #young = new Map<string, KnownStatement>();
  #old = new Map<string, KnownStatement>();
  #youngCharacters = 0;

  /** Counts no use. */
  kindOf(text: string): StatementKind {
    return this.#young.get(text) ?? this.#old.get(text) ?? classify(text);
  }

  /** Counts a use. */
  look(text: string): KnownStatement {
    let known = this.#young.get(text);
    if (known === undefined) {
      known = this.#old.get(text) ?? { text, ...classify(text), uses: 0 };
      if (text.length > MAX_LENGTH) return known;
      if (this.#young.size >= REMEMBERED || this.#youngCharacters >= CHARACTERS) {
        this.#old = this.#young;
        this.#young = new Map();
        this.#youngCharacters = 0;
      }
      this.#young.set(text, known);
      this.#youngCharacters += text.length;
    }
    known.uses++;
    return known;
  }
}
