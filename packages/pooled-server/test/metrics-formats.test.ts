import fc from "fast-check";
import { expect, test } from "vitest";
import type { Labels } from "@vg/pooled-server";
import { canonicalFloat } from "../src/metrics/numbers.ts";
import { MetricsRegistry } from "../src/metrics/registry.ts";
import { parseText } from "../src/metrics/text-parser.ts";
import { parseOpenMetrics } from "./support/open-metrics-parser.ts";

/** Quotes, backslashes, line ends, braces and half pairs, in any order. */
const hostile = fc.string({
  unit: fc.constantFrom('"', "\\", "\n", "\r", "n", "{", "}", ",", "=", "#", " ", "é", "😀", "\uD83D", "\0", "\t"),
  maxLength: 8,
});

const values = fc.oneof(
  fc.double({ min: 0, noNaN: true, noDefaultInfinity: true }),
  fc.constantFrom(0, 1, 1e21, 1e-7, 123_456_789),
);

/** What arrives: half a pair cannot be sent in UTF-8, and NUL ends the text for Prometheus. */
const sent = (text: string): string => text.replaceAll(/[\0\p{Cs}]/gu, "\uFFFD");

const own = (name: string): boolean => name.startsWith("vg_metrics_");

interface Line {
  name: string;
  labels: Labels;
  value: number;
}

/** Every line in one form, whatever the format it was read from. */
const plain = (lines: readonly Line[]): string[] =>
  lines.map(({ name, labels: { a, b, ...others }, value }) => JSON.stringify([name, a, b, others, value])).toSorted();

test("hostile label values, help texts and figures come back from both formats as they went in", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.tuple(hostile, hostile, values), { maxLength: 20, selector: ([a, b]) => sent(`${a}|${b}`) }),
      hostile,
      async (series, help) => {
        const registry = new MetricsRegistry();
        const counter = registry.counter({ name: "x_total", help: `.${help}`, labelNames: ["a", "b"] });
        const gauge = registry.gauge({ name: "y", help: `.${help}` });
        for (const [a, b, value] of series) {
          counter.child({ a, b }).add(value);
          gauge.child({ a, b: `.${b}` }).set(-value);
        }
        const text = parseText(await registry.expose());
        const openMetrics = parseOpenMetrics(await registry.expose({ openMetrics: true }));
        const lines = text
          .filter(({ name }) => !own(name))
          .flatMap(({ name, samples }) =>
            samples.map(({ suffix = "", labels = {}, value }) => ({ name: name + suffix, labels, value })),
          );
        const expected = new Map<string, number>();
        for (const [a, b, value] of series) {
          const key = JSON.stringify([sent(a), sent(b)]);
          expected.set(key, (expected.get(key) ?? 0) + value);
        }
        // To Prometheus, an empty label is none.
        const found = lines
          .filter(({ name }) => name === "x_total")
          .map(({ labels, value }) => [JSON.stringify([labels["a"] ?? "", labels["b"] ?? ""]), value]);
        expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected));
        expect(plain(openMetrics.filter(({ name }) => !own(name)).flatMap(({ samples }) => samples))).toEqual(
          plain(lines),
        );
        if (series.length > 0) {
          expect(text.find(({ name }) => name === "x_total")).toMatchObject({
            help: sent(`.${help}`),
            type: "counter",
          });
          expect(openMetrics.find(({ name }) => name === "x")).toMatchObject({
            help: sent(`.${help}`),
            type: "counter",
          });
        }
      },
    ),
  );
});

test("a histogram's lines say of every observation in which bucket it is, in both formats", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.uniqueArray(fc.double({ min: 0, max: 1e9, noNaN: true }), { minLength: 1, maxLength: 30 }),
      fc.array(fc.double({ min: 0, max: 2e9, noNaN: true })),
      async (bounds, observations) => {
        const buckets = bounds.map((bound) => bound + 0).toSorted((a, b) => a - b);
        const registry = new MetricsRegistry();
        const histogram = registry.histogram({ name: "h_seconds", help: "H.", buckets }).child({ a: "1" });
        for (const one of [...buckets, ...observations]) histogram.observe(one, "0af7651916cd43dd8448eb211c80319c");
        const all = [...buckets, ...observations];
        const text = parseText(await registry.expose());
        const [family] = parseOpenMetrics(await registry.expose({ openMetrics: true }));
        expect(family).toMatchObject({ name: "h_seconds", unit: "seconds" });
        for (const samples of [
          text[0]!.samples.map((sample) => ({ ...sample, labels: sample.labels! })),
          family!.samples.map((sample) => ({ ...sample, suffix: sample.name.slice("h_seconds".length) })),
        ]) {
          const found = samples
            .filter(({ suffix }) => suffix === "_bucket")
            .map(({ labels, value }) => [labels["le"], value]);
          expect(found).toEqual([
            ...buckets.map((bound) => [canonicalFloat(bound), all.filter((one) => one <= bound).length]),
            ["+Inf", all.length],
          ]);
        }
      },
    ),
  );
});

test("bounds and quantiles are spelled as OpenMetrics spells them, in both formats", async () => {
  const spelled = [0, 1, 0.25, 10, 100_000, 1_000_000, 1_234_567, 0.0001, 0.00001, 1.5e-9, Infinity].map(
    canonicalFloat,
  );
  expect(spelled).toEqual([
    "0.0",
    "1.0",
    "0.25",
    "10.0",
    "100000.0",
    "1e+06",
    "1.234567e+06",
    "0.0001",
    "1e-05",
    "1.5e-09",
    "+Inf",
  ]);
  const registry = new MetricsRegistry();
  registry
    .summary({ name: "s_bytes", help: "S.", quantiles: [1, 0.5] })
    .child()
    .observe(8);
  for (const openMetrics of [false, true]) {
    expect(await registry.expose({ openMetrics, names: ["s_bytes"] })).toContain(
      's_bytes{quantile="0.5"} 8\ns_bytes{quantile="1.0"} 8\ns_bytes_sum 8\ns_bytes_count 1\n',
    );
  }
});

test("the same metric in the two formats, to the letter", async () => {
  const registry = new MetricsRegistry();
  const options = { name: "sent_bytes_total", help: 'Bytes \\ "sent"\nso far.' };
  registry.counter(options).child({ path: 'a"b\\c\nd' }).add(2);
  expect(await registry.expose({ names: ["sent_bytes_total"] })).toBe(
    '# HELP sent_bytes_total Bytes \\\\ "sent"\\nso far.\n# TYPE sent_bytes_total counter\n' +
      'sent_bytes_total{path="a\\"b\\\\c\\nd"} 2\n',
  );
  expect(await registry.expose({ names: ["sent_bytes_total"], openMetrics: true })).toBe(
    '# TYPE sent_bytes counter\n# UNIT sent_bytes bytes\n# HELP sent_bytes Bytes \\\\ \\"sent\\"\\nso far.\n' +
      'sent_bytes_total{path="a\\"b\\\\c\\nd"} 2\n# EOF\n',
  );
  // And the first one again: no format leaves a trace in the other.
  expect(await registry.expose({ names: ["sent_bytes_total"] })).toContain("# TYPE sent_bytes_total counter\n");
});

test("exemplars are in OpenMetrics only, on buckets and totals, and only where a trace was given", async () => {
  const registry = new MetricsRegistry();
  const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];
  const counter = registry.counter({ name: "x_total", help: "X." }).child();
  const histogram = registry.histogram({ name: "h_seconds", help: "H.", buckets: [1, 2] }).child();
  counter.add(3, traceId, spanId);
  counter.add(1);
  histogram.observe(0.5);
  histogram.observe(1.5, traceId, spanId);
  histogram.observe(9, traceId);
  histogram.observe(1, "x".repeat(200));
  expect(await registry.expose()).not.toContain(traceId);
  const families = parseOpenMetrics(await registry.expose({ openMetrics: true }));
  const exemplars = families.flatMap(({ samples }) =>
    samples.flatMap(({ name, labels, exemplar }) =>
      exemplar ? [[name, labels["le"], exemplar.labels, exemplar.value]] : [],
    ),
  );
  expect(exemplars).toEqual([
    ["x_total", undefined, { trace_id: traceId, span_id: spanId }, 3],
    ["h_seconds_bucket", "2.0", { trace_id: traceId, span_id: spanId }, 1.5],
    ["h_seconds_bucket", "+Inf", { trace_id: traceId }, 9],
  ]);
});

test("_created says in OpenMetrics since when a series counts, where that is wanted", async () => {
  const before = Date.now() / 1000;
  const registry = new MetricsRegistry({ createdTimestamps: true });
  registry.counter({ name: "x_total", help: "X." }).child({ a: "1" }).add();
  registry
    .histogram({ name: "h_seconds", help: "H.", buckets: [1] })
    .child()
    .observe(1);
  registry.summary({ name: "s_seconds", help: "S." }).child().observe(1);
  expect(await registry.expose()).not.toContain("_created");
  const samples = parseOpenMetrics(await registry.expose({ openMetrics: true })).flatMap((family) => family.samples);
  const created = samples.filter(({ name }) => name.endsWith("_created"));
  expect(created.map(({ name }) => name)).toEqual(["x_created", "h_seconds_created", "s_seconds_created"]);
  for (const { value } of created) expect(value).toBeGreaterThan(before - 1);
});

test("a collector's counter without _total keeps its name, and is unknown to OpenMetrics", async () => {
  const registry = new MetricsRegistry();
  registry.collect(() => [
    { name: "hits", help: "Hits.", type: "counter", samples: [{ value: 1 }] },
    { name: "odd", help: "Odd.", type: "unknown", samples: [{ value: 2 }] },
  ]);
  expect(await registry.expose()).toContain(
    "# TYPE hits counter\nhits 1\n# HELP odd Odd.\n# TYPE odd untyped\nodd 2\n",
  );
  const families = parseOpenMetrics(await registry.expose({ openMetrics: true }));
  expect(families.map(({ name, type }) => [name, type])).toEqual(
    expect.arrayContaining([
      ["hits", "unknown"],
      ["odd", "unknown"],
    ]),
  );
});

test.each([
  ["a_total 1", "its end is missing"],
  ["a b c\n", "Line 1"],
  ["a 1\nb 1\na 2\n", "a again"],
  ["# TYPE a counter\n# TYPE a counter\n", "a second TYPE"],
  ["a 1\n# TYPE a counter\n", "after its samples"],
  ['a{x="1",x="2"} 1\n', "twice"],
  ['a{x="1} 1\n', "Line 1"],
  ["a 0x10\n", "no value"],
])("the reader of the text format refuses %j", (text, why) => {
  expect(() => parseText(text)).toThrow(why);
});

test.each([
  ["# TYPE a gauge\na 1\n", "EOF"],
  ["# TYPE a counter\na 1\n# EOF\n", "no line of the family"],
  ["# TYPE a gauge\n\na 1\n# EOF\n", "line 2"],
  ["# TYPE a gauge\n# UNIT a bytes\n# EOF\n", "unit"],
  ["# TYPE a gauge\na 1\na 2\n# EOF\n", "twice"],
  ['# TYPE a histogram\na_bucket{le="1"} 1\na_bucket{le="+Inf"} 1\na_count 1\na_sum 1\n# EOF\n', "le is 1"],
  ['# TYPE a histogram\na_bucket{le="1.0"} 1\na_count 1\na_sum 1\n# EOF\n', "+Inf"],
  ['# TYPE a gauge\na 1 # {x="1"} 1\n# EOF\n', "exemplar"],
  ["# TYPE a counter\na_total 1\n# TYPE a_total gauge\na_total 1\n# EOF\n", "two families"],
])("the reader of OpenMetrics refuses %j", (text, why) => {
  expect(() => parseOpenMetrics(text)).toThrow(why);
});
