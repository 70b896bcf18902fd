/**
 * Takes a sample of all figures now and then, and keeps the findings that hold.
 *
 * A finding looks at a window of the last minutes, never at all since the start: what was an hour ago is none now. It appears
 * when several windows in a row call for it, and goes when several in a row do not: when the figure is fine again (which it
 * must be by a margin), or when there is too little traffic to tell.
 */
import { cacheVerdicts } from "./cache-rules.ts";
import { dbVerdicts } from "./db-rules.ts";
import type { Finding, Verdict } from "./finding.ts";
import { httpVerdicts } from "./http-rules.ts";
import type { Sample, SampleWindow } from "./sample.ts";

export interface AdvisorOptions {
  sample: () => Sample;
  /** Between two samples; 0: none are taken, and nothing is ever found. */
  intervalMs: number;
  /** How far back findings look. */
  windowMs: number;
  onChange: (finding: Finding, change: "appeared" | "cleared") => void;
  /** Gets what went wrong while a sample was taken. */
  onError: (error: unknown) => void;
}

/** The least time, in parts of the window, that says something. */
const LEAST_PART = 0.2;
/** How many windows in a row call for a finding before it is one, and how many do not before it is none. */
const APPEARS_AFTER = 3;
const CLEARS_AFTER = 6;

interface Watched {
  /** Windows in a row that call for it; below 0: that do not. */
  streak: number;
  finding: Finding | undefined;
  order: number;
}

export class Advisor {
  readonly #options: AdvisorOptions;
  readonly #samples: Sample[] = [];
  readonly #watched = new Map<string, Watched>();
  #timer: NodeJS.Timeout | undefined;
  #findings: readonly Finding[] = Object.freeze([]);

  constructor(options: AdvisorOptions) {
    this.#options = options;
  }

  /** The findings that hold, those with warnings first. */
  get findings(): readonly Finding[] {
    return this.#findings;
  }

  start(): void {
    const { intervalMs } = this.#options;
    if (intervalMs === 0 || this.#timer !== undefined) return;
    this.tick();
    this.#timer = setInterval(() => this.tick(), intervalMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Takes a sample and looks at the window that ends with it. The timer does this. */
  tick(): void {
    try {
      const { sample, windowMs } = this.#options;
      const now = sample();
      // What a clock that went back left is of no window any more.
      while (this.#samples.length > 0 && !this.#isWithin(now, windowMs)) this.#samples.shift();
      this.#samples.push(now);
      const window = this.#samples as unknown as SampleWindow;
      if (now.atMs - window[0].atMs < windowMs * LEAST_PART) return;
      this.#follow(verdictsOf(window));
    } catch (error) {
      this.#options.onError(error);
    }
  }

  #isWithin(now: Sample, windowMs: number): boolean {
    const age = now.atMs - (this.#samples[0] as Sample).atMs;
    return age >= 0 && age <= windowMs;
  }

  #follow(verdicts: readonly Verdict[]): void {
    let changed = false;
    for (const verdict of verdicts) {
      const key = `${verdict.subject} ${verdict.id}`;
      const watched = this.#watched.get(key) ?? { streak: 0, finding: undefined, order: this.#watched.size };
      this.#watched.set(key, watched);
      if (this.#step(watched, verdict)) changed = true;
    }
    if (changed) this.#findings = sorted(this.#watched.values());
  }

  /** Says whether the findings are others now: other ones, or of other figures. */
  #step(watched: Watched, { state, finding }: Verdict): boolean {
    const before = watched.finding;
    if (state === "bad") {
      watched.streak = Math.max(0, watched.streak) + 1;
      if (before === undefined && watched.streak < APPEARS_AFTER) return false;
      watched.finding = finding;
      if (before === undefined && finding !== undefined) this.#options.onChange(finding, "appeared");
      return true;
    }
    // Between the bounds nothing changes, but the figures.
    if (state === "between") {
      watched.streak = 0;
      if (before === undefined) return false;
      watched.finding = finding;
      return true;
    }
    watched.streak = Math.min(0, watched.streak) - 1;
    if (before === undefined || watched.streak > -CLEARS_AFTER) return false;
    watched.finding = undefined;
    this.#options.onChange(before, "cleared");
    return true;
  }
}

export function verdictsOf(window: SampleWindow): Verdict[] {
  return [
    ...dbVerdicts(window),
    ...httpVerdicts(window),
    ...cacheVerdicts("inference_cache", window),
    ...cacheVerdicts("embedding_cache", window),
  ];
}

function sorted(watched: Iterable<Watched>): readonly Finding[] {
  const held = [...watched].filter(({ finding }) => finding !== undefined);
  const rank = ({ finding, order }: Watched): number => (finding?.severity === "warn" ? 0 : 1_000) + order;
  return Object.freeze(held.toSorted((a, b) => rank(a) - rank(b)).map(({ finding }) => finding as Finding));
}
