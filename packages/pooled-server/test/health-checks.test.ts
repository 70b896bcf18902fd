import { PooledServerConfigError, type HealthCheck } from "@vg/pooled-server";
import fc from "fast-check";
import { expect, test } from "vitest";
import { HealthChecks } from "../src/probes/health-checks.ts";
import { fakeTime } from "./support/fake-time.ts";

/** Checks at an interval of 1,000 ms without jitter unless asked for; the time stands still until the test moves it. */
function checks({ random = () => 0.5 }: { random?: () => number } = {}) {
  const time = fakeTime();
  const changes: string[] = [];
  const all = new HealthChecks({
    intervalMs: 1_000,
    clock: time.clock,
    random,
    onResult: (name, { status }, previous) => void changes.push(`${name}: ${previous.status} > ${status}`),
  });
  const status = (name: string) => all.results()[name]?.status;
  return { time, all, changes, status };
}

/** A dependency that a test breaks, mends and hangs. */
class Dependency implements HealthCheck {
  state: "up" | "down" | "hung" = "up";
  runs = 0;
  readonly signals: AbortSignal[] = [];

  // As a method, to show that `this` is kept.
  run({ signal }: { signal: AbortSignal }): Promise<void> {
    this.runs++;
    this.signals.push(signal);
    if (this.state === "hung") return new Promise(() => undefined);
    return this.state === "up" ? Promise.resolve() : Promise.reject(new Error("it is down"));
  }
}

const check = (dependency: Dependency, more: Partial<HealthCheck> = {}): HealthCheck => ({
  run: (context) => dependency.run(context),
  ...more,
});

test("a check runs at once and then at its interval, from one run's end to the next, until it is stopped", async () => {
  const { time, all } = checks();
  const [often, rarely] = [new Dependency(), new Dependency()];
  all.add("often", check(often));
  all.add("rarely", check(rarely, { intervalMs: 5_000 }));
  await all.start();
  expect([often.runs, rarely.runs]).toEqual([1, 1]);
  await time.advance(10_000);
  expect([often.runs, rarely.runs]).toEqual([11, 3]);
  all.stop();
  await time.advance(10_000);
  expect([often.runs, rarely.runs]).toEqual([11, 3]);
});

test("intervals differ by up to a tenth, so that instances that started together do not stay together", async () => {
  const { time, all } = checks({ random: () => 0 });
  const dependency = new Dependency();
  all.add("database", check(dependency));
  await all.start();
  await time.advance(899);
  expect(dependency.runs).toBe(1);
  await time.advance(2);
  expect(dependency.runs).toBe(2);
});

test("a check that hangs fails at its timeout, holds up no other, and is not run again before it has ended", async () => {
  const { time, all, status, changes } = checks();
  const [hung, other] = [new Dependency(), new Dependency()];
  hung.state = "hung";
  all.add("hung", check(hung, { timeoutMs: 200 }));
  all.add("other", check(other));
  const started = all.start();
  await time.settle();
  expect([status("hung"), status("other")]).toEqual(["pending", "pass"]);
  expect(changes).toEqual(["other: pending > pass"]);
  await time.advance(200);
  await started;
  expect(all.results()["hung"]).toMatchObject({ status: "fail", output: "no answer within 200 ms", latency_ms: 200 });
  expect(hung.signals[0]?.aborted).toBe(true);
  await time.advance(5_000);
  expect(hung.runs).toBe(1);
  expect(other.runs).toBe(6);
  expect(all.results()["hung"]?.output).toMatch(/^no answer within 200 ms; that run has not ended for \d+ ms/);
});

test("a check that comes late but comes is run again, and its lateness counts as the failure that it was", async () => {
  const { time, all, status } = checks();
  let answer!: () => void;
  let runs = 0;
  all.add("slow", {
    timeoutMs: 100,
    run: () => {
      runs++;
      return runs > 1 ? Promise.resolve() : new Promise<void>((resolve) => (answer = resolve));
    },
  });
  void all.start();
  await time.advance(500);
  answer();
  await time.settle();
  expect(status("slow")).toBe("fail");
  await time.advance(700);
  expect([runs, status("slow")]).toEqual([2, "pass"]);
});

test("thresholds: so many failures in a row make it fail, so many passes make it pass, and the reason shows meanwhile", async () => {
  const { time, all, status } = checks();
  const dependency = new Dependency();
  all.add("flapping", check(dependency, { failureThreshold: 3, successThreshold: 2 }));
  await all.start();
  dependency.state = "down";
  await time.advance(2_000);
  expect(all.results()["flapping"]).toMatchObject({ status: "pass", output: "it is down" });
  dependency.state = "up";
  await time.advance(1_000);
  dependency.state = "down";
  await time.advance(2_000);
  expect(status("flapping")).toBe("pass");
  await time.advance(1_000);
  expect(status("flapping")).toBe("fail");
  dependency.state = "up";
  await time.advance(1_000);
  expect(status("flapping")).toBe("fail");
  await time.advance(1_000);
  expect(status("flapping")).toBe("pass");
});

test("the first result counts at once, whatever the thresholds", async () => {
  const { all, status } = checks();
  const dependency = new Dependency();
  dependency.state = "down";
  all.add("database", check(dependency, { failureThreshold: 5 }));
  await all.start();
  expect(status("database")).toBe("fail");
});

test("a result says when it was found and since when the status is what it is", async () => {
  const { time, all } = checks();
  const dependency = new Dependency();
  all.add("database", check(dependency));
  expect(all.results()["database"]).toEqual({ status: "pending", critical: false, latency_ms: 0 });
  await all.start();
  dependency.state = "down";
  await time.advance(3_000);
  expect(all.results()["database"]).toMatchObject({
    time: "1970-01-01T00:00:03.000Z",
    since: "1970-01-01T00:00:01.000Z",
  });
});

test("what one run told is in its own result only, and is a copy", async () => {
  const { time, all } = checks();
  const told: (object | undefined)[] = [{ redis: "DEGRADED", lag: 3 }, {}, undefined, [1], { loop: 1 }];
  const [first, , , , circular] = told as [{ redis: string }, ...{ loop?: unknown }[]];
  (circular as { loop: unknown }).loop = circular;
  all.add("redis", { run: async () => told.shift() });
  await all.start();
  expect(all.results()["redis"]?.info).toEqual({ redis: "DEGRADED", lag: 3 });
  first.redis = "changed later";
  expect(all.results()["redis"]?.info).toEqual({ redis: "DEGRADED", lag: 3 });
  for (let i = 0; i < 4; i++) {
    await time.advance(1_000);
    expect(all.results()["redis"]).toMatchObject({ status: "pass" });
    expect(all.results()["redis"]).not.toHaveProperty("info");
  }
});

test.each<[unknown, string]>([
  [new Error("connect to postgres://u:hunter2@h/d failed"), "connect to postgres://u:[redacted]@h/d failed"],
  [new Error("401 for Authorization: Bearer abcdefgh.12345678"), "401 for Authorization: Bearer [redacted]"],
  [new Error("line one\n  line two\u0000"), "line one line two\u0000"],
  [Object.assign(new Error(""), { code: "ECONNREFUSED" }), "ECONNREFUSED"],
  [new AggregateError([new Error("connect ECONNREFUSED ::1:5432"), new Error("b")]), "connect ECONNREFUSED ::1:5432"],
  ["a word", "a word"],
  ["", "failed without saying why"],
  [undefined, "failed without saying why"],
  [{ message: "not an error" }, "failed without saying why"],
  [new Error("x".repeat(10_000)), `${"x".repeat(300)}…`],
  [
    new Proxy(new Error("x"), {
      get: () => {
        throw new Error("trap");
      },
    }),
    "failed with something that cannot be read",
  ],
])("what a check fails with is one line without secrets: %#", async (failure, output) => {
  const { all } = checks();
  // oxlint-disable-next-line prefer-promise-reject-errors -- what users do
  all.add("it", { run: () => Promise.reject(failure) });
  await all.start();
  expect(all.results()["it"]).toMatchObject({ status: "fail", output });
});

test("a check that throws before it returns a promise fails as one that rejects", async () => {
  const { all, status } = checks();
  all.add("it", {
    run: () => {
      throw new Error("sync");
    },
  });
  await all.start();
  expect(status("it")).toBe("fail");
});

test("stopping tells runs under way to end, lets nobody wait for them, and takes no result any more", async () => {
  const { time, all, status, changes } = checks();
  const hung = new Dependency();
  hung.state = "hung";
  all.add("hung", check(hung));
  const started = all.start();
  await time.settle();
  all.stop();
  await started;
  await all.runAll();
  expect(hung.signals[0]?.aborted).toBe(true);
  expect([status("hung"), changes]).toEqual(["pending", []]);
});

test("one that is added while the others run is run at once, counts from its result on, and can be taken off", async () => {
  const { time, all } = checks();
  await all.start();
  const dependency = new Dependency();
  dependency.state = "down";
  const off = all.add("late", check(dependency, { critical: true }));
  expect([all.failingCritical(), all.allKnown]).toEqual([[], false]);
  await time.settle();
  expect(all.failingCritical()).toEqual(["late"]);
  off();
  expect(all.failing()).toEqual([]);
  all.add("late", check(dependency));
  await time.advance(5_000);
  expect(dependency.runs).toBe(7);
});

test("names that are taken and options that cannot be are refused, each with what is allowed", () => {
  const { all } = checks();
  all.add("database", { run: () => undefined });
  const refused: [string, unknown, string][] = [
    ["database", { run: () => undefined }, 'The health check "database" exists already'],
    ["", { run: () => undefined }, "the name must be a string that is not empty"],
    ["a", {}, 'The health check "a": run must be a function, got undefined'],
    ["a", { run: 5 }, "run must be a function, got 5"],
    ["a", null, "options must be an object, got null"],
    ["a", { run: () => undefined, timeoutMs: 0 }, "timeoutMs must be a number of milliseconds from 1"],
    ["a", { run: () => undefined, intervalMs: 1 }, "intervalMs must be a number of milliseconds from 10"],
    ["a", { run: () => undefined, failureThreshold: 0 }, "failureThreshold must be a whole number of at least 1"],
    ["a", { run: () => undefined, critcal: true }, 'unknown option "critcal". Did you mean critical?'],
  ];
  for (const [name, options, message] of refused) {
    expect(() => all.add(name, options as HealthCheck)).toThrow(PooledServerConfigError);
    expect(() => all.add(name, options as HealthCheck)).toThrow(message);
  }
});

test("whatever the dependencies do, each check's status is what its own last runs say, and no run overlaps another", async () => {
  const step = fc.oneof(
    fc.record({ which: fc.nat(2), becomes: fc.constantFrom("up" as const, "down" as const, "hung" as const) }),
    fc.record({ waitMs: fc.constantFrom(10, 300, 1_100) }),
    fc.constant("run all" as const),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 25 }), async (steps) => {
      const { time, all } = checks();
      const settles: (() => void)[] = [];
      const dependencies = [0, 1, 2].map((i) => {
        const dependency = { state: "up" as Dependency["state"], underWay: 0, last: undefined as string | undefined };
        all.add(String(i), {
          timeoutMs: 200,
          run: async () => {
            expect(++dependency.underWay).toBe(1);
            if (dependency.state === "hung") await new Promise<void>((resolve) => settles.push(resolve));
            dependency.underWay--;
            dependency.last = dependency.state === "down" ? "fail" : "pass";
            if (dependency.last === "fail") throw new Error("down");
          },
        });
        return dependency;
      });
      await all.start();
      for (const taken of steps) {
        if (taken === "run all") {
          void all.runAll();
          await time.settle();
        } else if ("waitMs" in taken) await time.advance(taken.waitMs);
        else (dependencies[taken.which] as (typeof dependencies)[0]).state = taken.becomes;
        for (const [i, dependency] of dependencies.entries()) {
          const result = all.results()[String(i)];
          if (dependency.underWay === 0) expect(["pass", "fail"]).toContain(result?.status);
        }
      }
      for (const dependency of dependencies) dependency.state = "up";
      for (const settle of settles.splice(0)) settle();
      await time.advance(1_500);
      expect(all.failing()).toEqual([]);
      for (const dependency of dependencies) dependency.state = "down";
      await time.advance(1_500);
      expect(all.failing()).toEqual(["0", "1", "2"]);
      all.stop();
    }),
    { numRuns: 30 },
  );
});
