import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  expectAnswer,
  leftOut,
  rotate,
  runComparison,
  type Comparison,
  type ContenderSpec,
  type Environment,
} from "../harness/comparison.ts";
import { Progress } from "../harness/progress.ts";
import type { CaseResult } from "../harness/results.ts";

// More rounds than usual are never cut short, so nothing here depends on the speed of the machine.
const SETTINGS = { budgetMs: 0, rounds: 4, usualRounds: 3, warmUpMs: 5, launches: 2, noise: false };
const quiet = new Progress({ isTTY: false, write: () => true });

async function runWith(
  contenders: (string | ContenderSpec)[],
  settings = SETTINGS,
  parameters = {},
  environment: Partial<Environment> = {},
): Promise<CaseResult> {
  const [result] = await runComparison(
    comparisonOf(contenders, parameters),
    { parameters: { greeting: "hello" }, stop: () => Promise.resolve(), ...environment },
    settings,
    quiet,
  );
  return result!;
}

function comparisonOf(contenders: (string | ContenderSpec)[], parameters = {}): Comparison {
  return {
    name: "fixture",
    title: "fixture",
    packages: ["ours"],
    module: new URL("./fixtures.ts", import.meta.url),
    cases: [
      {
        name: "count",
        title: "count",
        parameters,
        contenders: contenders.map((one) => (typeof one === "string" ? { name: one, library: one } : one)),
        batch: 1000,
        server: { callers: 4 },
        check: (answer, operations, { differs, name }) => {
          if (name === "leaves too much" && answer["left"] === 2) return "left 2";
          return differs === undefined
            ? expectAnswer({ operations: answer["operations"] ?? null }, { operations })
            : undefined;
        },
        describe: (answer, operations) => `${JSON.stringify(answer["operations"])} of ${operations}`,
        checkVerified: (answer) => expectAnswer(answer ?? {}, { greeting: "hello" }),
      },
    ],
  };
}

void test("over the rounds each contender runs in each place", () => {
  const orders = [0, 1, 2, 3].map((round) => rotate(["A", "B", "C"], round).join(""));
  assert.deepEqual(orders, ["ABC", "CAB", "BCA", "ABC"]);
  assert.deepEqual(rotate([], 5), []);
});

void test("every contender does the same work in every round, and is compared with the first", async () => {
  const result = await runWith(["ours", "rival"]);
  assert.equal(result.rounds, 4);
  assert.equal(result.operations % 1000, 0);
  assert.equal(result.answer?.["operations"], result.operations);
  const [ours, rival] = result.contenders;
  assert.ok((ours?.nsPerOp?.median ?? 0) > 0);
  assert.ok((rival?.cpuNsPerOp?.max ?? 0) > 0);
  assert.equal(ours?.speedRatio, undefined);
  assert.ok((rival?.speedRatio?.min ?? 0) > 0);
});

void test("when the time is up, three rounds are still measured, and no more", async () => {
  const result = await runWith(["ours", "rival"], { ...SETTINGS, budgetMs: 0, rounds: 9, usualRounds: 9 });
  assert.equal(result.rounds, 3);
});

void test("the rounds are spread over several processes of each contender", async () => {
  const folder = await mkdtemp(join(tmpdir(), "vg-bench-test-"));
  try {
    const { rounds } = await runWith(["ours"], { ...SETTINGS, launches: 3 }, { folder });
    assert.equal(rounds, 4);
    assert.equal((await readdir(folder)).length, 3);
  } finally {
    await rm(folder, { recursive: true });
  }
});

void test("a rival is compared with the contender of ours that it names", async () => {
  const result = await runWith(["ours", "ours too", { name: "rival", library: "rival", against: "ours too" }]);
  assert.equal(result.contenders[1]?.against, "ours");
  assert.equal(result.contenders[2]?.against, "ours too");
});

void test("a contender whose answer becomes wrong is disqualified, and the others go on", async () => {
  const { contenders } = await runWith(["ours", "wrong later", "rival"]);
  assert.match(contenders[1]?.disqualified ?? "", /^wrong answer: got .*expected/);
  assert.equal(contenders[1]?.nsPerOp, undefined);
  assert.ok(contenders[2]?.speedRatio !== undefined);
});

void test("when ours is wrong it is disqualified too, and nothing is compared with it", async () => {
  const { contenders } = await runWith(["wrong later", "rival"]);
  assert.match(contenders[0]?.disqualified ?? "", /^wrong answer/);
  assert.equal(contenders[1]?.speedRatio, undefined);
  assert.ok(contenders[1]?.nsPerOp !== undefined);
});

void test("what a contender shows before its rounds is checked", async () => {
  const { contenders } = await runWith(["ours", "wrong at the start"]);
  assert.match(contenders[1]?.disqualified ?? "", /^wrong answer: .*bye/);
});

void test("a contender that cannot start, throws or crashes says why", async () => {
  const { contenders } = await runWith(["ours", "cannot start", "throws", "crashes"]);
  const reasons = contenders.map(({ disqualified }) => disqualified);
  assert.equal(reasons[0], undefined);
  assert.equal(reasons[1], "failed: Error: no such library");
  assert.equal(reasons[2], "failed: Error: broken (cause: the cause)");
  assert.equal(reasons[3], "failed: its process ended (exit code 3)");
});

void test("a contender that does less has its own answer shown, is checked by its own rule, and has no bar", async () => {
  const less = { name: "less", library: "less", creates: "wrong later", differs: "does less" };
  const result = await runWith([
    "ours",
    { name: "rival", library: "rival", bar: 1.5 },
    less,
    { ...less, name: "also less" },
  ]);
  const [, rival, ...others] = result.contenders;
  assert.equal(rival?.bar, 1.5);
  assert.equal(result.answerText, `${result.operations} of ${result.operations}`);
  for (const other of others) {
    assert.equal(other.disqualified, undefined);
    assert.equal(other.bar, undefined);
    assert.equal(other.answerText, `${result.operations - 1} of ${result.operations}`);
    assert.ok(other.speedRatio !== undefined);
  }
});

void test("the noise run puts a second copy of each rival beside it", async () => {
  const { contenders } = await runWith(["ours", "rival"], { ...SETTINGS, noise: true });
  assert.deepEqual(
    contenders.map(({ name }) => name),
    ["ours", "rival", "rival again"],
  );
});

void test("the copies of a noise run are of the same contender, whatever its row is called", async () => {
  const { contenders } = await runWith(["ours", { name: "rival", library: "rival", creates: "wrong later" }], {
    ...SETTINGS,
    noise: true,
  });
  assert.match(contenders[2]?.disqualified ?? "", /^wrong answer/);
});

void test("what a round leaves behind is part of its answer, and a contender may have parameters of its own", async () => {
  const tidy = { name: "tidy", library: "tidy", parameters: { leaves: 1 } };
  const untidy = { name: "leaves too much", library: "untidy", parameters: { leaves: 2 } };
  const { contenders, answer } = await runWith(["ours", untidy, tidy]);
  assert.equal(contenders[1]?.disqualified, "wrong answer: left 2");
  assert.equal(answer?.["left"], 1);
});

void test("a process that only computes is on the CPU all the time, and the case says who serves it", async () => {
  const { contenders, server } = await runWith(["ours", { name: "rival", library: "rival", cpuBar: 2 }]);
  assert.equal(server?.callers, 4);
  assert.ok((contenders[0]?.onCpu?.max ?? 0) > 0);
  assert.equal(contenders[1]?.cpuBar, 2);
});

void test("what the environment saw of a round is part of its answer, and its CPU time is set against the round's", async () => {
  let asked = 0;
  const observed = () => Promise.resolve({ answer: { left: ++asked > 6 ? 2 : 1 }, cpuMs: asked * 1e6 });
  const { contenders, answer } = await runWith(["ours"], { ...SETTINGS, launches: 1 }, {}, { observed });
  assert.equal(answer?.["left"], 2);
  // A thousand seconds in each round.
  assert.ok((contenders[0]?.serverBusy?.min ?? 0) > 1);
  const wrong = await runWith(["ours", "leaves too much"], SETTINGS, {}, { observed });
  assert.equal(wrong.contenders[1]?.disqualified, "wrong answer: left 2");
});

void test("a case that cannot be measured here is left out, and the reason is told once", async () => {
  const one = comparisonOf(["ours"]);
  const twice = {
    ...one,
    cases: [...one.cases, { ...one.cases[0]!, name: "more" }, { ...one.cases[0]!, name: "here" }],
  };
  const environment = {
    parameters: { greeting: "hello" },
    whyNot: ({ name }: { name: string }) => (name === "here" ? undefined : "no such part"),
    stop: () => Promise.resolve(),
  };
  const results = await runComparison(twice, environment, SETTINGS, quiet);
  assert.deepEqual(
    results.map(({ name }) => name),
    ["here"],
  );
  assert.deepEqual(leftOut(twice, environment), ["2 of 3 cases were left out: no such part."]);
  assert.deepEqual(leftOut(one, undefined), []);
});

void test("where it is asked for, each contender's allocations are measured, collections or not", async () => {
  const one = comparisonOf(["ours", { name: "wasteful", library: "wasteful" }]);
  const allocating = { ...one, cases: [{ ...one.cases[0]!, allocations: true }] };
  const environment = { parameters: { greeting: "hello" }, stop: () => Promise.resolve() };
  const [result] = await runComparison(allocating, environment, { ...SETTINGS, rounds: 1, launches: 1 }, quiet);
  const [ours, wasteful] = result!.contenders;
  // An array of 10,000 words for each operation: more than the young generation holds in a round.
  const bytes = wasteful?.bytesPerOp?.median ?? 0;
  assert.ok(bytes > 79_000 && bytes < 90_000, `${bytes}`);
  assert.ok((ours?.bytesPerOp?.median ?? Infinity) < 9000, JSON.stringify(ours));
  assert.equal((await runWith(["ours"])).contenders[0]?.bytesPerOp, undefined);
});

void test("where it is asked for, single calls are timed in samples of their own, and checked", async () => {
  const one = comparisonOf(["ours", "rival", "wrong call", "untimed"]);
  const timed = { ...one, cases: [{ ...one.cases[0]!, calls: 100 }] };
  const environment = { parameters: { greeting: "hello" }, stop: () => Promise.resolve() };
  const [result] = await runComparison(timed, environment, SETTINGS, quiet);
  const [ours, rival, wrong, untimed] = result!.contenders;
  // Of two processes.
  assert.equal(ours?.callTimes?.samples, 6);
  assert.equal(ours?.callTimes?.calls, 100);
  const { p50Ns, p99Ns, clockNs, p99Ratio } = rival!.callTimes!;
  assert.ok(clockNs.min > 0 && p50Ns.min > 0 && p99Ns.median >= p50Ns.median, JSON.stringify(rival));
  assert.ok(p99Ratio!.min > 0);
  assert.equal(ours?.callTimes?.p50Ratio, undefined);
  assert.match(wrong?.disqualified ?? "", /^wrong answer/);
  assert.match(untimed?.disqualified ?? "", /can't time single calls/);
  assert.equal((await runWith(["ours"])).contenders[0]?.callTimes, undefined);
});
