import type { JsonObject } from "./json.ts";

/** Of bodies that are remembered, in characters: of one, and of half of them. */
const LONGEST_TEXT = 16_384;
const HALF_LENGTH = 524_288;
/** What one takes beside its text, in characters. */
const OVERHEAD = 256;

/** A body that has come as this very text before, so that what was found out about it need not be found out again. */
export class SeenBody {
  readonly #text: string;
  readonly #parse: (text: string) => JsonObject;
  #value: JsonObject | undefined = undefined;
  /** In canonical JSON, without what its answer does not depend on; undefined until somebody needs it. */
  canonical: string | undefined = undefined;
  /** Its key where it was asked for last, and where that was. */
  scope = "";
  key = "";

  constructor(text: string, parse: (text: string) => JsonObject) {
    this.#text = text;
    this.#parse = parse;
  }

  /** Shared by all whose text it is: nobody changes it. @throws what `parse` does */
  get value(): JsonObject {
    return (this.#value ??= this.#parse(this.#text));
  }

  /** One that may be given away. */
  copy(): JsonObject {
    return this.#parse(this.#text);
  }
}

/**
 * The bodies that came last, by their text. Clients that ask the same write it the same way, and then parsing, canonical
 * JSON and its hash are most of what a hit costs.
 *
 * Two halves: what is in the older one and comes again goes into the newer; when that is full, the older one is dropped.
 */
export class SeenBodies {
  readonly #parse: (text: string) => JsonObject;
  #newer = new Map<string, SeenBody>();
  #older = new Map<string, SeenBody>();
  #newerLength = 0;

  constructor(parse: (text: string) => JsonObject) {
    this.#parse = parse;
  }

  /** `undefined` for a text that comes for the first time, as far as is known; of it, only the text is kept. */
  of(text: string): SeenBody | undefined {
    if (text.length > LONGEST_TEXT) return undefined;
    const newer = this.#newer.get(text);
    if (newer !== undefined) return newer;
    const older = this.#older.get(text);
    this.#remember(text, older ?? new SeenBody(text, this.#parse));
    return older;
  }

  #remember(text: string, body: SeenBody): void {
    const length = text.length + OVERHEAD;
    if (this.#newerLength + length > HALF_LENGTH) {
      this.#older = this.#newer;
      this.#newer = new Map();
      this.#newerLength = 0;
    }
    this.#newer.set(text, body);
    this.#newerLength += length;
  }
}
