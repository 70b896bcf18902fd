/** A JSON object that somebody else made: any field may be there, with any value. */
export type JsonObject = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is JsonObject {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/** Sets a field as JSON.parse would: a peer may send any name, and "__proto__" must not become a prototype. */
export function put(target: Record<string, unknown>, name: string, value: unknown): void {
  if (name === "__proto__") {
    Object.defineProperty(target, name, { value, enumerable: true, configurable: true, writable: true });
  } else {
    target[name] = value;
  }
}

export function own(target: JsonObject, name: string): unknown {
  return Object.hasOwn(target, name) ? target[name] : undefined;
}

/** The object without some of its fields. */
export function without(object: JsonObject, names: ReadonlySet<string>): Record<string, unknown> {
  const rest: Record<string, unknown> = {};
  for (const name of Object.keys(object)) {
    if (!names.has(name)) put(rest, name, object[name]);
  }
  return rest;
}
