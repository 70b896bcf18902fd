import { fileURLToPath } from "node:url";
import { spawn } from "node:child_process";
import { captureLogs } from "@vg/logging/testing";
import { expect, test } from "vitest";
import { ended, parseLines } from "./support/run.ts";

const PROGRAM = fileURLToPath(new URL("programs/server/chat_helpers.ts", import.meta.url));

async function callers(policy: string, ...nodeOptions: string[]): Promise<Record<string, unknown>> {
  const child = spawn(process.execPath, ["--conditions=@vg/source", ...nodeOptions, PROGRAM, policy]);
  const { code, stdout, stderr } = await ended(child);
  expect(stderr).toBe("");
  expect(code).toBe(0);
  return Object.fromEntries(parseLines(stdout).map((line) => [line["message"], line["caller"]]));
}

const at = (line: number): string => `server/chat_helpers.ts:${line}`;
const fromWarn = {
  warn: at(8),
  error: at(9),
  fatal: at(10),
  child: at(11),
  pino: at(12),
  "pino child": at(13),
  detached: at(15),
  "after await": at(17),
  "in a callback": at(18),
  "in a function": at(20),
  global: at(25),
  no: at(23),
  http_request: undefined,
};

test("warnings and above name the file and line that logged them", async () => {
  expect(await callers("warn")).toEqual({ ...fromWarn, info: undefined });
});

test("with source maps enabled it is the same", async () => {
  expect(await callers("warn", "--enable-source-maps")).toEqual({ ...fromWarn, info: undefined });
});

test("with all, every line does, but for those of the special methods", async () => {
  expect(await callers("all")).toEqual({ ...fromWarn, info: at(7) });
});

test("with off, none does", async () => {
  const found = await callers("off");
  expect(Object.values({ ...found, global: undefined }).filter((caller) => caller !== undefined)).toEqual([]);
});

test("a stack formatter of somebody else's that throws costs the caller, not the line", () => {
  const before = Reflect.get(Error, "prepareStackTrace") as unknown;
  Reflect.set(Error, "prepareStackTrace", () => {
    throw new Error("broken formatter");
  });
  try {
    const { logger, lines } = captureLogs();
    logger.warn("m");
    expect(lines[0]).toMatchObject({ message: "m" });
  } finally {
    Reflect.set(Error, "prepareStackTrace", before);
  }
});

test("looking for the caller leaves the stack settings as they were", () => {
  const limit = Error.stackTraceLimit;
  captureLogs({ caller: "all" }).logger.info("m");
  expect(Error.stackTraceLimit).toBe(limit);
});
