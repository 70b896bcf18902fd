/** What is asked of the databases' clients: statements, their values, and what has to come back. */

export const WORKS = ["point select", "100 rows", "insert", "1 % violations"] as const;
export type Work = (typeof WORKS)[number];

export const ITEMS = 10_000;
/** The rows of one 100-row select. */
export const PAGE = 100;
const PAGES = 100;

export const SCHEMA = `
  CREATE TABLE bench_items (id integer PRIMARY KEY, name text NOT NULL, price double precision NOT NULL);
  INSERT INTO bench_items SELECT id, 'item ' || id, id / 4.0 FROM generate_series(0, ${ITEMS - 1}) AS id;

  CREATE TABLE bench_events (page integer NOT NULL, id integer NOT NULL, name text NOT NULL,
    price double precision NOT NULL, at timestamptz NOT NULL, paid boolean NOT NULL, note text, PRIMARY KEY (page, id));
  INSERT INTO bench_events
    SELECT id / ${PAGE}, id, 'event ' || id, id / 8.0, timestamptz '2026-01-01 00:00:00Z' + id * interval '1001 ms',
      id % 2 = 0, CASE WHEN id % 3 = 0 THEN 'note ' || id END
    FROM generate_series(0, ${PAGES * PAGE - 1}) AS id;

  CREATE UNLOGGED TABLE bench_orders (id integer PRIMARY KEY, name text NOT NULL, price double precision NOT NULL,
    at timestamptz NOT NULL, paid boolean NOT NULL, note text);
  VACUUM ANALYZE;`;

export interface Statement {
  /** For clients that prepare what has a name. */
  readonly name: string;
  readonly text: string;
}

export const SELECT_ITEM: Statement = {
  name: "bench_item",
  text: "SELECT id, name, price FROM bench_items WHERE id = $1",
};
/** How long the server takes over `SELECT_SLOWLY`. */
export const SLOW_MS = 20;
/** The same row, by somebody who lets the server wait. */
export const SELECT_SLOWLY: Statement = {
  name: "bench_slow",
  text: `SELECT id, name, price FROM bench_items, pg_sleep(${SLOW_MS / 1000}) WHERE id = $1`,
};
export const SELECT_PAGE: Statement = {
  name: "bench_page",
  text: "SELECT id, name, price, at, paid, note FROM bench_events WHERE page = $1 ORDER BY id",
};
export const INSERT_ORDER: Statement = {
  name: "bench_order",
  text: "INSERT INTO bench_orders (id, name, price, at, paid, note) VALUES ($1, $2, $3, $4, $5, $6)",
};
/** Always fails: every id is there already. */
export const INSERT_TAKEN: Statement = {
  name: "bench_taken",
  text: "INSERT INTO bench_items (id, name, price) VALUES ($1, $2, $3)",
};
export const UNIQUE_VIOLATION = "23505";

export const CLEAR_ORDERS = "TRUNCATE bench_orders";
/** How many orders there are, and how many of them are what `order` gave. */
export const COUNT_ORDERS = `
  SELECT count(*)::int AS stored, (count(*) FILTER (WHERE name = 'order ' || id AND price = id / 8.0
      AND at = timestamptz '2026-01-01 00:00:00Z' + id * interval '1001 ms' AND paid = (id % 2 = 0)
      AND note IS NOT DISTINCT FROM CASE WHEN id % 3 = 0 THEN 'note ' || id END))::int AS right
  FROM bench_orders`;

/** What the parameters are. */
export type Value = number | string | boolean | Date | null;

export interface Item {
  readonly id: number;
  readonly name: string;
  readonly price: number;
}

export interface Event extends Item {
  readonly at: Date;
  readonly paid: boolean;
  readonly note: string | null;
}

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

export function pageOf(index: number): number {
  return (index * 37) % PAGES;
}

// Made beforehand: what a check costs is the comparison alone, and the same for all.
const ITEM_NAMES = Array.from({ length: ITEMS }, (_, id) => `item ${id}`);
const EVENTS = Array.from({ length: PAGES * PAGE }, (_, id) => eventOf(id, "event"));
const EVENT_TIMES = EVENTS.map(({ at }) => at.getTime());

export function isItem(rows: readonly Item[], id: number): boolean {
  const [row] = rows;
  return rows.length === 1 && row !== undefined && row.id === id && row.name === ITEM_NAMES[id] && row.price === id / 4;
}

/** How many rows of a page are right, each in all of its values and in its place. */
export function rightEvents(rows: readonly Event[], page: number): number {
  if (rows.length !== PAGE) return 0;
  let right = 0;
  for (let place = 0; place < PAGE; place++) {
    const id = page * PAGE + place;
    const row = rows[place]!;
    const event = EVENTS[id]!;
    if (
      row.id === id &&
      row.name === event.name &&
      row.price === event.price &&
      row.at instanceof Date &&
      row.at.getTime() === EVENT_TIMES[id] &&
      row.paid === event.paid &&
      row.note === event.note
    ) {
      right++;
    }
  }
  return right;
}

/** The values of a new order. */
export function orderOf(id: number): Value[] {
  const { name, price, at, paid, note } = eventOf(id, "order");
  return [id, name, price, at, paid, note];
}

function eventOf(id: number, what: string): Event {
  return {
    id,
    name: `${what} ${id}`,
    price: id / 8,
    at: new Date(Date.UTC(2026, 0, 1) + id * 1001),
    paid: id % 2 === 0,
    note: id % 3 === 0 ? `note ${id}` : null,
  };
}
