import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { devNull, tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Answer, Contender, Parameters } from "../harness/contender.ts";
import { callTimes, timeEach } from "../harness/call-times.ts";
import { LatencyHistogram } from "../harness/latency-histogram.ts";
import { loggerMaker, type LoggerUnderTest, type MakeLogger } from "./loggers.ts";
import {
  canonicalLine,
  expectedLines,
  idsOf,
  lineKind,
  LINES_A_REQUEST,
  LINES_A_TURN,
  VERIFIED_LINES,
  type LineKind,
} from "./logging-workload.ts";

/** Where the lines of every logger here come from. */
const CALLER = "loggers.ts";
/** Calls before each sample of single ones, not counted: the code that times them must be hot, too. */
const UNCOUNTED_CALLS = 2000;

/** What is written, and from where. */
interface Work {
  readonly kind: LineKind;
  readonly buffered: boolean;
  /** How many functions lie between the event loop's and the one that logs. */
  readonly frames: number;
  readonly caller: string;
}

export async function createContender(name: string, parameters: Parameters): Promise<Contender> {
  if (parameters["kind"] === "access") {
    return await (await import("./access-log-contenders.ts")).createAccessLogContender(name, parameters);
  }
  const work: Work = {
    kind: lineKind(parameters["kind"]),
    buffered: parameters["buffered"] === true,
    frames: typeof parameters["frames"] === "number" ? parameters["frames"] : 0,
    caller: parameters["caller"] === true ? CALLER : "",
  };
  const make = loggerMaker(name);
  // Every contender gets a descriptor that was opened in the same way, so none writes by a faster road.
  const fd = openSync(devNull, "w");
  const logger = await make({ fd, ...work });
  const line = lineOf(logger, work);
  // A disabled call takes less than a turn of the event loop would add to it.
  const turn = work.kind === "off" ? Infinity : LINES_A_TURN;
  const untimed: Some = (first, end) => {
    for (let i = first; i < end; i++) line(i);
  };
  return {
    verify: () => verifyLines(make, work),
    async run(operations) {
      await write(logger, operations, turn, untimed);
      await logger.flush();
      return { lines: operations };
    },
    async timeCalls(calls) {
      await write(logger, UNCOUNTED_CALLS, turn, (first, end) => timeEach(line, first, end, new LatencyHistogram()));
      await logger.flush();
      const histogram = new LatencyHistogram();
      await write(logger, calls, turn, (first, end) => timeEach(line, first, end, histogram));
      await logger.flush();
      return callTimes(histogram, { lines: histogram.count });
    },
    close: () => closeSync(fd),
  };
}

function lineOf(logger: LoggerUnderTest, { frames }: Work): (i: number) => void {
  if (frames === 0) return logger.line;
  const descend = (left: number, i: number): number => {
    if (left > 0) return descend(left - 1, i) + 1;
    logger.line(i);
    return 0;
  };
  return (i) => void descend(frames, i);
}

/** Writes the lines from `first` to `end` (exclusive). */
type Some = (first: number, end: number) => void;

async function write(logger: LoggerUnderTest, count: number, turn: number, some: Some): Promise<void> {
  for (let i = 0; i < count;) {
    const end = Math.min(i + turn, count);
    inRequests(logger, i, end, some);
    i = end;
    if (i < count) await new Promise((resume) => setImmediate(resume));
  }
}

/** As lines of requests, where a logger is to know which request it is. */
function inRequests(logger: LoggerUnderTest, first: number, end: number, some: Some): void {
  if (logger.within === undefined) {
    some(first, end);
    return;
  }
  for (let i = first; i < end; i += LINES_A_REQUEST) {
    logger.within(idsOf(i), () => some(i, Math.min(i + LINES_A_REQUEST, end)));
  }
}

/** Writes a thousand lines to a file with the very logger that is measured, and reads them back. */
async function verifyLines(make: MakeLogger, work: Work): Promise<Answer> {
  const folder = mkdtempSync(join(tmpdir(), "vg-bench-"));
  try {
    const path = join(folder, "lines");
    const fd = openSync(path, "w");
    const logger = await make({ fd, ...work });
    const line = lineOf(logger, work);
    inRequests(logger, 0, VERIFIED_LINES, (first, end) => {
      for (let i = first; i < end; i++) line(i);
    });
    // What a crash at this point would lose shows whether a logger buffers; all of them must have the same habit.
    const linesBeforeFlush = linesOf(path).length;
    await logger.flush();
    closeSync(fd);
    const expected = expectedLines(work.kind, VERIFIED_LINES, work.caller);
    const lines = linesOf(path);
    const wrong = lines.find((text, i) => !isDeepStrictEqual(canonicalLine(text), expected[i]));
    return { lines: lines.length, held: linesBeforeFlush < lines.length, wrong: wrong ?? "" };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function linesOf(path: string): string[] {
  return readFileSync(path, "utf8").split("\n").slice(0, -1);
}
