import { isDeepStrictEqual } from "node:util";
import { ContenderHandle } from "./contender-handle.ts";
import type { Answer, CallTimes, Measurement, Parameters } from "./contender.ts";
import type { Progress } from "./progress.ts";
import type { CallTimesResult, CaseResult, ContenderResult } from "./results.ts";
import { messageOf } from "./values.ts";
import { speedRatios, summarise, type Summary } from "./statistics.ts";

/** One package of ours beside what its users would pick instead. */
export interface Comparison {
  readonly name: string;
  readonly title: string;
  /** The packages of ours that must be built. */
  readonly packages: readonly string[];
  /** The module that makes contenders, loaded in their processes only. */
  readonly module: URL;
  /** What all contenders share: a database, a server. Runs outside of their processes. */
  start?(): Promise<Environment>;
  readonly cases: readonly Case[];
  /** Measured after the cases, on the same environment: what their figures can be held against. */
  yardstick?(environment: Environment | undefined, quick: boolean): Promise<Yardstick>;
  /** Instead of the usual budget, where there are many cases: they get more time, not shorter rounds. */
  readonly budgetMs?: { readonly full: number; readonly quick: number };
  /** Instead of the usual warm-up of a full run: for code that is hot sooner, or later. A quick one takes the shorter. */
  readonly warmUpMs?: number;
}

export interface Environment {
  readonly parameters: Parameters;
  /** Software that took part, by name. */
  readonly versions?: Record<string, string>;
  /** Why a case cannot be measured here, and is left out; undefined when it can. */
  whyNot?(one: Case): string | undefined;
  /** What the environment itself saw since the last call. Asked for before and after each round. */
  observed?(): Promise<Observed>;
  stop(): Promise<void>;
}

export interface Observed {
  /** Becomes a part of the round's answer, and is checked with it; the round's preparation is in it. */
  readonly answer: Answer;
  /** CPU time that what serves the contenders has used since its start. */
  readonly cpuMs: number;
}

/** What was reached on a comparison's environment by other means than a contender's. */
export interface Yardstick {
  readonly title: string;
  /** Why there are no rows, or what they leave out. */
  readonly note?: string;
  readonly rows: readonly { readonly name: string; readonly nsPerOp: Summary }[];
}

export interface Case {
  readonly name: string;
  readonly title: string;
  /** The cases of one setting make one table with this title. Without: a table for each case. */
  readonly setting?: string;
  /** Left out of a quick run. */
  readonly fullOnly?: boolean;
  readonly parameters: Parameters;
  /** What answers is a server in another process, with so many callers at a time: CPU time is half of the result. */
  readonly server?: ServerSide;
  /** What an operation is, in the plural, where it is known by how many there are a second: its tables show that. */
  readonly rate?: string;
  /** Whether to measure, too, how many bytes of the heap an operation takes; in rounds of their own. */
  readonly allocations?: boolean;
  /** How many calls to time one by one, too, in each sample; in samples of their own. */
  readonly calls?: number;
  /** The first one is ours; each other one is compared with it, or with the one that it names. */
  readonly contenders: readonly ContenderSpec[];
  /** A round does a multiple of this many operations. */
  readonly batch: number;
  /** Why the answer of a round of so many operations is wrong; undefined when it is right. */
  check(answer: Answer, operations: number, contender: ContenderSpec): string | undefined;
  /** An answer in a few words, to print beside a contender that may answer otherwise than the others. */
  describe?(answer: Answer, operations: number): string;
  /** The same for the answer of `verify`. */
  checkVerified?(answer: Answer | null): string | undefined;
}

export interface ServerSide {
  readonly callers: number;
}

export interface ContenderSpec {
  readonly name: string;
  /** The package whose version is shown; "node" for what Node.js itself brings. */
  readonly library: string;
  /** Which contender of the module this is; `name` when absent. */
  readonly creates?: string;
  /** The contender of ours that does the same as this one; the first one when absent. */
  readonly against?: string;
  /** How many times as fast as this one ours has to be. */
  readonly bar?: number;
  /** How many times as much CPU time as ours this one has to take, where the server is the limit; see `serverIsLimit`. */
  readonly cpuBar?: number;
  /** Beside those of the case. */
  readonly parameters?: Parameters;
  /** In a word or two: what it does less, so that its figures are beside the point. No bar, and `check` may be milder. */
  readonly differs?: string;
}

export interface Settings {
  /** How long one comparison may take, from the first process to the last, without the environment's start. */
  readonly budgetMs: number;
  readonly rounds: number;
  /** More rounds than usual take more time than the budget; they are not shorter rounds. */
  readonly usualRounds: number;
  /** Of each contender, in each of its processes. */
  readonly warmUpMs: number;
  /**
   * Over how many processes of each contender the rounds are spread. What V8 and the memory's layout make of a program
   * differs from one process to the next, by more than the rounds of one process differ.
   */
  readonly launches: number;
  /** Runs the rivals twice, to show by how much two equal contenders differ here. */
  readonly noise: boolean;
}

const MIN_ROUNDS = 3;
/** For the slowest contender. Shorter rounds would measure the clock and the scheduler, so the budget gives way. */
const MIN_ROUND_MS = 20;
/** The length of the last warm-up round at least, after rounds of half of it, a quarter, and so on. */
const MIN_WARM_UP_BATCHES = 4;
/** The rounds in which allocations are measured. They are not those in which the time is. */
const ALLOCATION_ROUNDS = 5;
const ALLOCATION_OPERATIONS = 400;
/** Of single calls, of each contender in each of its processes. */
const CALL_SAMPLES = 3;
/** What preparing rounds, collecting garbage and talking to processes takes, as a share of the measured time. */
const OVERHEAD = 0.2;

export async function runComparison(
  comparison: Comparison,
  environment: Environment | undefined,
  settings: Settings,
  progress: Progress,
): Promise<CaseResult[]> {
  const results: CaseResult[] = [];
  const deadline = performance.now() + settings.budgetMs;
  const cases = comparison.cases.filter((one) => environment?.whyNot?.(one) === undefined);
  let toRun = cases.reduce((sum, one) => sum + one.contenders.length, 0);
  for (const one of cases) {
    const budgetMs = (Math.max(0, deadline - performance.now()) * one.contenders.length) / toRun;
    toRun -= one.contenders.length;
    const rivals = one.contenders.filter(({ library }) => !comparison.packages.includes(library));
    const again = settings.noise ? rivals.map(secondCopy) : [];
    const whole = { ...one, contenders: [...one.contenders, ...again] };
    const parameters = { ...environment?.parameters, ...one.parameters };
    const observed = environment?.observed?.bind(environment);
    results.push(await new CaseRun(comparison, whole, parameters, observed, settings, progress).run(budgetMs));
  }
  return results;
}

/** What `runComparison` leaves out, in a line for each reason. */
export function leftOut(comparison: Comparison, environment: Environment | undefined): string[] {
  const reasons = comparison.cases.map((one) => environment?.whyNot?.(one)).filter((why) => why !== undefined);
  return [...new Set(reasons)].map((why) => {
    const count = reasons.filter((other) => other === why).length;
    return `${count} of ${comparison.cases.length} cases were left out: ${why}.`;
  });
}

function secondCopy(spec: ContenderSpec): ContenderSpec {
  return { ...spec, name: `${spec.name} again`, creates: spec.creates ?? spec.name };
}

/** A contender of a running case, with its measurements so far. */
interface Entrant {
  readonly spec: ContenderSpec;
  handle: ContenderHandle | undefined;
  disqualified: string | undefined;
  readonly ns: number[];
  readonly cpuNs: number[];
  readonly serverBusy: number[];
  readonly bytes: number[];
  readonly callTimes: CallTimes[];
  lastAnswer: Answer | null;
}

interface Round extends Measurement {
  /** CPU time of what served it. */
  serverMs?: number;
}

/** One case from its processes' start to its result. */
class CaseRun {
  readonly #comparison: Comparison;
  readonly #case: Case;
  readonly #parameters: Parameters;
  readonly #observed: (() => Promise<Observed>) | undefined;
  readonly #settings: Settings;
  readonly #progress: Progress;
  readonly #entrants: Entrant[];

  constructor(
    comparison: Comparison,
    one: Case,
    parameters: Parameters,
    observed: (() => Promise<Observed>) | undefined,
    settings: Settings,
    progress: Progress,
  ) {
    this.#comparison = comparison;
    this.#case = one;
    this.#parameters = parameters;
    this.#observed = observed;
    this.#settings = settings;
    this.#progress = progress;
    this.#entrants = one.contenders.map((spec) => ({
      spec,
      handle: undefined,
      disqualified: undefined,
      ns: [],
      cpuNs: [],
      serverBusy: [],
      bytes: [],
      callTimes: [],
      lastAnswer: null,
    }));
  }

  async run(budgetMs: number): Promise<CaseResult> {
    const start = performance.now();
    const deadline = start + budgetMs;
    const launches = Math.min(this.#settings.launches, this.#settings.rounds);
    let operations = 0;
    let rounds = 0;
    for (let launch = 1; launch <= launches && !this.#outOfTime(rounds, deadline); launch++) {
      try {
        this.#progress.show(this.#label(), "starting");
        await Promise.all(this.#running().map((entrant) => this.#start(entrant)));
        const batchesMs = await this.#warmUpAll();
        if (launch === 1) {
          // The other launches will start and warm up as long as this one did.
          const reserved = (performance.now() - start + this.#callsMs(batchesMs)) * launches;
          operations = this.#operationsOfARound(Math.max(0, ...batchesMs), budgetMs - reserved);
        }
        const target = Math.round((this.#settings.rounds * launch) / launches);
        rounds = await this.#measure(operations, rounds, target, deadline);
        if (launch === 1 && this.#case.allocations === true) await this.#measureAllocations();
        if (this.#case.calls !== undefined) await this.#timeCalls(this.#case.calls);
      } finally {
        await Promise.all(this.#entrants.map((entrant) => this.#stop(entrant)));
      }
    }
    this.#progress.done();
    return this.#result(operations, rounds);
  }

  /** Rounds beyond the usual number were asked for and get their time. */
  #outOfTime(rounds: number, deadline: number): boolean {
    const bounded = this.#settings.rounds <= this.#settings.usualRounds;
    return bounded && rounds >= MIN_ROUNDS && performance.now() > deadline;
  }

  #running(): Entrant[] {
    return this.#entrants.filter((entrant) => entrant.disqualified === undefined);
  }

  async #start(entrant: Entrant): Promise<void> {
    const { spec } = entrant;
    try {
      entrant.handle = await ContenderHandle.start(spec.name, this.#comparison.module, spec.creates ?? spec.name, {
        ...this.#parameters,
        ...spec.parameters,
      });
      const verified = await entrant.handle.verify();
      const wrong = this.#case.checkVerified?.(verified);
      if (wrong !== undefined) entrant.disqualified = `wrong answer: ${wrong}`;
    } catch (error) {
      entrant.disqualified = `failed: ${messageOf(error)}`;
    }
  }

  async #stop(entrant: Entrant): Promise<void> {
    await entrant.handle?.close();
    entrant.handle = undefined;
  }

  /** Returns how many milliseconds a batch takes each contender. */
  async #warmUpAll(): Promise<number[]> {
    const batchesMs: number[] = [];
    for (const entrant of this.#running()) batchesMs.push(await this.#warmUp(entrant));
    return batchesMs;
  }

  /** About what timing single calls will take in each launch. */
  #callsMs(batchesMs: readonly number[]): number {
    const calls = (this.#case.calls ?? 0) * CALL_SAMPLES;
    return batchesMs.reduce((sum, batchMs) => sum + (batchMs / this.#case.batch) * calls, 0);
  }

  /** Runs ever longer rounds until the code is hot; returns how many milliseconds a batch then took. */
  async #warmUp(entrant: Entrant): Promise<number> {
    this.#progress.show(this.#label(), `warming up ${entrant.spec.name}`);
    const end = performance.now() + this.#settings.warmUpMs;
    let best = Infinity;
    for (let batches = 1; ; batches *= 2) {
      const round = await this.#round(entrant, batches * this.#case.batch);
      if (round === undefined) return 0;
      best = Math.min(best, round.elapsedMs / batches);
      // The next round would take about twice as long as this one. The first ones are cold and say little.
      if (batches >= MIN_WARM_UP_BATCHES && performance.now() + 2 * round.elapsedMs > end) return best;
    }
  }

  /** The same for all contenders, so that their answers can be compared; the slowest one decides. */
  #operationsOfARound(slowestBatchMs: number, remainingMs: number): number {
    const contenders = Math.max(1, this.#running().length);
    const share = remainingMs / (this.#settings.usualRounds * contenders * (1 + OVERHEAD));
    const roundMs = Math.max(MIN_ROUND_MS, share);
    const batches = slowestBatchMs > 0 ? Math.max(1, Math.floor(roundMs / slowestBatchMs)) : 1;
    return batches * this.#case.batch;
  }

  /** Measures the rounds from `first` up to `target`, or until the time is up; returns how many there are now. */
  async #measure(operations: number, first: number, target: number, deadline: number): Promise<number> {
    for (let round = first; round < target; round++) {
      if (this.#outOfTime(round, deadline)) return round;
      for (const entrant of rotate(this.#running(), round)) {
        this.#progress.show(this.#label(), entrant.spec.name, round / this.#settings.rounds);
        const measured = await this.#round(entrant, operations);
        if (measured === undefined) continue;
        entrant.lastAnswer = measured.answer;
        entrant.ns.push((measured.elapsedMs * 1e6) / operations);
        entrant.cpuNs.push((measured.cpuMs * 1e6) / operations);
        if (measured.serverMs !== undefined) entrant.serverBusy.push(measured.serverMs / measured.elapsedMs);
      }
    }
    return target;
  }

  async #measureAllocations(): Promise<void> {
    this.#progress.show(this.#label(), "allocations");
    for (const entrant of this.#running()) {
      for (let i = 0; i < ALLOCATION_ROUNDS; i++) {
        const round = await this.#round(entrant, ALLOCATION_OPERATIONS, true);
        if (round?.heapBytes !== undefined) entrant.bytes.push(round.heapBytes / ALLOCATION_OPERATIONS);
      }
    }
  }

  async #timeCalls(calls: number): Promise<void> {
    this.#progress.show(this.#label(), "single calls");
    for (let sample = 0; sample < CALL_SAMPLES; sample++) {
      for (const entrant of rotate(this.#running(), sample)) {
        try {
          const times = await entrant.handle?.timeCalls(calls);
          if (times === undefined) continue;
          const wrong = this.#case.check(times.answer, calls, entrant.spec);
          if (wrong === undefined) entrant.callTimes.push(times);
          else entrant.disqualified = `wrong answer: ${wrong}`;
        } catch (error) {
          entrant.disqualified = `failed: ${messageOf(error)}`;
        }
      }
    }
  }

  /** One round with its answer checked; undefined when that disqualified the contender. */
  async #round(entrant: Entrant, operations: number, allocations = false): Promise<Round | undefined> {
    if (entrant.handle === undefined || entrant.disqualified !== undefined) return undefined;
    try {
      const before = await this.#observed?.();
      const measured = await entrant.handle.round(operations, allocations);
      const after = await this.#observed?.();
      const round: Round = { ...measured, answer: { ...measured.answer, ...after?.answer } };
      if (before !== undefined && after !== undefined) round.serverMs = after.cpuMs - before.cpuMs;
      const wrong = this.#case.check(round.answer, operations, entrant.spec);
      if (wrong !== undefined) {
        entrant.disqualified = `wrong answer: ${wrong}`;
        return undefined;
      }
      return round;
    } catch (error) {
      entrant.disqualified = `failed: ${messageOf(error)}`;
      return undefined;
    }
  }

  #result(operations: number, rounds: number): CaseResult {
    const contenders = this.#entrants.map((entrant) => this.#contenderResult(entrant, operations));
    const { name, title, setting, server, rate } = this.#case;
    const right = this.#running().filter(({ spec }) => spec.differs === undefined);
    const answer = right.at(-1)?.lastAnswer ?? null;
    const result: CaseResult = { name, title, operations, rounds, answer, contenders };
    if (setting !== undefined) result.setting = setting;
    if (server !== undefined) result.server = server;
    if (rate !== undefined) result.rate = rate;
    if (answer !== null) Object.assign(result, this.#described(answer, operations));
    return result;
  }

  #contenderResult(entrant: Entrant, operations: number): ContenderResult {
    const { spec, disqualified, ns, cpuNs, serverBusy, bytes, callTimes, lastAnswer } = entrant;
    const { name, library, against, bar, cpuBar, differs } = spec;
    if (disqualified !== undefined) return { name, library, disqualified };
    const result: ContenderResult = { name, library, nsPerOp: summarise(ns), cpuNsPerOp: summarise(cpuNs) };
    result.onCpu = speedRatios(ns, cpuNs);
    if (serverBusy.length > 0) result.serverBusy = summarise(serverBusy);
    if (bytes.length > 0) result.bytesPerOp = summarise(bytes);
    if (this.#case.calls !== undefined) result.callTimes = summariseCalls(callTimes, this.#case.calls);
    if (differs !== undefined) {
      result.differs = differs;
      if (lastAnswer !== null) Object.assign(result, this.#described(lastAnswer, operations));
    }
    const ours = this.#entrants.find((other) => other.spec.name === against) ?? this.#entrants[0]!;
    if (spec === ours.spec || ours.disqualified !== undefined) return result;
    result.against = ours.spec.name;
    result.speedRatio = speedRatios(ours.ns, ns);
    result.cpuRatio = speedRatios(ours.cpuNs, cpuNs);
    if (result.callTimes !== undefined) Object.assign(result.callTimes, callRatios(ours.callTimes, callTimes));
    if (bar !== undefined) result.bar = bar;
    if (cpuBar !== undefined) result.cpuBar = cpuBar;
    return result;
  }

  #described(answer: Answer, operations: number): { answerText?: string } {
    const { describe } = this.#case;
    return describe === undefined ? {} : { answerText: describe(answer, operations) };
  }

  #label(): string {
    return `${this.#comparison.name}: ${this.#case.title}`;
  }
}

function summariseCalls(samples: readonly CallTimes[], calls: number): CallTimesResult {
  const over = (key: "p50Ns" | "p99Ns" | "clockNs"): Summary => summarise(samples.map((one) => one[key]));
  return { samples: samples.length, calls, p50Ns: over("p50Ns"), p99Ns: over("p99Ns"), clockNs: over("clockNs") };
}

function callRatios(
  ours: readonly CallTimes[],
  rival: readonly CallTimes[],
): Pick<CallTimesResult, "p50Ratio" | "p99Ratio"> {
  const of = (key: "p50Ns" | "p99Ns"): Summary =>
    speedRatios(
      ours.map((one) => one[key]),
      rival.map((one) => one[key]),
    );
  return { p50Ratio: of("p50Ns"), p99Ratio: of("p99Ns") };
}

/** A B C, then C A B, then B C A: over the rounds, each contender runs in each place equally often. */
export function rotate<T>(items: readonly T[], round: number): T[] {
  const shift = items.length === 0 ? 0 : round % items.length;
  return [...items.slice(items.length - shift), ...items.slice(0, items.length - shift)];
}

/** A check for answers that are known beforehand. */
export function expectAnswer(answer: Answer, expected: Answer): string | undefined {
  if (isDeepStrictEqual(answer, expected)) return undefined;
  return `got ${JSON.stringify(answer)}, expected ${JSON.stringify(expected)}`;
}
