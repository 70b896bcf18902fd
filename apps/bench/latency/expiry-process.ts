/**
 * Measures one cache while its entries expire, in a process of its own: see expiry-latency.ts.
 *
 * The program works in slices of a millisecond and gives the event loop its turn between them, as a server does. Each
 * operation is timed by itself; so is each turn of the loop, in which the timers of the caches run.
 */
import { readFileSync } from "node:fs";
import { constants, PerformanceObserver } from "node:perf_hooks";
import { measured } from "../harness/measuring-process.ts";
import { field } from "../harness/values.ts";
import { makeExpiringCache, type ExpiringCache, type Value } from "./expiring-caches.ts";
import { LatencyHistogram } from "../harness/latency-histogram.ts";
import { CURVE, type ExpiryResult, type ExpiryTask, type Latency } from "./expiry-latency.ts";
import { explain, type Absence, type Pause, type Span } from "./stops.ts";

const SLICE_MS = 1;
/** From before the first deadline. */
const LEAD_MS = 100;
const LIVE_TTL_MS = 600_000;
/** Keys that are set for the first time while the others expire, as a share of those. */
const NEW_KEYS = 0.25;
/** Keys that are set again meanwhile, as a share; the others are left to expire. */
const RENEWED_KEYS = 0.05;
/** Of so many operations, powers of two: one set, one look at the statistics or the size. */
const OPERATIONS_PER_SET = 4;
const OPERATIONS_PER_LOOK = 1 << 13;
const PURGE_EVERY_MS = 1000;
const WARM_UP_LOOKS = 20;
const WARM_UP_GETS = 50_000;
/** Stops of at least this are kept one by one, to explain them. */
const LONG_MS = 0.25;
const KEPT = 20_000;
const WORST = 5;
/** A clock that is read once a millisecond may let an entry go that much before its time. */
const EARLY_TOLERANCE_MS = 1;

const GC_KINDS: Record<number, string> = {
  [constants.NODE_PERFORMANCE_GC_MINOR]: "minor",
  [constants.NODE_PERFORMANCE_GC_MAJOR]: "major",
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: "incremental",
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: "weak callbacks",
};

interface LongSpan extends Span {
  readonly what: string;
}

/** Timed spans of one sort: all of them in a histogram, the long ones one by one. */
class Timing {
  readonly histogram = new LatencyHistogram();
  readonly long: LongSpan[] = [];

  record(what: string, at: number, ms: number): void {
    this.histogram.record(ms * 1e6);
    if (ms >= LONG_MS && this.long.length < KEPT) this.long.push({ what, at, ms });
  }
}

class Program {
  readonly operations = new Timing();
  readonly loop = new Timing();
  readonly absences: Absence[] = [];
  lateHits = 0;
  latestMs = 0;
  earlyMisses = 0;
  wrong = 0;

  readonly #cache: ExpiringCache;
  readonly #looks: readonly [string, () => unknown][];
  readonly #task: ExpiryTask;
  readonly #keys: readonly string[];
  readonly #values: readonly Value[];
  /** When the entry of a key is over at the latest; -Infinity: it was never set. */
  readonly #deadlines: Float64Array;
  #state = 0x9e3779b9;
  #turn = 0;

  constructor(cache: ExpiringCache, task: ExpiryTask) {
    this.#cache = cache;
    this.#looks = Object.entries(cache.looks);
    this.#task = task;
    const keys = Math.round(task.entries * (1 + NEW_KEYS));
    this.#keys = Array.from({ length: keys }, (_, i) => Buffer.from(`session:${i}`).toString("latin1"));
    this.#values = this.#keys.map((_, id): Value => ({ id }));
    this.#deadlines = new Float64Array(keys).fill(-Infinity);
  }

  /** Stores all entries, so that they expire from `start` on; returns the longest `set`. */
  fill(start: number): Span {
    const { entries, spreadMs } = this.#task;
    let longest: Span = { at: start, ms: 0 };
    for (let id = 0; id < entries; id++) {
      const deadline = start + (this.#random(2 ** 30) / 2 ** 30) * spreadMs;
      const span = this.#set(id, Math.max(1, Math.ceil(deadline - performance.now())));
      if (span.ms > longest.ms) longest = span;
    }
    return longest;
  }

  /** Does a little of all that `run` does, before anything expires; returns how long the first look took. */
  warmUp(): number {
    const at = performance.now();
    for (const [, look] of this.#looks) look();
    const firstMs = performance.now() - at;
    for (let i = 0; i < WARM_UP_LOOKS; i++) for (const [, look] of this.#looks) look();
    for (let i = 0; i < WARM_UP_GETS; i++) this.#cache.get(this.#keys[this.#random(this.#keys.length)]!);
    this.#cache.purge?.();
    return firstMs;
  }

  /** Works until `end`. */
  async run(end: number): Promise<void> {
    let cpu = threadCpuMs();
    let at = performance.now();
    let nextPurge = at + PURGE_EVERY_MS;
    while (at < end) {
      const sliceEnd = at + SLICE_MS;
      let now = at;
      while (now < sliceEnd) now = this.#operation();
      if (now >= nextPurge && this.#cache.purge !== undefined) {
        now = this.#timed("purge", () => this.#cache.purge?.());
        nextPurge = now + PURGE_EVERY_MS;
      }
      cpu = this.#checkCpu(at, now, cpu);
      await new Promise((resolve) => setImmediate(resolve));
      at = performance.now();
      this.loop.record("event loop", now, at - now);
      cpu = this.#checkCpu(now, at, cpu);
    }
  }

  /** Returns the time when it was over. */
  #operation(): number {
    const turn = this.#turn++;
    if ((turn & (OPERATIONS_PER_LOOK - 1)) === 0) {
      const [name, look] = this.#looks[(turn / OPERATIONS_PER_LOOK) % this.#looks.length]!;
      return this.#timed(name, look);
    }
    if ((turn & (OPERATIONS_PER_SET - 1)) === 0) {
      const { entries } = this.#task;
      // By turns a new key, and one of those that are renewed.
      const isNew = (turn & OPERATIONS_PER_SET) === 0;
      const id = isNew
        ? entries + this.#random(this.#keys.length - entries)
        : this.#random(Math.ceil(entries * RENEWED_KEYS));
      const { at, ms } = this.#set(id, LIVE_TTL_MS);
      this.operations.record("set", at, ms);
      return at + ms;
    }
    return this.#get(this.#random(this.#keys.length));
  }

  #get(id: number): number {
    const key = this.#keys[id]!;
    const deadline = this.#deadlines[id]!;
    const at = performance.now();
    const value = this.#cache.get(key);
    const end = performance.now();
    this.operations.record("get", at, end - at);
    if (value === undefined) {
      if (end < deadline - EARLY_TOLERANCE_MS) this.earlyMisses++;
    } else {
      if (value.id !== id) this.wrong++;
      // Over before it was asked for.
      if (deadline <= at) {
        this.lateHits++;
        this.latestMs = Math.max(this.latestMs, at - deadline);
      }
    }
    return end;
  }

  #set(id: number, ttlMs: number): Span {
    const key = this.#keys[id]!;
    const value = this.#values[id]!;
    const at = performance.now();
    this.#cache.set(key, value, ttlMs);
    const end = performance.now();
    this.#deadlines[id] = end + ttlMs;
    return { at, ms: end - at };
  }

  #timed(what: string, action: () => unknown): number {
    const at = performance.now();
    action();
    const end = performance.now();
    this.operations.record(what, at, end - at);
    return end;
  }

  /** Notes a piece of time in which the thread was kept from running; returns its CPU time so far. */
  #checkCpu(from: number, to: number, before: number): number {
    const cpu = threadCpuMs();
    const offCpuMs = to - from - (cpu - before);
    if (offCpuMs >= LONG_MS && this.absences.length < KEPT) this.absences.push({ at: from, ms: to - from, offCpuMs });
    return cpu;
  }

  /** 0..below-1: xorshift, since a better one would be part of what is measured between two operations. */
  #random(below: number): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return (state >>> 0) % below;
  }
}

/** The CPU time of this thread. Without it (before Node.js 23.9), that of the process, with the collector's other threads. */
function threadCpuMs(): number {
  const { threadCpuUsage } = process as { threadCpuUsage?: () => NodeJS.CpuUsage };
  const { user, system } = threadCpuUsage?.() ?? process.cpuUsage();
  return (user + system) / 1000;
}

/** What the host has taken from the machine's processors so far, in which no clock of ours can be told from work. */
function stolenMs(): number | undefined {
  let text: string;
  try {
    text = readFileSync("/proc/stat", "utf8");
  } catch {
    return undefined;
  }
  // cpu user nice system idle iowait irq softirq steal, in hundredths of a second
  const steal = Number(text.split(/\s+/, 9)[8]);
  return Number.isFinite(steal) ? steal * 10 : undefined;
}

await measured(async (task: ExpiryTask): Promise<ExpiryResult> => {
  const { library, capacity, fillMs, spreadMs, afterMs } = task;
  const pauses: Pause[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) {
      const kind = field(entry, "detail", "kind");
      const name = typeof kind === "number" ? GC_KINDS[kind] : undefined;
      pauses.push({ at: entry.startTime, ms: entry.duration, kind: name ?? "other" });
    }
  });
  observer.observe({ entryTypes: ["gc"] });
  const cache = await makeExpiringCache(library, capacity);
  const program = new Program(cache, task);
  const start = performance.now() + fillMs;
  const longestSet = program.fill(start);
  const firstLookMs = program.warmUp();
  // What was made so far is not to be collected while it is measured.
  globalThis.gc?.();
  const left = start - LEAD_MS - performance.now();
  if (left < 0) throw new Error(`${library} could not be filled within ${fillMs} ms`);
  await new Promise((resolve) => setTimeout(resolve, left));

  const measuredFrom = performance.now();
  const stolenBefore = stolenMs();
  const expiredBefore = cache.expired?.() ?? 0;
  await program.run(start + spreadMs + afterMs);
  const expired = cache.expired === undefined ? null : cache.expired() - expiredBefore;
  // The observer is told between two turns of the loop.
  await new Promise((resolve) => setTimeout(resolve, 50));
  observer.disconnect();
  const latency = ({ histogram, long }: Timing): Latency => ({
    count: histogram.count,
    maxNs: histogram.maxNs,
    curve: CURVE.map((share) => histogram.percentile(share)),
    worst: long
      .toSorted((a, b) => b.ms - a.ms)
      .slice(0, WORST)
      .map((span) => explain(span, start, pauses, program.absences)),
    elseWorst: long
      .map((span) => explain(span, start, pauses, program.absences))
      .reduce((most, stop) => Math.max(most, stop.ms - stop.gcMs - stop.offCpuMs), 0),
  });
  const collections = pauses.filter(({ at }) => at >= measuredFrom);
  const result: ExpiryResult = {
    operations: latency(program.operations),
    loop: latency(program.loop),
    gc: {
      count: collections.length,
      totalMs: collections.reduce((total, { ms }) => total + ms, 0),
      longest: collections.reduce<Pause | null>((most, one) => (one.ms > (most?.ms ?? 0) ? one : most), null),
    },
    longestFill: explain({ what: "set", ...longestSet }, start, pauses, []),
    firstLookMs,
    stolenMs: stolenBefore === undefined ? null : (stolenMs() ?? 0) - stolenBefore,
    expired,
    lateHits: program.lateHits,
    latestMs: program.latestMs,
    earlyMisses: program.earlyMisses,
    wrong: program.wrong,
  };
  cache.close?.();
  return result;
});
