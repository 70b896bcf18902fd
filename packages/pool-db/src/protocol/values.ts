import pg from "pg";
import type { WireValue } from "./message-writer.ts";

/** Not in @types/pg. What pg itself turns a value with, its `toPostgres()` hook included. */
const { prepareValue } = (pg as unknown as { utils: { prepareValue: (value: unknown) => unknown } }).utils;

/**
 * The values as pg sends them. Doing it here means that one that cannot be sent is found before anything is: pg itself
 * finds it when half of the query is on its way, and remembers a statement that the server does not have.
 * @throws whatever serialising a value throws
 */
export function serialise(values: readonly unknown[]): WireValue[] {
  const serialised: WireValue[] = [];
  for (const value of values) {
    // The most usual ones are what they will be.
    serialised.push(typeof value === "string" ? value : (prepareValue(value) as WireValue));
  }
  return serialised;
}
