/** Reading values whose shape only the other side knows: parsed JSON, messages, what was thrown. */

/** The value at the end of a path of names; undefined where the path ends early. */
export function field(value: unknown, ...path: readonly string[]): unknown {
  let current = value;
  for (const name of path) {
    if (typeof current !== "object" || current === null) return undefined;
    current = Reflect.get(current, name);
  }
  return current;
}

/** @throws TypeError when there is no number */
export function numberField(value: unknown, ...path: readonly string[]): number {
  const found = field(value, ...path);
  if (typeof found !== "number") throw new TypeError(`expected a number at ${path.join(".")}, got ${typeof found}`);
  return found;
}

/** @throws TypeError when there is no string */
export function textField(value: unknown, ...path: readonly string[]): string {
  const found = field(value, ...path);
  if (typeof found !== "string") throw new TypeError(`expected a string at ${path.join(".")}, got ${typeof found}`);
  return found;
}

export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
