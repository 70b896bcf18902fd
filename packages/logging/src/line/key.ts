import { toJson } from "./json.ts";

/** What is known of a field's name; learned once a name. */
export interface Key {
  /** As it is shown. */
  readonly name: string;
  /** `,"name":` */
  readonly prefix: string;
  /** `{"name":` */
  readonly opening: string;
  readonly secret: boolean;
  /** It was cut or had a secret in it, so that two names may now look alike. */
  readonly altered: boolean;
  /** The line itself has a meaning for this name, or it was altered: a field of this name needs a closer look. */
  readonly special: boolean;
  /** An object with this name in it is no simple one: it is secret or altered, or the value that goes with a name. */
  readonly suspect: boolean;
}

/** @param shown the name without what is secret in it */
export function keyOf(name: string, shown: string, secret: boolean, isSpecial: boolean): Key {
  const altered = shown !== name;
  return {
    name: shown,
    prefix: `,${toJson(shown)}:`,
    opening: `{${toJson(shown)}:`,
    secret,
    altered,
    special: altered || isSpecial,
    suspect: altered || secret || name === "value",
  };
}

/** Numbers names that look alike after they were altered, so that each is once in its object. */
export class DistinctNames {
  readonly #isTaken: (name: string) => boolean;
  readonly #counts = new Map<string, number>();

  constructor(isTaken: (name: string) => boolean) {
    this.#isTaken = isTaken;
  }

  name({ name }: Key): string {
    let count = this.#counts.get(name) ?? 0;
    let shown: string;
    do {
      count++;
      shown = count === 1 ? name : `${name}#${count}`;
    } while (this.#isTaken(shown));
    this.#counts.set(name, count);
    return shown;
  }

  prefix(key: Key): string {
    return `,${toJson(this.name(key))}:`;
  }
}

/** The member that says how many of an object's members are not shown. */
export function leftOut(count: number, isTaken: (name: string) => boolean): string {
  let name = "[left out]";
  while (isTaken(name)) name = `[${name}]`;
  return `,"${name}":${count}`;
}
