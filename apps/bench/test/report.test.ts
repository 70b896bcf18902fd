import assert from "node:assert/strict";
import { test } from "node:test";
import { allocationTable } from "../harness/allocation-table.ts";
import { callTable } from "../harness/call-table.ts";
import { barChart, ratioChart } from "../harness/chart.ts";
import { markdownTable, nanoseconds, perSecond } from "../harness/format.ts";
import { replaceSection } from "../harness/publish.ts";
import { caseText, reportChart, reportMarkdown, resultsText, warnings, yardstickText } from "../harness/report.ts";
import { serverIsLimit, settingTable } from "../harness/setting-table.ts";

const summary = { median: 100, min: 90, max: 120 };

void test("durations keep three digits and get the unit that suits them", () => {
  assert.deepEqual([7.046, 70.46, 704.6, 7046, 7.046e6].map(nanoseconds), [
    "7.05 ns",
    "70.5 ns",
    "705 ns",
    "7.05 µs",
    "7.05 ms",
  ]);
  assert.equal(perSecond(125), "8.00 M");
});

void test("a disqualified contender shows in the table and below it, with no figures", () => {
  const text = caseText(
    {
      name: "x",
      title: "a case",
      operations: 1000,
      rounds: 3,
      answer: { hits: 1 },
      contenders: [
        { name: "@vg/cache", library: "@vg/cache", nsPerOp: summary, cpuNsPerOp: summary },
        { name: "lru-cache (ttl)", library: "lru-cache", disqualified: "wrong answer: 1" },
      ],
    },
    { "lru-cache": "1.2.3" },
  );
  assert.match(text, /lru-cache 1\.2\.3 \(ttl\) +disqualified/);
  assert.match(text, /DISQUALIFIED lru-cache \(ttl\): wrong answer: 1/);
});

void test("the cases of a setting make one table: the bar beside the ratio, and why a rival has none", () => {
  const figures = { nsPerOp: summary, cpuNsPerOp: summary };
  const ratioOf = (median: number) => ({ median, min: 0.5, max: 3 });
  const rival = { library: "r", ...figures, cpuRatio: ratioOf(1) };
  const one = {
    name: "a",
    title: "case a",
    setting: "setting s",
    operations: 1000,
    rounds: 3,
    answer: { hits: 500 },
    answerText: "50 % hits",
    contenders: [
      { name: "@vg/cache", library: "@vg/cache", ...figures },
      { name: "r1", ...rival, speedRatio: ratioOf(1.2), bar: 1.2 },
      { name: "r2", ...rival, speedRatio: ratioOf(1.19), bar: 1.2 },
      { name: "r3", ...rival, speedRatio: ratioOf(1), differs: "approximate", answerText: "60 % hits" },
      { name: "r4", library: "r", disqualified: "wrong answer: 1" },
    ],
  };
  const text = resultsText([one, { ...one, title: "case b" }], {});
  assert.equal(text.match(/setting s/g)?.length, 1);
  assert.match(text, /r1 .*1\.20× +met\n/);
  assert.match(text, /r2 .*1\.20× +missed\n/);
  assert.match(text, /r3 .*approximate: 60 % hits, exact 50 % hits\n/);
  assert.match(text, /DISQUALIFIED r4 \(case b\): wrong answer: 1/);

  const machine = { cpu: "", cores: 2, memoryGb: 1, system: "", node: "", v8: "", loadBefore: 0 };
  const report = { comparison: "c", title: "t", quick: false, machine, versions: {}, cases: [one] };
  assert.match(
    reportMarkdown(report, "c.svg"),
    /\*\*setting s\*\* \(3 rounds of 1,000 operations; every answer checked\)/,
  );
  // What has no bar is not in the picture.
  const svg = reportChart(report);
  assert.ok(svg.includes("case a: r2") && !svg.includes("case a: r3"));
});

void test("only the section between its marks is replaced, and replacing again changes nothing", () => {
  const text = "before\n<!-- bench:a -->\nold\n<!-- /bench:a -->\nafter <!-- bench:b --><!-- /bench:b -->";
  const once = replaceSection(text, "a", "new $& $1");
  assert.equal(
    once,
    "before\n<!-- bench:a -->\n\nnew $& $1\n\n<!-- /bench:a -->\nafter <!-- bench:b --><!-- /bench:b -->",
  );
  assert.equal(replaceSection(once, "a", "new $& $1"), once);
  assert.throws(() => replaceSection(text, "c", "x"), /no section <!-- bench:c -->/);
});

void test("names in a chart and a table cannot break out of them", () => {
  const svg = barChart('<"&>', "a note", [
    { title: "a<b", bars: [{ label: "x&y", value: summary, text: "<1", ours: true }] },
  ]);
  assert.ok(!svg.includes("a<b") && svg.includes("a&lt;b") && svg.includes("x&amp;y"));
  assert.equal(markdownTable([["h"], ["a|b"]]), "| h |\n|---|\n| a\\|b |");
});

void test("figures that are not fit to be quoted say so", () => {
  const machine = {
    cpu: "",
    cores: 2,
    memoryGb: 1,
    system: "",
    node: "",
    v8: "",
    loadBefore: 0.9,
  };
  const versions = { undici: "8.12.4", "undici under @vg/pool-http": "8.11.0" };
  const found = warnings({ quick: true, machine, versions });
  assert.equal(found.length, 3);
  assert.match(found[2] ?? "", /@vg\/pool-http uses undici 8\.11\.0, its rival is 8\.12\.4/);
  assert.deepEqual(
    warnings({
      quick: false,
      machine: { ...machine, loadBefore: 0.1 },
      versions: { pg: "1", "pg under @vg/pool-db": "1" },
    }),
    [],
  );
});

void test("where a server does the work, CPU time stands beside the time, with its bar where the server is the limit", () => {
  const at = (median: number) => ({ median, min: median, max: median });
  const caseOf = (callers: number, onCpu: number, cpuRatio: number) => ({
    name: `c${callers}`,
    title: `${callers} callers`,
    setting: "s",
    server: { callers },
    operations: 100,
    rounds: 3,
    answer: null,
    contenders: [
      { name: "@vg/x", library: "@vg/x", nsPerOp: at(1000), cpuNsPerOp: at(1000 * onCpu), onCpu: at(onCpu) },
      {
        name: "r (as it comes)",
        library: "r",
        nsPerOp: at(2000),
        cpuNsPerOp: at(900),
        onCpu: at(0.45),
        speedRatio: at(2),
        bar: 1.5,
        cpuRatio: at(cpuRatio),
        cpuBar: 2,
      },
    ],
  });
  const cases = [caseOf(64, 0.69, 2), caseOf(63, 0.5, 1.99), caseOf(62, 0.7, 3), caseOf(1, 0.3, 3)];
  assert.deepEqual(cases.map(serverIsLimit), [true, true, false, false]);
  const [head, ...lines] = settingTable(cases, { r: "1.2.3" });
  assert.deepEqual(lines[0], [
    "64 callers",
    "1.00 µs",
    "690 ns (69 %)",
    "r 1.2.3 (as it comes)",
    "2.00 µs",
    "900 ns (45 %)",
    "2.00× (2.00..2.00)",
    "1.50× met",
    "2.00× (2.00..2.00)",
    "2.00× met",
  ]);
  assert.equal(head?.length, lines[0]?.length);
  assert.deepEqual(
    lines.slice(1).map((line) => line.at(-1)),
    ["2.00× missed", "client limits", "round trips limit"],
  );
});

void test("where a server's own share of the time is known it stands beside; no bar for CPU time, no column", () => {
  const at = (median: number) => ({ median, min: median, max: median });
  const ours = {
    name: "@vg/x",
    library: "@vg/x",
    nsPerOp: at(10),
    cpuNsPerOp: at(9),
    onCpu: at(0.9),
    serverBusy: at(0.5),
  };
  const rival = { ...ours, name: "r", library: "r", speedRatio: at(1), cpuRatio: at(1), serverBusy: at(0.25) };
  const one = { name: "c", title: "c", setting: "s", server: { callers: 4 }, operations: 1, rounds: 3, answer: null };
  const [head, line] = settingTable([{ ...one, contenders: [ours, rival] }], {});
  assert.equal(head?.includes("bar: CPU"), false);
  assert.equal(head?.at(-1), "server busy: ours, beside");
  assert.equal(line?.at(-1), "50 %, 25 %");
});

void test("what was allocated is a table of its own, in which cases of the same title are one", () => {
  const at = (median: number) => ({ median, min: median, max: median });
  const row = (name: string, bytes: number) => ({ name, library: name, nsPerOp: summary, bytesPerOp: at(bytes) });
  const of = (...contenders: ReturnType<typeof row>[]) => ({
    name: "c",
    title: "c",
    setting: "s",
    operations: 1,
    rounds: 3,
    answer: null,
    contenders,
  });
  const ours = row("@vg/x", 1000);
  const table = allocationTable([of(ours, row("r1", 2500)), of(ours, row("r2", 900)), of(row("@vg/y", 10))], {});
  assert.deepEqual(table?.slice(1), [
    ["c", "@vg/x", "1,000 B", "1,000 B..1,000 B", ""],
    ["", "r1", "2,500 B", "2,500 B..2,500 B", "2.50×"],
    ["", "r2", "900 B", "900 B..900 B", "0.90×"],
    ["c", "@vg/y", "10 B", "10 B..10 B", ""],
  ]);
  assert.match(resultsText([of(ours, row("r1", 2500))], {}), /Bytes of V8's heap[^]*2\.50×/);
  assert.equal(allocationTable([], {}), undefined);
});

void test("what was left out is said among the warnings", () => {
  const machine = { cpu: "", cores: 2, memoryGb: 1, system: "", node: "", v8: "", loadBefore: 0 };
  assert.deepEqual(warnings({ quick: false, machine, versions: {}, leftOut: ["2 cases."] }), ["2 cases."]);
});

void test("a yardstick is a table of its own, or says why there is none", () => {
  const machine = { cpu: "", cores: 2, memoryGb: 1, system: "", node: "", v8: "", loadBefore: 0 };
  const report = { comparison: "c", title: "t", quick: false, machine, versions: {}, cases: [] };
  const yardstick = { title: "y", note: "a note", rows: [{ name: "four", nsPerOp: summary }] };
  assert.match(yardstickText(yardstick), /^y\n[^]*four +100 ns[^]*a note\n$/);
  assert.match(reportMarkdown({ ...report, yardstick }, "c.svg"), /\*\*y\*\*\n\n\| {2}\| time\/op/);
  assert.equal(yardstickText({ title: "y", note: "none here", rows: [] }), "y\n  none here\n");
});

void test("single calls are a table of their own below that of their setting, which says how they were timed", () => {
  const at = (median: number) => ({ median, min: median, max: median });
  const times = { samples: 9, calls: 10_000, p50Ns: at(1500), p99Ns: at(4000), clockNs: at(40) };
  const figures = { nsPerOp: summary, cpuNsPerOp: summary };
  const one = {
    name: "c",
    title: "a case",
    setting: "s",
    operations: 1,
    rounds: 3,
    answer: null,
    contenders: [
      { name: "@vg/x", library: "@vg/x", ...figures, callTimes: times },
      { name: "r", library: "r", ...figures, callTimes: { ...times, p50Ratio: at(2), p99Ratio: at(3) } },
      { name: "bad", library: "bad", disqualified: "wrong answer: 1" },
    ],
  };
  const { contenders: _, ...untimed } = one;
  const table = callTable("s", [{ ...untimed, contenders: [{ name: "o", library: "o" }] }, one], { r: "1.2.3" });
  assert.equal(
    table?.method,
    "9 samples of 10,000 calls, each timed by itself; in each figure are 40.0 ns of reading the clock",
  );
  const range = ["1.50 µs", "1.50 µs..1.50 µs", "4.00 µs", "4.00 µs..4.00 µs"];
  assert.deepEqual(table?.rows.slice(1), [
    ["a case", "@vg/x", ...range, "", ""],
    ["", "r 1.2.3", ...range, "2.00× (2.00..2.00)", "3.00× (3.00..3.00)"],
    ["", "bad", "disqualified", "", "", "", "", ""],
  ]);
  assert.match(resultsText([one], {}), /s\n[^]*every answer checked\n[^]*A single call: s/);
  assert.equal(
    callTable(
      "s",
      [untimed].map((few) => ({ ...few, contenders: [] })),
      {},
    ),
    undefined,
  );
});

void test("where operations are known by their rate, the table has that in the place of their time", () => {
  const at = (median: number) => ({ median, min: median, max: median });
  const ours = { name: "@vg/x", library: "@vg/x", nsPerOp: at(50_000), cpuNsPerOp: at(40_000), onCpu: at(0.8) };
  const none = {
    ...ours,
    name: "none",
    library: "node",
    speedRatio: at(0.5),
    cpuRatio: at(0.4),
    differs: "logs nothing",
  };
  const one = { name: "c", title: "c", setting: "s", rate: "requests", operations: 1, rounds: 3, answer: null };
  const [head, line] = settingTable([{ ...one, contenders: [ours, none] }], {});
  assert.deepEqual(head?.slice(1, 6), ["ours: requests/s", "our CPU/op", "beside", "its requests/s", "its CPU/op"]);
  assert.deepEqual(line?.slice(1, 3), ["20.0 k", "40.0 µs (80 %)"]);
  assert.equal(line?.at(-1), "logs nothing");
});

void test("ratios that lie far apart are drawn on a logarithmic scale", () => {
  const row = (median: number) => ({ label: "r", value: { median, min: median, max: median }, text: "", bar: 1 });
  const pointsOf = (...medians: number[]): number[] =>
    [
      ...ratioChart("t", "n", [{ title: "g", rows: medians.map(row) }]).matchAll(
        /<circle class="point" cx="([\d.]+)"/g,
      ),
    ].map(([, x]) => Number(x));
  const near = pointsOf(1, 2, 4);
  assert.ok(Math.abs(near[2]! - near[1]! - 2 * (near[1]! - near[0]!)) < 0.5, near.join(" "));
  const far = pointsOf(1, 2, 4, 20);
  assert.ok(Math.abs(far[2]! - far[1]! - (far[1]! - far[0]!)) < 0.5, far.join(" "));
});
