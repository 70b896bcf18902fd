import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createLogger } from "@vg/logging";
import { pino } from "pino";
import type { PrettyOptions } from "pino-pretty";
import { afterEach, beforeEach, expect, test } from "vitest";
import { parseLines, runProgram } from "../support/run.ts";
import { byLevel } from "../support/by-level.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "vg-logging-transport-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

const COUNT = 500;

test("a transport in a worker thread writes every line to its file", async () => {
  const path = join(folder, "file.log");
  const destination = pino.transport({ target: "pino/file", options: { destination: path } });
  await once(destination, "ready");
  const logger = createLogger({ destination });
  for (let i = 0; i < COUNT; i++) logger.info("line", { i, password: "s3cr3t" });
  logger.pino.child({ by: "pino" }).info("last");
  await logger.flush();
  destination.end();
  await once(destination, "close");
  const lines = parseLines(readFileSync(path, "utf8"));
  expect(lines).toHaveLength(COUNT + 1);
  expect(lines.slice(0, COUNT).map((line) => line["i"])).toEqual(Array.from({ length: COUNT }, (_, i) => i));
  expect(lines.at(-1)).toMatchObject({ level: "info", by: "pino", message: "last" });
  expect(logger.getStats()).toMatchObject({ dropped_total: 0, last_failure: null });
});

test("several targets at once, with the levels as words that pino itself refuses there", async () => {
  const all = join(folder, "all.log");
  const pretty = join(folder, "pretty.log");
  const prettily: PrettyOptions = { destination: pretty, colorize: false, messageKey: "message" };
  const destination = pino.transport({
    targets: [
      { target: "pino/file", options: { destination: all }, level: "trace" },
      { target: "pino-pretty", options: prettily, level: "trace" },
    ],
  });
  await once(destination, "ready");
  const logger = createLogger({ destination });
  logger.info("Request processed", { latency_ms: 245 });
  logger.error("Query failed", new Error("connection refused"));
  await logger.flush();
  destination.end();
  await once(destination, "close");
  expect(parseLines(readFileSync(all, "utf8")).map((line) => line["level"])).toEqual(["info", "error"]);
  const text = readFileSync(pretty, "utf8");
  expect(text).toMatch(/INFO: Request processed\n\s+latency_ms: 245/);
  expect(text).toMatch(/ERROR .*: Query failed/);
  expect(text).toContain("connection refused");
});

test("pino.multistream sorts lines by level, of ours and of pino's own methods", () => {
  const { destination, all, bad } = byLevel();
  const logger = createLogger({ destination });
  logger.info("a");
  logger.pino.error("b");
  logger.child({ c: 1 }).error("c", new Error("x"));
  expect([all.length, bad.length]).toEqual([3, 2]);
});

test("a process that ends by itself leaves no line in a transport", async () => {
  const path = join(folder, "end.log");
  const { code } = await runProgram(`
    import { pino } from "pino";
    import { createLogger } from "@vg/logging";
    const destination = pino.transport({ target: "pino/file", options: { destination: ${JSON.stringify(path)} } });
    const logger = createLogger({ destination });
    for (let i = 0; i < ${COUNT}; i++) logger.info("line", { i });
    await logger.flush();
  `);
  expect(code).toBe(0);
  expect(parseLines(readFileSync(path, "utf8"))).toHaveLength(COUNT);
});

test.each([
  ["a transport with several targets", (transport: string) => transport],
  ["one in a pino.multistream", (transport: string) => `pino.multistream([{ level: "info", stream: ${transport} }])`],
])("SIGTERM loses no line of %s", async (_, destinationOf) => {
  const all = join(folder, "all.log");
  const bad = join(folder, "bad.log");
  const targets = [
    { target: "pino/file", options: { destination: all }, level: "info" },
    { target: "pino/file", options: { destination: bad }, level: "error" },
  ];
  const { signal } = await runProgram(`
    import { pino } from "pino";
    import { createLogger } from "@vg/logging";
    const destination = ${destinationOf(`pino.transport(${JSON.stringify({ targets })})`)};
    const logger = createLogger({ destination });
    for (let i = 0; i < ${COUNT}; i++) logger.info("line", { i });
    logger.error("last");
    process.kill(process.pid, "SIGTERM");
    setTimeout(() => undefined, 60_000);
  `);
  expect(signal).toBe("SIGTERM");
  expect(parseLines(readFileSync(all, "utf8"))).toHaveLength(COUNT + 1);
  expect(parseLines(readFileSync(bad, "utf8"))).toHaveLength(1);
});

test("a buffered pino destination is empty after flush, and on fatal", async () => {
  const path = join(folder, "buffered.log");
  const destination = pino.destination({ dest: path, sync: false, minLength: 4096 });
  await once(destination, "ready");
  const logger = createLogger({ destination });
  logger.info("held");
  await logger.flush();
  expect(parseLines(readFileSync(path, "utf8"))).toHaveLength(1);
  logger.info("held again");
  logger.fatal("the last");
  expect(parseLines(readFileSync(path, "utf8"))).toHaveLength(3);
  destination.end();
});
