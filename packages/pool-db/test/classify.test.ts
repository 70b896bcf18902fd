import fc from "fast-check";
import pg from "pg";
import { expect, test } from "vitest";
import { classify } from "../src/query/classify.ts";
import { usePostgres } from "./support.ts";

const postgres = usePostgres();

const SHAREABLE = [
  "select 1",
  "  \n\tSELECT 1 ;; \n -- the end",
  "/* a /* nested */ comment; */ select 1 /* ; */;",
  "-- first; line\nselect 1",
  "-- ends with a carriage return\rselect 1",
  "insert into t values (1) on conflict (id) do update set n = 1 returning *",
  "update t set a = 'x;y' where b = $1;",
  'delete from "a;b"',
  "merge into t using s on t.id = s.id when matched then delete",
  "values (1), (2)",
  "table t",
  "with x as (select 1) select * from x",
  "select 'it''s; ok';",
  "select $$ ; $$, $tag$ $$ ; $tag$, $ö$;$ö$;",
  'select 1 as "drop; table";',
  "select substring(a from 2 for 3) from t",
  "select 1 as for_update, 2 as updated, 3 as into_x, 4 as hello_set_config",
  "select * from t /*traceparent='00-0af7651916cd43dd8448eb211c80319c-01'*/",
  "SELECT(1)",
  "select $1::int",
];

const PLAIN_ONLY = [
  "select set_config('a.b', '1', false)",
  "select pg_catalog.set_config('a.b', '1', false)",
  "select \"set_config\"('a.b', '1', false)",
  "select set_config ('a.b', '1', false)",
  "select set_config/**/('a.b', '1', false)",
  "select U&\"\\0073et_config\"('a.b', '1', false)",
  "select u&\"d!0061ta\" uescape '!' from t",
  "select setseed(0.5)",
  "select pg_advisory_lock(1)",
  "select pg_try_advisory_xact_lock_shared(1)",
  "select * from pg_advisory_unlock_all()",
  "with x as (select pg_advisory_lock(1)) select 1",
  "values (currval('s'))",
  "select lastval()",
  "select setval('s', 1)",
  "select pg_notify('a', 'b')",
  "select pg_sleep(1)",
  "select pg_sleep_for('1 s')",
  "select pg_terminate_backend(1)",
  "select pg_cancel_backend(1)",
  "select lo_open(1, 2)",
  "select * from dblink('', '')",
  "select pg_export_snapshot()",
  "select pg_temp.f()",
  "select * from t for update",
  "select * from t FOR SHARE skip locked",
  "select * from t for no key update",
  "select * from t for key share",
  "select * from t for/**/update",
  "select * from t for -- comment\n update",
  "select * from t for /* a */ no /* b */ key update of t nowait",
  "select * from t where a = 1for update",
  "select * into temp t2 from t",
  "select 1 as a into t2",
  "select 1into t2",
  "with x as (select 1) select * into t2 from x",
];

const NOT_PLAIN = [
  "",
  " ",
  ";",
  "-- only a comment",
  "/* one that does not end; select 1",
  "begin",
  "BEGIN; select 1; commit",
  "start transaction",
  "commit",
  "rollback",
  "savepoint a",
  "set a.b = 1",
  "reset all",
  "show all",
  "listen a",
  "notify a",
  "copy t from stdin",
  "copy t to stdout",
  "call p()",
  "do $$ begin end $$",
  "explain select 1",
  "explain analyze select 1",
  "prepare a as select 1",
  "execute a",
  "deallocate all",
  "discard all",
  "declare c cursor for select 1",
  "fetch c",
  "lock table t",
  "create table t ()",
  "vacuum",
  "(select 1)",
  "(select 1) union (select 2)",
  "selectx",
  "select_1()",
  "withdraw",
  "select 1; select 2",
  "select 1;commit",
  "select 1 ; /* ; */ commit",
  "select ';'; commit",
  'select "a"; commit',
  "select $$;$$; commit",
  "select $a$ $b$;$b$ $a$; commit",
  "select 1 -- a\r; commit",
  "select 1 -- a\n; commit",
  "select 1 /* /* */ ; */ ; commit",
  "select a$b$; commit; select $b$ from t",
  "select é$b$; commit; select $b$ from t",
  "select $$a$$$b$ ' $b$; commit; select ' '",
  "select E'\\'; commit; select '",
  "select '\\'; commit; select '",
  "select U&'\\0027'; commit",
  "select 'open ; commit",
  'select "open ; commit',
  "select $$open ; commit",
  "select 1\0; commit",
];

test.each(SHAREABLE)("%j is plain, and may share a connection", (text) => {
  expect(classify(text)).toMatchObject({ plain: true, shareable: true });
});

test.each(PLAIN_ONLY)("%j is plain, and keeps a connection to itself", (text) => {
  expect(classify(text)).toMatchObject({ plain: true, shareable: false });
});

test.each(NOT_PLAIN)("%j is not plain", (text) => {
  expect(classify(text)).toMatchObject({ plain: false, shareable: false });
});

test.each(["/*", "*/", "$a", "$$", "'", '"', "for ", "into ", "--", "(", ";", "pg_", "u&"])(
  "a megabyte of %j is looked at without going through it again and again",
  (piece) => {
    const much = piece.repeat(1_000_000 / piece.length);
    for (const text of [`select 1; ${much}`, `select ${much}`]) expect(classify(text)).toBeDefined();
  },
);

/** Expressions, and what may stand between two, that hold what would end a statement elsewhere. */
const EXPRESSIONS = [
  "1",
  "$1",
  "a$b$",
  "a$$",
  "x.é$$",
  "';'",
  "'it''s;'",
  "';' '\\'",
  "E'\\';'",
  "e'a'\n'\\';'",
  "U&';'",
  "B'1'",
  "$$;$$",
  "$$';$$",
  "$$/*;$$",
  "$t$;$$;$t$",
  "$t1_é$;$t1_é$",
  '1 as "c;"',
  '1 as "c"";"',
  '1 as U&"c;"',
  "1 as a$b$",
  "1 +-- ;\n 2",
  "1 +-- '\r 2",
  "1 */* ; */ 2",
  "(1)",
  "array[1]",
  "1.e1",
  "f(';')",
];
const BETWEEN = [
  " , ",
  ",",
  "\n,",
  ",/*;*/",
  ",/*';*/",
  ",/*/*;*/;*/",
  ",/*/**/;*/",
  ",--;\n",
  ",--;\r",
  ",--'\r",
  ",/***/",
];
const ENDS = [";", " ; ", ";;", "; /* x */", "/**/;", "--\r;", "--;\n;"];

test("what the server takes for more than one statement is never plain, in whatever quotes and comments", async () => {
  const list = fc
    .array(fc.tuple(fc.constantFrom(...BETWEEN), fc.constantFrom(...EXPRESSIONS)), { minLength: 1, maxLength: 4 })
    .map((items) => items.map(([between, item], index) => (index === 0 ? item : between + item)).join(""));
  const text = fc
    .array(fc.tuple(list, fc.constantFrom(...ENDS)), { minLength: 1, maxLength: 3 })
    .map((statements) => statements.map(([items, end]) => `select ${items}${end}`).join(" "));
  for (const options of ["", "-c standard_conforming_strings=off"]) {
    const client = new pg.Client({ connectionString: postgres.server.dsn, options });
    await client.connect();
    let several = 0;
    let plain = 0;
    await fc.assert(
      fc.asyncProperty(text, async (given) => {
        const config = { text: given, queryMode: "extended" };
        const error: unknown = await client.query(config).then(
          () => undefined,
          (caught: unknown) => caught,
        );
        const isSeveral = String(error).includes("multiple commands");
        if (isSeveral) several++;
        if (classify(given).plain) plain++;
        expect(isSeveral && classify(given).plain).toBe(false);
      }),
      { numRuns: 700 },
    );
    await client.end();
    // The check is of use only if it has seen both.
    expect(Math.min(several, plain)).toBeGreaterThan(50);
  }
});

test.each([
  "create table t ()",
  "alter table t add column n int",
  "do $$ begin execute 'drop table t'; end $$",
  "create table temp_t ()",
  "begin; alter table t add column n int; commit",
  "-- first\ncreate unlogged table t ()",
  "select 1 as n into t",
  "with a as (select 1 as n) select n into t from a",
])("%j may change what names mean for all", (text) => expect(classify(text).changes).toBe("schema"));

test.each([
  "create temp table t (n int) on commit drop",
  "/* mine */ CREATE TEMPORARY TABLE t (n int)",
  "create or replace temporary view v as select 1",
  "select 1 as n into temp t",
  "DROP TABLE t",
  "select 1; drop table t",
  "call refresh()",
  "do $$ begin perform refresh(); end $$",
  "set search_path = a",
  "set local role reader",
  "reset all",
  "discard temp",
  "select set_config('search_path', 'a', true)",
  "select set_config($1, 'a', true)",
])("%j may change what names mean for its own session", (text) => expect(classify(text).changes).toBe("session"));

test.each([
  "select 1",
  "update t set n = 1",
  "begin",
  "rollback",
  "set local statement_timeout = 100",
  "select set_config('app.tenant', '7', true)",
  "vacuum t",
  "with a as (select 1 as n) insert into t select n from a",
  "insert into t values (1) on conflict do nothing; select 1",
  `notify jobs, '{"op": "create"}'`,
])("%j does not change what names mean", (text) => expect(classify(text).changes).toBe("nothing"));
