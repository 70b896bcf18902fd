import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { LoggerConfigError, type Wrapper } from "@vg/logging";
import { captureLogs } from "@vg/logging/testing";
import { describe, expect, test } from "vitest";
import { ended, parseLines } from "./support/run.ts";

const PROGRAM = fileURLToPath(new URL("programs/server/caller_shapes.ts", import.meta.url));

async function callers(...nodeOptions: string[]): Promise<(readonly [string, unknown])[]> {
  const { code, stdout } = await ended(spawn(process.execPath, ["--conditions=@vg/source", ...nodeOptions, PROGRAM]));
  expect(code).toBe(0);
  return parseLines(stdout).map((line) => [String(line["message"]), line["caller"]]);
}

describe.each([["as it is"], ["--enable-source-maps"], ["--frozen-intrinsics"]])("Node %s", (option) => {
  test("finds the line through wrappers, callbacks, awaits, eval and odd paths", async () => {
    const found = await callers(...(option.startsWith("--") ? [option] : []));
    const numbered = found.filter(([message]) => / \d+$/.test(message));
    expect(numbered).toHaveLength(20);
    expect(numbered).toEqual(
      numbered.map(([message]) => [message, `server/caller_shapes.ts:${/\d+$/.exec(message)?.[0]}`]),
    );
    const others = Object.fromEntries(found);
    expect(others).toMatchObject({
      "named eval made.js:3": "made.js:3",
      Windows: "server/chat.ts:7",
      "Windows URL": "server x/chat.ts:1",
      "odd URL": "%ZZ/chat.ts:1",
      "other URL": "src/chat.ts:1",
    });
    // Nobody's code called it.
    expect(others["by Node itself"]).toBeUndefined();
    // oxlint-disable-next-line no-control-regex -- that is what it must not have
    expect(String(others["forged"])).not.toMatch(/[\u0000-\u001f]/);
  });
});

test("withWrapper refuses what is no function", () => {
  const { logger } = captureLogs();
  expect(() => logger.withWrapper()).toThrow(LoggerConfigError);
  expect(() => logger.withWrapper("warn" as unknown as Wrapper)).toThrow('must be a function, got "warn"');
});

test("a logger of a wrapper has the fields and the level of the one it was made from, and its special methods no caller", () => {
  const { logger, lines } = captureLogs({ caller: "all" });
  const child = logger.child({ a: 1 }, { level: "warn" });
  const inner = child.withWrapper(say);
  function say(): void {
    inner.info("unseen at first");
    inner.warn("seen");
    inner.logModelLoad("m", "d", 1, 1, true);
  }
  say();
  child.level = "info";
  say();
  expect(lines.map(({ message, a }) => [message, a])).toEqual([
    ["seen", 1],
    ["unseen at first", 1],
    ["seen", 1],
    ["model_load", 1],
  ]);
  expect(lines.at(-1)).not.toHaveProperty("caller");
});

describe("Error's own settings", () => {
  test("are as they were, also where they were not there at all", () => {
    const { logger, lines } = captureLogs({ caller: "all" });
    const keep = ["stackTraceLimit", "prepareStackTrace"].map(
      (name) => [name, Object.getOwnPropertyDescriptor(Error, name)] as const,
    );
    try {
      const prepare = (): string => "formatted by somebody";
      Object.assign(Error, { stackTraceLimit: 3, prepareStackTrace: prepare });
      logger.info("m");
      expect([Error.stackTraceLimit, Reflect.get(Error, "prepareStackTrace")]).toEqual([3, prepare]);
      Reflect.deleteProperty(Error, "stackTraceLimit");
      Reflect.deleteProperty(Error, "prepareStackTrace");
      logger.info("m");
      expect(Object.hasOwn(Error, "stackTraceLimit") || Object.hasOwn(Error, "prepareStackTrace")).toBe(false);
      Error.stackTraceLimit = 0;
      logger.info("m");
    } finally {
      for (const [name, descriptor] of keep) {
        if (descriptor === undefined) Reflect.deleteProperty(Error, name);
        else Object.defineProperty(Error, name, descriptor);
      }
    }
    for (const line of lines) expect(line.caller).toMatch(/^test\/caller-shapes\.test\.ts:\d+$/);
  });
});
