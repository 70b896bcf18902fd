/**
 * A million lines into the buffer of a logger whose reader stalls and resumes at random: each is either taken, whole and
 * in order, or counted as dropped at its level; errors are not dropped while there is anything lower; the memory stays
 * within the limit, and the event loop is never held up for long.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { createLogger } from "../src/index.ts";

const LINES = 1_000_000;
const LIMIT_BYTES = 2 * 1024 * 1024;
/** The limit's worth of texts and their bookkeeping, over what the program itself needs. */
const HEAP_BYTES = 16 * 1024 * 1024;
const LONGEST_TURN_MS = 1000;
const LEVELS = ["debug", "debug", "info", "info", "info", "info", "info", "info", "warn", "error"] as const;

let seed = 20_261_125;
/** D. Lehmer's generator (Park and Miller): the same run each time. */
function random(): number {
  seed = (seed * 16_807) % 2_147_483_647;
  return seed / 2_147_483_647;
}
setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;
function heapBytes(): number {
  collect();
  return process.memoryUsage().heapUsed;
}

const pause = (ms: number): Promise<void> => new Promise((resume) => setTimeout(resume, ms));

async function write(): Promise<void> {
  const logger = createLogger({ level: "debug", buffer: { limitBytes: LIMIT_BYTES }, caller: "off" });
  let mostBuffered = 0;
  let mostHeap = 0;
  let longestTurn = 0;
  const before = heapBytes();
  for (let i = 0; i < LINES;) {
    const start = performance.now();
    for (const end = i + 1000; i < end; i++)
      logger[LEVELS[i % 10] ?? "info"]("line", { i, user: "é😀", text: "a field" });
    longestTurn = Math.max(longestTurn, performance.now() - start);
    mostBuffered = Math.max(mostBuffered, logger.getStats().buffered_bytes);
    if (i % 20_000 === 0) mostHeap = Math.max(mostHeap, heapBytes() - before);
    await pause(1);
  }
  const left = await logger.close({ deadlineMs: 30_000 });
  process.stderr.write(JSON.stringify({ left, mostBuffered, mostHeap, longestTurn, stats: logger.getStats() }));
}

async function read(): Promise<void> {
  const child = spawn(process.execPath, ["--conditions=@vg/source", fileURLToPath(import.meta.url), "write"], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  let report = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (report += text));
  const ended = once(child, "close");
  const taken: Record<string, number> = { debug: 0, info: 0, warn: 0, error: 0 };
  let reported = 0;
  let last = -1;
  const lines = createInterface({ input: child.stdout });
  lines.on("line", (text) => {
    const line = JSON.parse(text) as {
      level: string;
      message: string;
      i: number;
      "log.dropped"?: Record<string, number>;
    };
    taken[line.level] = (taken[line.level] ?? 0) + 1;
    if (line.message === "line") {
      assert.ok(line.i > last, `line ${line.i} came after ${last}`);
      last = line.i;
    } else {
      reported += Object.values(line["log.dropped"] ?? {}).reduce((sum, count) => sum + count, 0);
    }
  });
  const reading = once(lines, "close");
  let stalls = 0;
  while (child.exitCode === null) {
    child.stdout.pause();
    await pause(random() * 100);
    child.stdout.resume();
    await pause(random() * 60);
    stalls++;
  }
  child.stdout.resume();
  const [code] = (await ended) as [number];
  await reading;
  assert.equal(code, 0, report);
  const { left, mostBuffered, mostHeap, longestTurn, stats } = JSON.parse(report) as {
    left: { lines_left: number };
    mostBuffered: number;
    mostHeap: number;
    longestTurn: number;
    stats: {
      lines_total: Record<string, number>;
      dropped_total: number;
      dropped_by_level: Record<string, number>;
    };
  };
  console.log(
    `${LINES} lines, ${stalls} stalls: dropped ${JSON.stringify(stats.dropped_by_level)}, reported ${reported}; ` +
      `most bytes held ${mostBuffered}, heap ${mostHeap}, longest 1,000 lines ${longestTurn.toFixed(1)} ms`,
  );
  assert.equal(left.lines_left, 0);
  for (const level of ["debug", "info", "warn", "error"]) {
    const { [level]: total = 0 } = stats.lines_total;
    assert.equal((taken[level] ?? 0) + (stats.dropped_by_level[level] ?? 0), total, level);
  }
  assert.equal(reported, stats.dropped_total);
  assert.ok(stats.dropped_total > 0, "the reader was never so far behind that lines were dropped");
  assert.equal(stats.dropped_by_level["error"], 0);
  assert.ok(mostBuffered <= LIMIT_BYTES + 65_536);
  assert.ok(mostHeap <= HEAP_BYTES, `the heap had ${mostHeap} bytes`);
  assert.ok(longestTurn <= LONGEST_TURN_MS, `1,000 lines took ${longestTurn} ms`);
}

await (process.argv[2] === "write" ? write() : read());
