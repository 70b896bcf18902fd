import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { devNull, tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Answer, Contender, Parameters } from "../harness/contender.ts";
import { loggerMaker, type LoggerUnderTest, type MakeLogger } from "./loggers.ts";
import {
  canonicalLine,
  expectedLines,
  lineKind,
  LINES_A_TURN,
  VERIFIED_LINES,
  type LineKind,
} from "./logging-workload.ts";

export async function createContender(name: string, parameters: Parameters): Promise<Contender> {
  const kind = lineKind(parameters["kind"]);
  const buffered = parameters["buffered"] === true;
  const make = loggerMaker(name);
  // Every contender gets a descriptor that was opened in the same way, so none writes by a faster road.
  const fd = openSync(devNull, "w");
  const logger = await make({ fd, kind, buffered });
  // A disabled call takes less than a turn of the event loop would add to it.
  const turn = kind === "off" ? Infinity : LINES_A_TURN;
  return {
    verify: () => verifyLines(make, kind, buffered),
    async run(operations) {
      await within(logger, () => write(logger, operations, turn));
      await logger.flush();
      return { lines: operations };
    },
    close: () => closeSync(fd),
  };
}

function within<T>(logger: LoggerUnderTest, work: () => T): T {
  return logger.within === undefined ? work() : logger.within(work);
}

async function write(logger: LoggerUnderTest, count: number, turn: number): Promise<void> {
  for (let i = 0; i < count;) {
    for (const end = Math.min(i + turn, count); i < end; i++) logger.line(i);
    if (i < count) await new Promise((resume) => setImmediate(resume));
  }
}

/** Writes a thousand lines to a file with the very logger that is measured, and reads them back. */
async function verifyLines(make: MakeLogger, kind: LineKind, buffered: boolean): Promise<Answer> {
  const folder = mkdtempSync(join(tmpdir(), "vg-bench-"));
  try {
    const path = join(folder, "lines");
    const fd = openSync(path, "w");
    const logger = await make({ fd, kind, buffered });
    within(logger, () => {
      for (let i = 0; i < VERIFIED_LINES; i++) logger.line(i);
    });
    // What a crash at this point would lose shows whether a logger buffers; all of them must have the same habit.
    const linesBeforeFlush = linesOf(path).length;
    await logger.flush();
    closeSync(fd);
    const expected = expectedLines(kind, VERIFIED_LINES);
    const lines = linesOf(path);
    const wrong = lines.find((line, i) => !isDeepStrictEqual(canonicalLine(line), expected[i]));
    return { lines: lines.length, held: linesBeforeFlush < lines.length, wrong: wrong ?? "" };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function linesOf(path: string): string[] {
  return readFileSync(path, "utf8").split("\n").slice(0, -1);
}
