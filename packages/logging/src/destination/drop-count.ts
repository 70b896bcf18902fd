import type { Clock } from "../config.ts";
import { channels, type LogDroppedMessage } from "../diagnostics.ts";
import { LEVEL_NUMBERS } from "../levels.ts";

/** Lines that were lost, and since when and why: of the first of them. */
export type DropReport = Pick<LogDroppedMessage, "dropped" | "since" | "reason">;

const REPORT_EVERY_MS = 1000;
const NAMES: ReadonlyMap<number, string> = new Map(Object.entries(LEVEL_NUMBERS).map(([name, level]) => [level, name]));

/** Counts what one logger lost, and keeps what it has to say about it when lines are taken again. */
export class DropCount {
  readonly #clock: Clock;
  readonly byLevel: Map<number, number> = new Map();
  total = 0;
  #untold: { readonly since: number; readonly reason: string; readonly byLevel: Map<number, number> } | undefined;
  #triedAt: number | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(level: number, reason: string): void {
    this.total++;
    increment(this.byLevel, level);
    if (this.#untold !== undefined) {
      increment(this.#untold.byLevel, level);
      return;
    }
    this.#untold = { since: this.#clock.now(), reason, byLevel: new Map([[level, 1]]) };
    publish("dropping", this.#report());
  }

  /** What was lost and not told yet; unless `now`, it is to be told at most once a second. */
  due(now: boolean): DropReport | undefined {
    if (this.#untold === undefined) return undefined;
    const time = this.#clock.now();
    const isEarly = this.#triedAt !== undefined && time >= this.#triedAt && time < this.#triedAt + REPORT_EVERY_MS;
    if (isEarly && !now) return undefined;
    this.#triedAt = time;
    return this.#report();
  }

  /** What was due is in the log. */
  told(report: DropReport): void {
    this.#untold = undefined;
    publish("reported", report);
  }

  #report(): DropReport {
    const { since = 0, reason = "", byLevel = new Map<number, number>() } = this.#untold ?? {};
    const sorted = [...byLevel].toSorted(([a], [b]) => a - b);
    return { dropped: Object.fromEntries(sorted.map(([level, count]) => [nameOf(level), count])), since, reason };
  }
}

function increment(counts: Map<number, number>, level: number): void {
  counts.set(level, (counts.get(level) ?? 0) + 1);
}

const nameOf = (level: number): string => NAMES.get(level) ?? String(level);

function publish(state: LogDroppedMessage["state"], report: DropReport): void {
  if (channels.dropped.hasSubscribers) channels.dropped.publish({ state, ...report } satisfies LogDroppedMessage);
}
