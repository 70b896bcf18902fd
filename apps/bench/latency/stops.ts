/** Why a program stood still: what lies in the time of a stop. */

/** A piece of time, in milliseconds of `performance.now()`. */
export interface Span {
  readonly at: number;
  readonly ms: number;
}

export interface Pause extends Span {
  readonly kind: string;
}

/** A piece of time for a part of which the thread did not run. */
export interface Absence extends Span {
  readonly offCpuMs: number;
}

export interface Stop {
  /** What the program did: "get", "set", … */
  what: string;
  /** Since the entries began to expire. */
  atMs: number;
  ms: number;
  /** How much of it was garbage collection, and of what kind. */
  gcMs: number;
  gcKinds: string;
  /** For how much of the rest, at most, the operating system let the thread wait. */
  offCpuMs: number;
}

export function explain(
  { what, at, ms }: Span & { what: string },
  start: number,
  pauses: readonly Pause[],
  absences: readonly Absence[],
): Stop {
  const stop = { at, ms };
  const collecting = pauses.filter((pause) => overlap(stop, pause) > 0);
  const gcMs = sum(collecting.map((pause) => overlap(stop, pause)));
  const away = absences.filter((absence) => overlap(stop, absence) > 0);
  return {
    what,
    atMs: at - start,
    ms,
    gcMs,
    gcKinds: [...new Set(collecting.map(({ kind }) => kind))].join(" and "),
    offCpuMs: Math.min(ms - gcMs, sum(away.map(({ offCpuMs }) => offCpuMs))),
  };
}

/** The part of a stop that neither the collector nor the operating system explains: work, or time that the host took. */
export function ownMs({ ms, gcMs, offCpuMs }: Stop): number {
  return Math.max(0, ms - gcMs - offCpuMs);
}

/** In a few words: what most of the stop was. */
export function causeOf(stop: Stop): string {
  const { gcMs, gcKinds, offCpuMs } = stop;
  const own = ownMs(stop);
  if (gcMs >= offCpuMs && gcMs >= own) return `${gcKinds} collection`;
  return offCpuMs > own ? "not on the CPU" : "work";
}

function overlap(one: Span, other: Span): number {
  return Math.max(0, Math.min(one.at + one.ms, other.at + other.ms) - Math.max(one.at, other.at));
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
