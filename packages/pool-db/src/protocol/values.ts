import pg from "pg";
import type { WireValue } from "./message-writer.ts";

/** Not in @types/pg. What pg itself turns a value with, its `toPostgres()` hook included. */
const { prepareValue } = (pg as unknown as { utils: { prepareValue: (value: unknown) => unknown } }).utils;

/** The protocol counts a statement's values in 16 bits. */
export const MAX_VALUES = 65_535;

/**
 * The values as pg sends them, added to `serialised`; when one throws, those before it are there. Doing it here means that
 * one that cannot be sent is found before anything is: pg itself finds it when half of the query is on its way, and
 * remembers a statement that the server does not have.
 * @throws {RangeError} for more than the protocol can count
 * @throws {TypeError} for one of which no text comes; and whatever serialising a value throws
 */
export function serialise(values: readonly unknown[], serialised: WireValue[] = []): WireValue[] {
  if (values.length > MAX_VALUES) {
    throw new RangeError(`a statement takes at most ${MAX_VALUES} values, got ${values.length}`);
  }
  for (const value of values) {
    // The most usual ones are what they will be.
    serialised.push(typeof value === "string" ? value : prepare(value, serialised.length));
  }
  return serialised;
}

function prepare(value: unknown, index: number): WireValue {
  // Nothing at all is NULL, as with pg: a `toJSON()` may answer so.
  const prepared = prepareValue(value) ?? null;
  if (prepared === null || typeof prepared === "string" || Buffer.isBuffer(prepared)) return prepared;
  throw new TypeError(`value $${index + 1} is turned into a ${typeof prepared}, which is no text`);
}
