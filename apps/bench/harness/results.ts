/** What a comparison found, as it is written to JSON. */
import type { ServerSide } from "./comparison.ts";
import type { Answer } from "./contender.ts";
import type { Summary } from "./statistics.ts";

export interface CaseResult {
  name: string;
  title: string;
  setting?: string;
  server?: ServerSide;
  rate?: string;
  /** Operations of one round; 0 when none was measured. */
  operations: number;
  rounds: number;
  /** What each correct contender answered in the last round. */
  answer: Answer | null;
  /** The same in a few words. */
  answerText?: string;
  contenders: ContenderResult[];
}

export interface ContenderResult {
  name: string;
  library: string;
  /** Why this contender's figures don't count: a wrong answer or a failure. */
  disqualified?: string;
  /** Wall-clock nanoseconds per operation. */
  nsPerOp?: Summary;
  /** CPU nanoseconds (user and system) of the contender's process per operation. */
  cpuNsPerOp?: Summary;
  /** CPU time as a share of the wall-clock time; above 1 where other threads of the process work too. */
  onCpu?: Summary;
  /** CPU time of what served it, as a share of the wall-clock time: near 1, it was the limit. */
  serverBusy?: Summary;
  /** What it allocated on V8's heap per operation. */
  bytesPerOp?: Summary;
  /** What single calls took. */
  callTimes?: CallTimesResult;
  /** The contender of ours that the ratios are about. */
  against?: string;
  /** Ours against this one, round by round: above 1, ours was faster, or used less CPU time. */
  speedRatio?: Summary;
  cpuRatio?: Summary;
  /** What the median of `speedRatio` has to be at least. */
  bar?: number;
  /** What the median of `cpuRatio` has to be at least, where the server is the limit. */
  cpuBar?: number;
  /** What this contender does less than the others, and what it answered in the last round. */
  differs?: string;
  answerText?: string;
}

/** Over the samples of a contender, each of `calls` calls. */
export interface CallTimesResult {
  samples: number;
  calls: number;
  p50Ns: Summary;
  p99Ns: Summary;
  /** What reading the clock adds to each figure. */
  clockNs: Summary;
  /** This one against ours, sample by sample: above 1, ours was faster. */
  p50Ratio?: Summary;
  p99Ratio?: Summary;
}
