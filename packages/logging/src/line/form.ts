import type { Key } from "./key.ts";
import type { ValueWriter } from "./value.ts";

/**
 * The fields that all lines of a kind have, in their order. Their names are looked at once, and a line only brings the
 * values.
 */
export class Form {
  readonly keys: readonly Key[];
  /** None of the names needs a closer look. */
  readonly isPlain: boolean;
  /**
   * Of the line before, by field: its value, where that is no object, and the field's text. Most values are the same from
   * line to line.
   */
  readonly #lastValues: unknown[];
  readonly #lastTexts: string[];
  readonly #places: ReadonlyMap<string, number>;

  constructor(names: readonly string[], keyOf: (name: string) => Key) {
    this.keys = names.map(keyOf);
    this.isPlain = !this.keys.some((key) => key.special);
    this.#lastValues = names.map(() => undefined);
    this.#lastTexts = names.map(() => "");
    this.#places = new Map(names.map((name, place) => [name, place]));
  }

  /** @param values in the order of the names; a field that is `undefined` is left out */
  fill(values: readonly unknown[]): FilledForm {
    return new FilledForm(this, values);
  }

  /** The fields as they stand in a line, each with a comma before it; `undefined` where a value needs a closer look. */
  textOf(values: readonly unknown[], writer: ValueWriter): string | undefined {
    const { keys } = this;
    const lastValues = this.#lastValues;
    const lastTexts = this.#lastTexts;
    let out = "";
    for (let i = 0; i < keys.length; i++) {
      const value = values[i];
      if (value === undefined) continue;
      if (value === lastValues[i]) {
        out += lastTexts[i];
        continue;
      }
      const key = keys[i] as Key;
      const isObject = typeof value === "object" && value !== null;
      let text: string | undefined;
      if (key.secret) text = writer.redacted;
      else if (isObject) text = writer.simple(value);
      else text = writer.plain(value);
      if (text === undefined) return undefined;
      const field = key.prefix + text;
      // What an object holds may be another thing by the next line.
      lastValues[i] = isObject ? undefined : value;
      lastTexts[i] = field;
      out += field;
    }
    return out;
  }

  placeOf(name: string): number | undefined {
    return this.#places.get(name);
  }

  /** The same fields as an object. */
  fieldsOf(values: readonly unknown[]): object {
    const named = Array.from(this.#places, ([name, place]) => [name, values[place]] as const);
    return Object.fromEntries(named.filter(([, value]) => value !== undefined));
  }
}

export class FilledForm {
  readonly #form: Form;
  readonly values: readonly unknown[];

  constructor(form: Form, values: readonly unknown[]) {
    this.#form = form;
    this.values = values;
  }

  /** Asks nothing of a proxy, as `instanceof` would. */
  static is(value: object): value is FilledForm {
    return #form in value;
  }

  get form(): Form {
    return this.#form;
  }

  has(name: string): boolean {
    const place = this.#form.placeOf(name);
    return place !== undefined && this.values[place] !== undefined;
  }

  toObject(): object {
    return this.#form.fieldsOf(this.values);
  }
}
