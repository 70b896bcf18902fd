import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { MetricError } from "@vg/pooled-server";
import { MetricsRegistry } from "../src/metrics/registry.ts";

const sorted = (labels: Record<string, string>): string =>
  JSON.stringify(
    Object.keys(labels)
      .toSorted()
      .map((name) => [name, labels[name]]),
  );

const seen = async (registry: MetricsRegistry, name: string): Promise<string[]> =>
  (await registry.expose({ names: [name] })).split("\n").filter((line) => line !== "" && !line.startsWith("#"));

test("series whose labels only look alike stay apart, and the order in which labels are written does not matter", async () => {
  const registry = new MetricsRegistry();
  const counter = registry.counter({ name: "x_total", help: "X." });
  counter.child({ a: "x,b:y", b: "z" }).add();
  counter.child({ a: "x", b: "y,b:z" }).add();
  counter.child({ b: "y,b:z", a: "x" }).add();
  expect(await seen(registry, "x_total")).toEqual(['x_total{a="x,b:y",b="z"} 1', 'x_total{a="x",b="y,b:z"} 2']);
});

test("no two different sets of labels are ever one series", () => {
  const label = fc.constantFrom("a", "b", "c");
  const value = fc.string({ unit: fc.constantFrom("1", ":", ",", "2", '"', "a"), minLength: 1, maxLength: 4 });
  const set = fc.dictionary(label, value, { maxKeys: 3, noNullPrototype: true });
  fc.assert(
    fc.property(set, set, fc.boolean(), (one, other, declared) => {
      const named = Object.keys(one).toSorted();
      fc.pre(!declared || String(named) === String(Object.keys(other).toSorted()));
      const registry = new MetricsRegistry();
      const counter = registry.counter({ name: "x_total", help: "X.", ...(declared && { labelNames: named }) });
      const equal = sorted(one) === sorted(other);
      expect(counter.child(one) === counter.child(other)).toBe(equal);
    }),
  );
});

test("a metric that is full has one more series for all that comes later; that is counted, and said once", async () => {
  const faults: unknown[] = [];
  const registry = new MetricsRegistry({ maxSeries: 3 }, (error) => faults.push(error));
  const counter = registry.counter({ name: "x_total", help: "X." });
  const wide = registry.counter({ name: "y_total", help: "Y.", maxSeries: 50 });
  for (let i = 0; i < 10; i++) {
    counter.child({ a: String(i), b: "" }).add();
    wide.child({ a: String(i) }).add();
  }
  expect(await seen(registry, "x_total")).toEqual([
    'x_total{a="0"} 1',
    'x_total{a="1"} 1',
    'x_total{a="2"} 1',
    'x_total{a="_overflow"} 7',
  ]);
  expect(await seen(registry, "y_total")).toHaveLength(10);
  expect(await seen(registry, "vg_metrics_series_dropped_total")).toEqual(["vg_metrics_series_dropped_total 7"]);
  for (let i = 0; i < 3; i++) await registry.expose();
  expect(faults.map(String)).toEqual([expect.stringContaining("Metric x_total has as many series as it may have")]);
});

test("a label that has the overflow's own value makes no second line of it", async () => {
  const registry = new MetricsRegistry({ maxSeries: 1 });
  const counter = registry.counter({ name: "x_total", help: "X.", labelNames: ["a"] });
  counter.child({ a: "_overflow" }).add();
  counter.child({ a: "1" }).add();
  expect(await seen(registry, "x_total")).toEqual(['x_total{a="_overflow"} 2']);
});

test("a metric without labels is there from the start, with 0", async () => {
  const registry = new MetricsRegistry();
  registry.counter({ name: "x_total", help: "X.", labelNames: [] });
  expect(await seen(registry, "x_total")).toEqual(["x_total 0"]);
});

test("a removed series is no longer shown, and its name begins anew", async () => {
  const registry = new MetricsRegistry();
  const gauge = registry.gauge({ name: "temperature", help: "T.", labelNames: ["room"] });
  const kept = gauge.child({ room: "a" });
  kept.set(20);
  expect(gauge.remove({ room: "a" })).toBe(true);
  expect(gauge.remove({ room: "a" })).toBe(false);
  kept.add();
  expect(await seen(registry, "temperature")).toEqual([]);
  gauge.child({ room: "a" }).subtract(2);
  expect(await seen(registry, "temperature")).toEqual(['temperature{room="a"} -2']);
});

test("figures that no metric can take are left out, and counted", async () => {
  const registry = new MetricsRegistry();
  const counter = registry.counter({ name: "x_total", help: "X." }).child();
  const histogram = registry.histogram({ name: "h", help: "H.", buckets: [1] }).child();
  const summary = registry.summary({ name: "s", help: "S." }).child();
  for (const value of [NaN, Infinity, -Infinity, -1]) {
    counter.add(value);
    histogram.observe(value);
    summary.observe(value);
  }
  expect(counter.value).toBe(0);
  // A clock that jumped back is an observation all the same.
  expect([histogram.count, histogram.sum]).toEqual([1, 0]);
  expect([summary.count, summary.sum]).toEqual([1, 0]);
  expect(await seen(registry, "vg_metrics_invalid_values_total")).toEqual(["vg_metrics_invalid_values_total 12"]);
});

describe("registration refuses", () => {
  const aCounter = (options: object) => (registry: MetricsRegistry) =>
    registry.counter({ name: "x_total", help: "X.", ...options });
  const aHistogram = (options: object) => (registry: MetricsRegistry) =>
    registry.histogram({ name: "h_seconds", help: "H.", ...options });

  test.each([
    ["a name with a blank", aCounter({ name: "x y_total" }), '"x y_total" is no name'],
    ["a name that begins with a digit", aCounter({ name: "1x_total" }), "is no name"],
    ["no name", aCounter({ name: undefined }), "undefined is no name"],
    ["a name with a colon", aCounter({ name: "x:y_total" }), "recording rules"],
    ["a counter without _total", aCounter({ name: "x" }), "Call it x_total"],
    [
      "a gauge with _total",
      (registry: MetricsRegistry) => registry.gauge({ name: "x_total", help: "X." }),
      "may not end in _total",
    ],
    [
      "a gauge with _count",
      (registry: MetricsRegistry) => registry.gauge({ name: "x_count", help: "X." }),
      "may not end in _count",
    ],
    ["no help", aCounter({ help: " " }), "help is empty"],
    ["a help that is no text", aCounter({ help: 1 }), "help must be a string"],
    ["a unit that is not in the name", aCounter({ unit: "seconds" }), "must end in _seconds_total"],
    ["a label's name with a dash", aCounter({ labelNames: ["http-route"] }), '"http-route" is no name for a label'],
    ["a label's name with two underscores in front", aCounter({ labelNames: ["__name__"] }), "is no name for a label"],
    ["a label twice", aCounter({ labelNames: ["a", "a"] }), "different names"],
    ["le of a histogram", aHistogram({ labelNames: ["le"] }), "the metric's own"],
    [
      "quantile of a summary",
      (registry: MetricsRegistry) => registry.summary({ name: "s", help: "S.", labelNames: ["quantile"] }),
      "the metric's own",
    ],
    [
      "le at the first child",
      (registry: MetricsRegistry) => aHistogram({})(registry).child({ le: "1" }),
      "the metric's own",
    ],
    ["buckets that fall", aHistogram({ buckets: [2, 1] }), "buckets must be"],
    ["no buckets", aHistogram({ buckets: [] }), "buckets must be"],
    ["an infinite bucket", aHistogram({ buckets: [1, Infinity] }), "buckets must be"],
    [
      "quantiles above 1",
      (registry: MetricsRegistry) => registry.summary({ name: "s", help: "S.", quantiles: [99] }),
      "quantiles must be",
    ],
    ["an option that it does not know", aCounter({ labels: ["a"] }), "labels"],
    ["a limit of 0 series", aCounter({ maxSeries: 0 }), "maxSeries"],
    [
      "a collector that is none",
      (registry: MetricsRegistry) => registry.collect(1 as never),
      "a collector is a function",
    ],
    ["a registry that is none", (registry: MetricsRegistry) => registry.merge({}), "getMetricsAsJSON() or metrics()"],
  ])("%s", (_what, register, why) => {
    const registry = new MetricsRegistry();
    expect(() => register(registry)).toThrow(MetricError);
    expect(() => register(registry)).toThrow(why);
  });

  test("a name that another metric has, of whatever type, or that is one of its lines", () => {
    const registry = new MetricsRegistry();
    const first = registry.histogram({ name: "work_seconds", help: "W.", buckets: [1] });
    expect(() => registry.gauge({ name: "work_seconds", help: "W." })).toThrow("registered already, as a histogram");
    expect(() => registry.histogram({ name: "work_seconds", help: "W.", buckets: [2] })).toThrow("other buckets");
    expect(() => registry.histogram({ name: "work_seconds", help: "W.", buckets: [1], labelNames: ["a"] })).toThrow(
      "other labels",
    );
    // In OpenMetrics a counter's family has no _total.
    registry.counter({ name: "jobs_total", help: "J." });
    expect(() => registry.gauge({ name: "jobs", help: "J." })).toThrow("jobs is a name of the metric jobs_total");
    // Two modules may share a metric by saying the same.
    expect(registry.histogram({ name: "work_seconds", help: "W.", buckets: [1] })).toBe(first);
  });

  test("children without all the labels, or with others", () => {
    const counter = new MetricsRegistry().counter({ name: "x_total", help: "X.", labelNames: ["a", "b"] });
    expect(() => counter.child({ a: "1" })).toThrow("its labels are a, b, got a.");
    expect(() => counter.child({ a: "1", b: "2", c: "3" })).toThrow("its labels are a, b, got a, b, c.");
    expect(() => counter.child()).toThrow("got none.");
  });

  test("options that are none of a registry's", () => {
    expect(() => new MetricsRegistry({ maxSeries: -1 })).toThrow(MetricError);
    expect(() => new MetricsRegistry({ series: 1 } as object)).toThrow("series");
  });
});

describe("collectors", () => {
  const gauge = (
    name: string,
    samples: Iterable<{ labels?: Record<string, string>; value: number; suffix?: string }>,
  ) => ({
    name,
    help: "H.",
    type: "gauge" as const,
    samples,
  });

  test("several may give lines of one family, which stand together, each once", async () => {
    const registry = new MetricsRegistry();
    registry.collect(() => [gauge("a", [{ labels: { x: "1" }, value: 1 }]), gauge("b", [{ value: 1 }])]);
    registry.collect(() => [
      gauge("a", [
        { labels: { x: "2" }, value: 2 },
        { labels: { x: "1" }, value: 3 },
      ]),
    ]);
    expect(await registry.expose({ names: ["a", "b"] })).toBe(
      '# HELP a H.\n# TYPE a gauge\na{x="1"} 1\na{x="2"} 2\n# HELP b H.\n# TYPE b gauge\nb 1\n',
    );
  });

  test("what one throws costs what it would have given, is counted each time and said once", async () => {
    const faults: string[] = [];
    const registry = new MetricsRegistry({}, (error) => faults.push((error as Error).message));
    registry.counter({ name: "x_total", help: "X." }).child().add();
    registry.collect(() => {
      throw new Error("no figures");
    });
    registry.collect(() => [
      gauge(
        "half",
        (function* half() {
          yield { value: 1 };
          throw new Error("no more");
        })(),
      ),
      gauge("whole", [{ value: 1 }]),
    ]);
    registry.collect(() => [
      gauge("bad name", []),
      gauge("x_total", [{ value: 1 }]),
      gauge("bad_label", [{ labels: { "a-b": "1" }, value: 1 }]),
    ]);
    registry.collect(() => [gauge("wrong_suffix", [{ suffix: "_sum", value: 1 }]), gauge("x", [{ value: 1 }])]);
    const text = await registry.expose();
    expect(text).toContain("x_total 1\n");
    expect(text).toContain("whole 1\n");
    for (const name of ["half", "bad", "wrong_suffix"]) expect(text).not.toContain(name);
    expect(faults).toHaveLength(7);
    expect(faults).toEqual(
      expect.arrayContaining([
        "no figures",
        "no more",
        expect.stringContaining("x is a name of the counter x_total, which came first"),
      ]),
    );
    await registry.expose();
    expect(faults).toHaveLength(7);
    expect(await seen(registry, "vg_metrics_faults_total")).toEqual([expect.stringMatching(/ (1[4-9]|2\d)$/)]);
  });

  test("what is no family, no type and no number costs no more than itself", async () => {
    const registry = new MetricsRegistry();
    registry.collect(() => [null as never, gauge("a", [{ value: 1 }])]);
    registry.collect(() => undefined as never);
    registry.collect(() => [{ ...gauge("b", [{ value: 1 }]), type: "meter" as never }]);
    registry.collect(() => [
      gauge("c", [{ value: undefined as never }, { labels: { x: 1 as never }, value: "2" as never }]),
    ]);
    registry.collect(() => [gauge("d", 1 as never), gauge("e", [{ labels: null as never, value: 1 }])]);
    expect(await registry.expose({ names: ["a", "b", "c", "d", "e"] })).toBe(
      '# HELP a H.\n# TYPE a gauge\na 1\n# HELP c H.\n# TYPE c gauge\nc NaN\nc{x="1"} 2\n',
    );
  });

  test("of two with the same name, each is said once", async () => {
    const faults: unknown[] = [];
    const registry = new MetricsRegistry({}, (error) => faults.push(error));
    const named = (broken: boolean) =>
      function figures() {
        if (broken) throw new Error("no figures");
        return [];
      };
    registry.collect(named(true));
    registry.collect(named(false));
    for (let i = 0; i < 3; i++) await registry.expose();
    expect(faults).toHaveLength(1);
  });

  test("one that works again and fails again is said again", async () => {
    const faults: unknown[] = [];
    const registry = new MetricsRegistry({}, (error) => faults.push(error));
    let broken = true;
    registry.collect(() => {
      if (broken) throw new Error("no figures");
      return [];
    });
    for (const state of [true, true, false, true]) {
      broken = state;
      await registry.expose();
    }
    expect(faults).toHaveLength(2);
  });

  test("one that is no longer wanted ends", async () => {
    const registry = new MetricsRegistry();
    const end = registry.collect(() => [gauge("a", [{ value: 1 }])]);
    expect(await seen(registry, "a")).toEqual(["a 1"]);
    end();
    end();
    expect(await seen(registry, "a")).toEqual([]);
  });
});
