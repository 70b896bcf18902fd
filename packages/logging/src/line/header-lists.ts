/**
 * Secrets whose name stands beside them rather than before them: headers as Node's `rawHeaders` and undici have them,
 * `[name, value, name, value]`, and as entries, `{ name, value }`.
 */

/** Names that are only ever those of headers. */
const HEADER = /^(?:(?:proxy-)?authorization|(?:set-)?cookie|[\w-]{1,60}-(?:key|token|secret|password|signature))$/i;
/** A list that is no list of headers is known by its first names, so that a long one costs little. */
const LONGEST = 400;

/**
 * The places of the values that follow the name of a secret in a flat list; `undefined` where there are none. Names that
 * are also words (`["token", "password"]`, as scopes are) don't count: only those that headers have.
 */
export function headerSecrets(
  list: readonly unknown[],
  isSecret: (name: string) => boolean,
): ReadonlySet<number> | undefined {
  const { length } = list;
  if (length < 2 || length % 2 !== 0 || length > LONGEST) return undefined;
  let secrets: Set<number> | undefined;
  try {
    for (let i = 0; i < length; i += 2) {
      const name = list[i];
      if (typeof name !== "string") return undefined;
      if (name.length >= 6 && name.length <= 80 && HEADER.test(name) && isSecret(name))
        (secrets ??= new Set()).add(i + 1);
    }
  } catch {
    // It is marked where it is shown.
  }
  return secrets;
}

/** Whether this is the `value` of an object whose `name`, or `key`, is that of a secret. */
export function isSecretEntry(object: object, property: string, isSecret: (name: string) => boolean): boolean {
  if (property !== "value") return false;
  const label = textOf(object, "name") ?? textOf(object, "key");
  return label !== undefined && label.length <= 80 && isSecret(label);
}

function textOf(object: object, property: string): string | undefined {
  try {
    const value: unknown = Object.getOwnPropertyDescriptor(object, property)?.value;
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}
