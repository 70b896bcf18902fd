import assert from "node:assert/strict";
import { test } from "node:test";
import { comparison } from "../comparisons/pool-db.ts";
import {
  isItem,
  ITEMS,
  itemOf,
  PAGE,
  pageOf,
  rightEvents,
  violates,
  violationsIn,
  WORKS,
  type Event,
} from "../comparisons/pool-db-workload.ts";
import { pgbenchScript, transactionsPerSecond } from "../comparisons/pgbench.ts";
import { compare, wrongAnswer } from "../pools/acquire.ts";
import { CURVE, merged } from "../pools/query-latency.ts";

const event = (id: number): Event => ({
  id,
  name: `event ${id}`,
  price: id / 8,
  at: new Date(Date.parse("2026-01-01T00:00:00Z") + id * 1001),
  paid: id % 2 === 0,
  note: id % 3 === 0 ? `note ${id}` : null,
});
const pageRows = (page: number): Event[] => Array.from({ length: PAGE }, (_, place) => event(page * PAGE + place));

void test("of a page, every value of every row has to be right, and in its place", () => {
  assert.equal(rightEvents(pageRows(3), 3), PAGE);
  assert.equal(rightEvents(pageRows(3), 4), 0);
  assert.equal(rightEvents(pageRows(3).slice(1), 3), 0);
  const wrong: Partial<Record<keyof Event, unknown>>[] = [
    { id: "301" },
    { name: "event 302" },
    { price: `${301 / 8}` },
    { at: event(301).at.toISOString() },
    { at: new Date(0) },
    { paid: "f" },
    { note: undefined },
  ];
  for (const change of wrong) {
    const rows = pageRows(3);
    rows[1] = { ...rows[1]!, ...change } as Event;
    assert.equal(rightEvents(rows, 3), PAGE - 1, JSON.stringify(change));
  }
});

void test("an item is one row with the right values", () => {
  const row = { id: 7, name: "item 7", price: 1.75 };
  assert.ok(isItem([row], 7));
  assert.ok(!isItem([], 7) && !isItem([row, row], 7) && !isItem([row], 8));
  assert.ok(!isItem([{ ...row, price: 1.7 }], 7) && !isItem([{ ...row, name: "item 8" }], 7));
});

void test("a round asks for what there is, and one query of a hundred violates", () => {
  const indices = Array.from({ length: 1000 }, (_, index) => index);
  assert.equal(new Set(indices.map(itemOf)).size, 1000);
  assert.ok(indices.every((index) => itemOf(index) < ITEMS && pageOf(index) < 100));
  assert.equal(indices.filter(violates).length, violationsIn(1000));
});

void test("each work is measured with each number of callers in both settings, and once in each by a quick run", () => {
  assert.equal(comparison.cases.length, 2 * WORKS.length * 4);
  assert.equal(new Set(comparison.cases.map(({ name }) => name)).size, comparison.cases.length);
  assert.equal(comparison.cases.filter(({ fullOnly }) => fullOnly !== true).length, 2 * WORKS.length);
});

void test("an insert is only right when the rows are in the table, with their values", () => {
  const insert = comparison.cases.find(({ parameters }) => parameters["work"] === "insert")!;
  const right = { rows: 200, violations: 0, wrong: 0, stored: 200, right: 200 };
  const check = (answer: Record<string, number>) => insert.check(answer, 200, insert.contenders[0]!);
  assert.equal(check(right), undefined);
  assert.match(check({ ...right, stored: 199, right: 199 }) ?? "", /"stored":199/);
  assert.match(check({ ...right, right: 199 }) ?? "", /"right":199/);
  const { stored: _, right: __, ...unchecked } = right;
  assert.notEqual(check(unchecked), undefined);
});

void test("pgbench runs the same statement, alone or several in a pipeline", () => {
  assert.equal(
    pgbenchScript(1),
    "\\set id0 random(0, 9999)\nSELECT id, name, price FROM bench_items WHERE id = :id0;\n",
  );
  const lines = pgbenchScript(2).trim().split("\n");
  assert.deepEqual([lines[2], lines[5]], ["\\startpipeline", "\\endpipeline"]);
  assert.match(lines[4] ?? "", /id = :id1;$/);
});

void test("of pgbench's report the rate is taken, and a failure is not passed over", () => {
  const report =
    "number of failed transactions: 0 (0.000%)\nlatency average = 0.1 ms\ntps = 43304.951745 (without …)\n";
  assert.equal(transactionsPerSecond(report), 43304.951745);
  assert.throws(() => transactionsPerSecond(report.replace(": 0", ": 12")), /did not do its work/);
  assert.throws(() => transactionsPerSecond("pgbench: error: connection failed"), /connection failed/);
});

void test("a pool that lends more than it may, or does not get all back, has no figures", () => {
  const task = { name: "p", callers: 64, connections: 25, rounds: 3 };
  const result = { nsPerOp: [], bytesPerOp: 0, most: 25, left: 0 };
  assert.equal(wrongAnswer(task, result), undefined);
  assert.match(wrongAnswer(task, { ...result, most: 26 }) ?? "", /26 connections were lent at a time, expected 25/);
  assert.match(wrongAnswer(task, { ...result, most: 8 }) ?? "", /8 connections/);
  assert.match(wrongAnswer(task, { ...result, left: 1 }) ?? "", /1 connections were still lent/);
  assert.equal(wrongAnswer({ ...task, callers: 1 }, { ...result, most: 1 }), undefined);

  const entry = (ns: number, bytes: number) => ({ name: "p", nsPerOp: [ns], bytesPerOp: [bytes] });
  const found = compare(entry(100, 200), entry(150, 100));
  assert.equal(found?.speed.median, 1.5);
  assert.equal(found?.bytes.median, 0.5);
  assert.equal(compare(entry(1, 1), { ...entry(1, 1), disqualified: "wrong" }), undefined);
});

void test("of several processes' latencies the median of each percentile stands, and the longest of all", () => {
  const latency = (ns: number) => ({ count: 10, maxNs: ns * 2, curve: CURVE.map((_, i) => ns + i) });
  const found = merged([latency(300), latency(100), latency(200)]);
  assert.deepEqual(found, { count: 30, maxNs: 600, curve: CURVE.map((_, i) => 200 + i) });
});
