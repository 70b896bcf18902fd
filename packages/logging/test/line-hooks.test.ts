import { expect, test } from "vitest";
import { resolveConfig } from "../src/config.ts";
import { openDestination } from "../src/destination.ts";
import { Bindings, withBindings } from "../src/line/bindings.ts";
import { LineWriter } from "../src/line/line-writer.ts";
import { createRedactor } from "../src/line/redact.ts";
import type { LineHooks } from "../src/line-hooks.ts";
import { createPinoCore } from "../src/pino-core.ts";
import { parseLines } from "./support/run.ts";

function make() {
  const texts: string[] = [];
  const settings = resolveConfig({ destination: { write: (line) => texts.push(line) } });
  const hooks: LineHooks = { gate: undefined, template: undefined, ambient: undefined };
  const core = createPinoCore({
    settings,
    lines: new LineWriter(settings.limits, createRedactor(settings.redact)),
    timestamp: () => ',"time":0',
    destination: openDestination(settings),
    hooks,
    present: undefined,
  });
  return { core, hooks, lines: () => parseLines(texts.join("")) };
}

test("a gate decides about the lines of our methods and of pino's, and about what they carry", () => {
  const { core, hooks, lines } = make();
  const asked: unknown[] = [];
  hooks.gate = (level, template, carried) => {
    asked.push([level, template]);
    if (template === "no") return undefined;
    return template === "half" ? withBindings(carried, new Map([["log.sample_rate", "0.5"]])) : carried;
  };
  core.write(core.root, 30, undefined, "yes", undefined, undefined, { "log.sample_rate": 9 });
  core.write(core.root, 30, undefined, "no", undefined, undefined, undefined);
  core.root.warn("no");
  core.root.info({ a: 1 }, "half");
  core.root.info({ a: 1 }, "with %s", "values");
  core.root.info("with %s", "values");
  expect(asked).toEqual([
    [30, "yes"],
    [30, "no"],
    [40, "no"],
    [30, "half"],
    [30, "with %s"],
    [30, "with %s"],
  ]);
  expect(lines()).toEqual([
    { level: "info", time: 0, message: "yes", "field.log.sample_rate": 9 },
    { level: "info", time: 0, message: "half", "log.sample_rate": 0.5, a: 1 },
    { level: "info", time: 0, message: "with values", a: 1 },
    { level: "info", time: 0, message: "with values" },
  ]);
  expect([...core.counts]).toEqual([[30, 4]]);
});

test("a line carries what its context says, before the logger's own fields", () => {
  const { core, hooks, lines } = make();
  const context = new Bindings(["trace_id", "b"], ['"t1"', "1"]);
  hooks.ambient = (own) => withBindings(context, new Map(own.names.map((name, i) => [name, own.values[i] as string])));
  const child = core.root.child({ b: 2 });
  child.info({ c: 3 }, "pino's");
  core.write(child, 30, undefined, "ours", undefined, undefined, { trace_id: "call" });
  expect(lines().map((line) => JSON.stringify(line))).toEqual([
    '{"level":"info","time":0,"message":"pino\'s","trace_id":"t1","b":2,"c":3}',
    '{"level":"info","time":0,"message":"ours","trace_id":"call","b":2}',
  ]);
});
