import assert from "node:assert/strict";
import { test } from "node:test";
import { INCOMPLETE, wrongAnswer } from "../servers/answers.ts";
import { BARE } from "../servers/contenders.ts";
import { remarks, shareOf, type Entry, type Round } from "../servers/pooled-server.ts";
import { Load, RunningServer } from "../servers/running.ts";
import { ANSWER, QUESTION } from "../servers/work.ts";

const whole = (head: string, body: string): Buffer => Buffer.from(`HTTP/1.1 200 OK\r\n${head}\r\n\r\n${body}`);

void test("an answer counts when all of it is there, and only the right one is right", () => {
  const right = whole("Content-Length: 5", "right");
  assert.equal(wrongAnswer(right, "right"), undefined);
  for (let cut = 0; cut < right.length; cut++) assert.equal(wrongAnswer(right.subarray(0, cut), "right"), INCOMPLETE);
  assert.match(String(wrongAnswer(right, "other")), /another one: right/);
  assert.match(String(wrongAnswer(Buffer.from("HTTP/1.1 502 No\r\ncontent-length: 2\r\n\r\nno"), "no")), /502 No: no/);
  const chunked = whole("transfer-encoding: chunked", "3\r\nrig\r\n2\r\nht\r\n0\r\n\r\n");
  assert.equal(wrongAnswer(chunked, "right"), undefined);
  assert.equal(wrongAnswer(chunked.subarray(0, -1), "right"), INCOMPLETE);
});

void test("question and answer have 1 KiB each, and are JSON", () => {
  for (const text of [QUESTION, ANSWER]) {
    assert.equal(Buffer.byteLength(text), 1024);
    assert.equal(JSON.stringify(JSON.parse(text)), text);
  }
});

const round = (perSecond: number): Round => ({ perSecond, p50Ms: 1, p99Ms: 2, cpuMicros: 10, loadBusy: 0.5 });
const entry = (name: string, rates: number[], more: Partial<Entry> = {}): Entry => ({
  name,
  rounds: rates.map(round),
  ...more,
});

void test("a share is taken round by round, and the bar is met by its median", () => {
  const base = entry("bare", [100, 50, 200]);
  const ours = entry("ours", [90, 40, 100], { bar: 0.8 });
  assert.deepEqual(shareOf(base, ours), { median: 0.8, min: 0.5, max: 0.9 });
  assert.match(remarks({ note: "", entries: [base, ours] }).join("\n"), /at most 20 % lost: met, with 20 %/);
  const slow = entry("slow", [70, 40, 100], { bar: 0.8 });
  assert.match(remarks({ note: "", entries: [base, slow] }).join("\n"), /missed, with 30 %/);
  const wrong = entry("wrong", [], { disqualified: "the body is another one", bar: 0.8 });
  assert.equal(shareOf(base, wrong), undefined);
  assert.deepEqual(remarks({ note: "n", entries: [base, wrong] }), [
    "n",
    "DISQUALIFIED wrong: the body is another one",
  ]);
});

void test("the load measures a server that answers rightly, and says what is wrong with another", async () => {
  await using server = await RunningServer.start({ name: BARE, folder: "", upstream: "" });
  await using load = new Load();
  const task = {
    port: server.port,
    connections: 3,
    durationMs: 100,
    path: "/",
    headers: {},
    body: QUESTION,
    awake: false,
  };
  const good = await load.run({ ...task, answer: ANSWER });
  assert.equal((await load.run({ ...task, awake: true, answer: ANSWER })).failure, undefined);
  assert.equal(good.failure, undefined);
  assert.ok(good.requests > 0 && good.p99Ms >= good.p50Ms && (await server.cpuMicros()) > 0);
  assert.match((await load.run({ ...task, answer: "something else" })).failure ?? "", /another one/);
  await assert.rejects(RunningServer.start({ name: "none", folder: "", upstream: "" }), /its process ended/);
});
