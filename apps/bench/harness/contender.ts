/**
 * What one side of a comparison implements. A contender lives in a process of its own, which the harness asks for one
 * round at a time; see contender-process.ts.
 */
export interface Contender {
  /** Before each round, not measured: brings the contender into the state that every round starts from. */
  prepare?(): void | Promise<void>;
  /** One round, measured: does `operations` operations and says what came of them. */
  run(operations: number): Answer | Promise<Answer>;
  /** After each round, not measured: what the round left behind, which is added to its answer. */
  after?(): Answer | Promise<Answer>;
  /** Once, before the warm-up, not measured: shows that the work is really done, where a round cannot show it. */
  verify?(): Answer | Promise<Answer>;
  /** No round: does so many operations, each of which is timed by itself; see call-times.ts. */
  timeCalls?(calls: number): CallTimes | Promise<CallTimes>;
  close?(): void | Promise<void>;
}

/** What a round found: the same for every correct contender, or else the comparison's check must know why not. */
export type Answer = Record<string, Json>;

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** What the module of a comparison's contenders exports. It runs in the contender's process only. */
export interface ContenderModule {
  createContender(name: string, parameters: Parameters): Contender | Promise<Contender>;
}

/** A case's parameters together with what the comparison's environment gave (a DSN, a URL). */
export type Parameters = Record<string, Json>;

export interface Measurement {
  /** Wall-clock time of the round. */
  elapsedMs: number;
  /** CPU time (user and system) that the contender's whole process used in the round. */
  cpuMs: number;
  /** What was allocated on V8's heap in the round, where that was asked for. */
  heapBytes?: number;
  answer: Answer;
}

/** What single calls of one sample took, with the two readings of the clock around each. */
export interface CallTimes {
  p50Ns: number;
  p99Ns: number;
  /** What the clock's readings are of each, by the median of calls that do nothing. */
  clockNs: number;
  answer: Answer;
}

export type Request =
  | { type: "create"; module: string; contender: string; parameters: Parameters }
  | { type: "verify" }
  | { type: "round"; operations: number; allocations: boolean }
  | { type: "time"; calls: number }
  | { type: "close" };

export type Reply =
  | { type: "created" }
  | { type: "verified"; answer: Answer | null }
  | { type: "measured"; measurement: Measurement }
  | { type: "timed"; times: CallTimes }
  | { type: "closed" }
  | { type: "failed"; message: string };
