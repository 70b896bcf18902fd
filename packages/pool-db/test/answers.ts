/** Statements of every kind, and a comparison of a pool's answers with those of pg's own client. */
import assert from "node:assert/strict";
import type pg from "pg";

export type Statement = readonly [text: string, values?: readonly unknown[]];

export const READS: readonly Statement[] = [
  ["select 1::int2 as a, -2::int4 as b, 9007199254740993::int8 as c, 4294967295::oid as d, -7::int8 as e"],
  ["select 1.5::float4, 'NaN'::float8, '-Infinity'::float8, 1e300::float8, 0.1::float4"],
  ["select 12345678901234567890.123::numeric(30,3) as n, 'NaN'::numeric as nan"],
  ["select true as t, false as f, null::bool as n"],
  ["select 'text', 'é€😀', '', 'x'::varchar(5), 'x'::char(5), 'x'::\"char\", 'x'::name, 't'::text"],
  ["select '\\x00ff'::bytea as b, ''::bytea as empty"],
  ["select '{\"a\":[1,null]}'::json as a, '{\"b\":\"é\"}'::jsonb as b, 'null'::json as c"],
  ["select array[1,null,3] as a, array['a','b,\"'] as b, '{}'::int8[] as c, array[array[true]] as d"],
  ["select '2024-02-29'::date as d, '10:11:12.5'::time as t, '10:11+02'::timetz as tz, '1 mon 2 days'::interval as i"],
  [
    "select '2024-02-29 10:11:12.345'::timestamp as a, '2024-02-29 10:11:12+02'::timestamptz as b, 'infinity'::timestamp",
  ],
  ["select '4c5bd9e2-2c4f-4a76-9a43-1f3c4f8a9f10'::uuid as u, '10.0.0.1/8'::inet as i, '10.0.0.0/8'::cidr as c"],
  ["select '[1,5)'::int4range as r, '{[1,2),[4,5)}'::int4multirange as m, 'empty'::numrange as e"],
  ["select '(1,2)'::point as p, '<(1,2),3>'::circle as c, b'101' as bits, '1.50'::money as m, row(1,'a') as r"],
  ["select 'happy'::mood as e, 5::positive as d, 'pg_class'::regclass as c, to_tsvector('simple','a b') as v"],
  ["select null::int4 as a, null::jsonb as b, null::int4[] as c, null::mood as d"],
  ['select 1 as "__proto__", 2 as constructor, 3 as "constructor", 4 as "0"'],
  ["select"],
  ["select from things"],
  ["select n, 'x' || n as x from generate_series(1, 100) as n"],
  ["select repeat('é', 100000) as long, repeat('x', 70000) as longer"],
  ["select 1 where false"],
  ["select id, ctid, tableoid::regclass as t, xmin is null as x, tableoid from things order by id"],
  ["values (1, 'a'), (2, null)"],
  ["table things"],
  ["with recursive r(n) as (select 1 union all select n + 1 from r where n < 5) select sum(n) from r"],
  [
    "select $1::int as a, $2::text as b, $3::timestamptz as c, $4::bytea as d",
    [1, "é", new Date(0), Buffer.of(0, 255)],
  ],
  ["select $1::int[] as a, $2::jsonb as b, $3::text as c, $4::bool as d", [[1, null, 3], { a: [1] }, null, true]],
  ["select $1::numeric as a, $2::text as b", [10n, undefined]],
];

export const WRITES: readonly Statement[] = [
  ["insert into things values (10, 'ten')"],
  ["insert into things values ($1, $2), ($1 + 1, $2) returning *", [20, "x"]],
  ["insert into things values (1, 'again') on conflict do nothing"],
  ["insert into things select n, 'n' from generate_series(100, 150) as n"],
  ["update things set name = 'new' where id < $1", [3]],
  ["update things set name = name || '!' returning id, name"],
  ["update things set name = 'none' where false"],
  ["delete from things"],
  [
    "merge into things t using (values (1, 'm'), (99, 'm')) s(id, name) on t.id = s.id when matched then update set name = s.name when not matched then insert values (s.id, s.name)",
  ],
  ["with gone as (delete from things returning *) select count(*) from gone"],
];

export const ERRORS: readonly Statement[] = [
  ["select nonsense"],
  ["select 1 / $1::int", [0]],
  ["select $1::int", ["abc"]],
  ["insert into things values (1, 'again')"],
  ["insert into things values (2, null)"],
  ["select * from nowhere"],
  ["select 1 +"],
];

const FIELD = ["name", "tableID", "columnID", "dataTypeID", "dataTypeSize", "dataTypeModifier", "format"] as const;

/** What an answer is made of. */
function comparable(result: pg.QueryResult | pg.QueryArrayResult): unknown {
  const { rows, rowCount, command, oid, fields } = result;
  const plainFields = fields.map((field) => FIELD.map((name) => field[name]));
  return { rows, rowCount, command, oid, fields: plainFields, keys: (rows as object[]).map((row) => Object.keys(row)) };
}

async function outcome(answer: Promise<pg.QueryResult | pg.QueryArrayResult>): Promise<unknown> {
  try {
    return comparable(await answer);
  } catch (error) {
    // Of whichever copy of pg: the one whose answers are looked at need not be ours.
    const { message: words, code, severity, position, detail, constraint, table, routine } = error as pg.DatabaseError;
    if (severity === undefined) return error;
    return { words, code, severity, position, detail, constraint, table, routine };
  }
}

/** What the statements above ask for. */
export async function makeThings(watch: (text: string) => Promise<unknown>): Promise<void> {
  await watch(`
    drop table if exists things; drop type if exists mood; drop domain if exists positive;
    create type mood as enum ('sad', 'happy');
    create domain positive as int check (value > 0);
    create table things (id int primary key, name text not null);
    insert into things values (1, 'one'), (2, 'two');
  `);
}

/** Whatever runs a query that is given as a config object. */
export interface Querier {
  query(config: { text: string; values?: unknown[]; name?: string }): Promise<pg.QueryResult>;
}

/** Runs each statement on both sides, each time in a transaction of its own, and expects the same of both. */
export async function compare(
  ours: Querier,
  theirs: Querier,
  statements: readonly Statement[],
  extra: object = {},
  nameOf: (index: number) => string | undefined = () => undefined,
): Promise<void> {
  for (const [index, [text, values]] of statements.entries()) {
    const name = nameOf(index);
    const config = {
      text,
      ...(values === undefined ? {} : { values: [...values] }),
      ...(name === undefined ? {} : { name }),
      ...extra,
    };
    // Unnamed; with the probe; prepared; with columns that are known.
    for (let round = 0; round < 5; round++) {
      const outcomes: unknown[] = [];
      for (const side of [ours, theirs]) {
        await side.query({ text: "begin" });
        outcomes.push([text, round, await outcome(side.query(config))]);
        await side.query({ text: "rollback" });
      }
      assert.deepEqual(outcomes[0], outcomes[1]);
    }
  }
}
