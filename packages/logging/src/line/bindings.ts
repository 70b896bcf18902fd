import { toJson } from "./json.ts";

/**
 * Fields that a logger carries, as text: serialised once, when the logger is made, with every name once. A field that
 * is set again further down the line of children replaces the earlier one.
 */
export class Bindings {
  readonly names: readonly string[];
  /** The JSON text of each value, in the order of `names`. */
  readonly values: readonly string[];
  /** All of them as the line has them: `,"name":value…` */
  readonly text: string;

  /** @param text if it is known already */
  constructor(names: readonly string[], values: readonly string[], text: string = textOf(names, values)) {
    this.names = names;
    this.values = values;
    this.text = text;
  }
}

function textOf(names: readonly string[], values: readonly string[]): string {
  let text = "";
  for (let i = 0; i < names.length; i++) text += `,${toJson(names[i])}:${values[i]}`;
  return text;
}

export const NO_BINDINGS: Bindings = new Bindings([], []);

/** `bindings` and what is `added`: names to their values as JSON. */
export function withBindings(bindings: Bindings, added: ReadonlyMap<string, string>): Bindings {
  const names: string[] = [];
  const values: string[] = [];
  for (let i = 0; i < bindings.names.length; i++) {
    const name = bindings.names[i] as string;
    if (added.has(name)) continue;
    names.push(name);
    values.push(bindings.values[i] as string);
  }
  names.push(...added.keys());
  values.push(...added.values());
  return new Bindings(names, values);
}
