import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { devNull, tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Answer, Contender, Parameters } from "../harness/contender.ts";
import {
  BINDINGS,
  canonicalLine,
  expectedLines,
  fieldsOf,
  lineKind,
  MESSAGE,
  VERIFIED_LINES,
  type LineKind,
} from "./logging-workload.ts";

/** A logger that writes to a file descriptor; `line` writes the line of one request. */
interface Sink {
  line(fields: Record<string, unknown>): void;
  flush(): void | Promise<void>;
}
type MakeSink = (fd: number, kind: LineKind) => Sink;

export async function createContender(name: string, parameters: Parameters): Promise<Contender> {
  const kind = lineKind(parameters["kind"]);
  const makeSink = await sinkMaker(name);
  // Every contender gets a descriptor that was opened in the same way, so none writes by a faster road.
  const fd = openSync(devNull, "w");
  const sink = makeSink(fd, kind);
  return {
    verify: () => verifyLines(makeSink, kind),
    async run(operations) {
      for (let i = 0; i < operations; i++) sink.line(fieldsOf(kind, i));
      await sink.flush();
      return { lines: operations };
    },
    close: () => closeSync(fd),
  };
}

/** Writes a thousand lines to a file with the very logger that is measured, and reads them back. */
async function verifyLines(makeSink: MakeSink, kind: LineKind): Promise<Answer> {
  const folder = mkdtempSync(join(tmpdir(), "vg-bench-"));
  try {
    const path = join(folder, "lines");
    const fd = openSync(path, "w");
    const sink = makeSink(fd, kind);
    for (let i = 0; i < VERIFIED_LINES; i++) sink.line(fieldsOf(kind, i));
    // What a crash at this point would lose shows whether a logger buffers; all of them must have the same habit.
    const linesBeforeFlush = linesOf(path).length;
    await sink.flush();
    closeSync(fd);
    const expected = expectedLines(kind, VERIFIED_LINES);
    const lines = linesOf(path);
    const wrong = lines.find((line, i) => !isDeepStrictEqual(canonicalLine(line), expected[i]));
    return { lines: lines.length, linesBeforeFlush, wrong: wrong ?? "" };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function linesOf(path: string): string[] {
  return readFileSync(path, "utf8").split("\n").slice(0, -1);
}

async function sinkMaker(name: string): Promise<MakeSink> {
  switch (name) {
    case "@vg/logging":
    case "@vg/logging (redact: false)": {
      const { createLogger } = await import("@vg/logging");
      return (destination, kind) => {
        const redact = name === "@vg/logging" ? {} : { redact: false as const };
        const root = createLogger({ level: "info", format: "json", destination, ...redact });
        const logger = kind === "child" ? root.withFields(BINDINGS) : root;
        const line =
          kind === "off"
            ? (fields: Record<string, unknown>) => logger.debug(MESSAGE, fields)
            : (fields: Record<string, unknown>) => logger.info(MESSAGE, fields);
        return { line, flush: () => root.flush() };
      };
    }
    case "pino (as it comes)":
    case "pino (same line)": {
      const { pino, stdTimeFunctions } = await import("pino");
      // The words, names and time that @vg/logging writes, by the cheapest means that pino has for each.
      const sameLine = {
        base: null,
        messageKey: "message",
        timestamp: stdTimeFunctions.isoTime,
        formatters: { level: (label: string) => ({ level: label }) },
      };
      return (fd, kind) => {
        const destination = pino.destination({ fd, sync: true });
        const root = pino(name === "pino (same line)" ? sameLine : {}, destination);
        const logger = kind === "child" ? root.child(BINDINGS) : root;
        const line =
          kind === "off"
            ? (fields: Record<string, unknown>) => logger.debug(fields, MESSAGE)
            : (fields: Record<string, unknown>) => logger.info(fields, MESSAGE);
        return { line, flush: () => destination.flushSync() };
      };
    }
    default:
      throw new Error(`no logger ${name}`);
  }
}
