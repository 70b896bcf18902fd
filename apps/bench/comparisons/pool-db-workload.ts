import { field } from "../harness/values.ts";

export const ITEMS = 10_000;

export const SCHEMA = `
  CREATE TABLE bench_items (id integer PRIMARY KEY, name text NOT NULL, price double precision NOT NULL);
  INSERT INTO bench_items SELECT id, 'item ' || id, id / 4.0 FROM generate_series(0, ${ITEMS - 1}) AS id;
  ANALYZE bench_items;`;

export const SELECT = "SELECT id, name, price FROM bench_items WHERE id = $1";
/** Always fails: every id is there already. */
export const INSERT = "INSERT INTO bench_items (id, name, price) VALUES ($1, $2, $3)";
export const UNIQUE_VIOLATION = "23505";

const VIOLATION_EVERY = 100;

export function violates(index: number): boolean {
  return index % VIOLATION_EVERY === VIOLATION_EVERY - 1;
}

export function violationsIn(operations: number): number {
  return Math.floor(operations / VIOLATION_EVERY);
}

/** Spreads the queries over the whole table, the same way in every round. */
export function itemOf(index: number): number {
  return (index * 7919) % ITEMS;
}

export function isItem(row: unknown, id: number): boolean {
  return field(row, "id") === id && field(row, "name") === `item ${id}` && field(row, "price") === id / 4;
}
