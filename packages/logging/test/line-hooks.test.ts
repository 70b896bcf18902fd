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
  const hooks: LineHooks = { gate: undefined, ambient: undefined };
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

test("a gate decides about the lines of our methods and of pino's, and says how many it held back", () => {
  const { core, hooks, lines } = make();
  const asked: unknown[] = [];
  hooks.gate = (_instance, level, message) => {
    asked.push([level, message]);
    return message === "no" ? -1 : message === "after" ? 2 : 0;
  };
  core.write(core.root, 30, undefined, "yes", undefined, undefined, { "log.suppressed": 9 });
  core.write(core.root, 30, undefined, "no", undefined, undefined, undefined);
  core.root.warn("no");
  core.root.info({ a: 1 }, "after");
  expect(asked).toEqual([
    [30, "yes"],
    [30, "no"],
    [40, "no"],
    [30, "after"],
  ]);
  expect(lines()).toEqual([
    { level: "info", time: 0, message: "yes", "field.log.suppressed": 9 },
    { level: "info", time: 0, message: "after", "log.suppressed": 2, a: 1 },
  ]);
  expect([...core.counts]).toEqual([[30, 2]]);
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
