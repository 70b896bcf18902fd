import { once } from "node:events";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { text } from "node:stream/consumers";
import { from as copyFrom, to as copyTo } from "pg-copy-streams";
import Cursor from "pg-cursor";
import QueryStream from "pg-query-stream";
import { expect, test } from "vitest";
import { until } from "../support.ts";
import { useLibrary } from "./support.ts";

const library = useLibrary("pg streams");
const NUMBERS = "select n from generate_series(1, $1::int) as n";

test("pg-cursor: read in portions, closed before the end, on a client and on the pool", async () => {
  const pool = library.pool({ maxOpenConns: 1 });
  const client = await pool.connect();
  const cursor = client.query(new Cursor<{ n: number }>(NUMBERS, [250]));
  expect((await cursor.read(100)).map(({ n }) => n)).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
  expect(await cursor.read(1_000)).toHaveLength(150);
  expect(await cursor.read(1)).toEqual([]);
  const left = client.query(new Cursor(NUMBERS, [250]));
  await left.read(1);
  await left.close();
  client.release();
  const pooled = pool.query(new Cursor(NUMBERS, [7]));
  expect(await pooled.read(100)).toHaveLength(7);
  await pooled.close();
  const failing = pool.query(new Cursor("select nonsense"));
  await expect(failing.read(1)).rejects.toMatchObject({ code: "42703" });
  expect((await pool.query("select 1 as n")).rows).toEqual([{ n: 1 }]);
  expect(pool.getStats()).toMatchObject({ create_count: 1, broken_closed: 0, dirty_closed: 0 });
  await library.whole(pool);
});

test("pg-cursor: a connection that comes back with its cursor open is not lent again in that state", async () => {
  const pool = library.pool({ maxOpenConns: 1 });
  const client = await pool.connect();
  await client.query(new Cursor(NUMBERS, [1_000])).read(1);
  client.release();
  expect((await pool.query("select 1 as n")).rows).toEqual([{ n: 1 }]);
  await library.whole(pool);
});

test("pg-query-stream: to the end, destroyed on the way, and failing", async () => {
  const pool = library.pool({ maxOpenConns: 1 });
  const client = await pool.connect();
  let sum = 0;
  for await (const { n } of client.query(new QueryStream(NUMBERS, [1_000], { batchSize: 50 })) as AsyncIterable<{
    n: number;
  }>) {
    sum += n;
  }
  expect(sum).toBe(500_500);
  const stopped = client.query(new QueryStream(NUMBERS, [100_000], { highWaterMark: 10 }));
  for await (const _row of stopped) break;
  expect((await client.query("select 1 as n")).rows).toEqual([{ n: 1 }]);
  client.release();
  const rows: unknown[] = [];
  await pipeline(pool.query(new QueryStream(NUMBERS, [3])), async (stream: AsyncIterable<unknown>) => {
    for await (const row of stream) rows.push(row);
  });
  expect(rows).toEqual([{ n: 1 }, { n: 2 }, { n: 3 }]);
  const failing = pool.query(new QueryStream("select nonsense"));
  failing.resume();
  expect(await once(failing, "error")).toMatchObject([{ code: "42703" }]);
  expect((await pool.query("select 1 as n")).rows).toEqual([{ n: 1 }]);
  expect(pool.getStats()).toMatchObject({ create_count: 1, broken_closed: 0, dirty_closed: 0 });
  await library.whole(pool);
});

test("pg-copy-streams: in, out, within a transaction, and given up half-way", async () => {
  const pool = library.pool({ maxOpenConns: 1 });
  await pool.exec("create table copied (n int primary key, word text)");
  const lines = (from: number, to: number): Readable =>
    Readable.from(Array.from({ length: to - from }, (_, i) => `${from + i}\tword ${from + i}\n`));
  const client = await pool.connect();
  await client.query("begin");
  await pipeline(lines(0, 500), client.query(copyFrom("copy copied from stdin")));
  await client.query("commit");
  await expect(pipeline(lines(499, 510), client.query(copyFrom("copy copied from stdin")))).rejects.toMatchObject({
    code: "23505",
  });
  const broken = Readable.from(
    (function* () {
      yield "600\tnever\n";
      throw new Error("the source broke");
    })(),
  );
  await expect(pipeline(broken, client.query(copyFrom("copy copied from stdin")))).rejects.toThrow("the source broke");
  const out = await text(client.query(copyTo("copy (select n from copied order by n limit 3) to stdout")));
  expect(out).toBe("0\n1\n2\n");
  client.release();
  expect(await pool.queryRow("select count(*)::int as n from copied")).toEqual({ n: 500 });
  await library.whole(pool);
});

test("what is closed before it has its connection keeps no connection", async () => {
  const pool = library.pool({ maxOpenConns: 1 });
  const client = await pool.connect();
  const cursor = pool.query(new Cursor(NUMBERS, [3]));
  const closed = cursor.close();
  pool.query(new QueryStream(NUMBERS, [3])).destroy();
  pool.query(copyTo("copy (select 1) to stdout")).destroy();
  const read = pool.query(new Cursor(NUMBERS, [3]));
  client.release();
  await closed;
  expect(await read.read(10)).toHaveLength(3);
  await read.close();
  expect(Object.keys(read)).not.toContain("close");
  await library.whole(pool);
});

test("a stream that waits for its connection fails when the pool is closed", async () => {
  const pool = library.pool({ maxOpenConns: 1 });
  const holder = await pool.acquire();
  const waiting = pool.query(new QueryStream(NUMBERS, [3]));
  waiting.resume();
  const failed = once(waiting, "error");
  await until("it waits", () => pool.waitingCount === 1);
  await pool.destroy();
  expect(await failed).toMatchObject([{ code: "ERR_VG_DB_POOL_CLOSED" }]);
  holder.release();
});
