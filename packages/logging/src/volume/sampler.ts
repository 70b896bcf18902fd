import { LEVEL_NUMBERS } from "../levels.ts";

export interface SamplingSettings {
  /** By pino's number of the level, from 0 to 1. */
  readonly rates: ReadonlyMap<number, number>;
  /** By message, before its placeholders are filled in; these come before those by level. */
  readonly messages: ReadonlyMap<string, number>;
  readonly random: () => number;
}

/** The trace ids of which an error was logged last. */
const REMEMBERED_TRACES = 1000;

/**
 * Keeps a part of the lines below `warn`. The lines of one trace are kept or left out together: what decides is a hash
 * of the trace id, the same in every process, and a trace that is kept at some rate is kept at every higher one. Once a
 * trace has an error, its later lines are all kept.
 */
export class Sampler {
  readonly #settings: SamplingSettings;
  readonly #failed = new Set<string>();
  /** Lines that were left out. */
  sampledOutTotal = 0;

  constructor(settings: SamplingSettings) {
    this.#settings = settings;
  }

  /**
   * @param position of the trace among all, see `positionOf`
   * @returns the rate that the line is kept at, 0 where it is left out
   */
  rate(level: number, template: string | undefined, trace: string | undefined, position: number | undefined): number {
    if (level >= LEVEL_NUMBERS.warn) {
      if (level >= LEVEL_NUMBERS.error && trace !== undefined) this.#remember(trace);
      return 1;
    }
    const { rates, messages, random } = this.#settings;
    const ofMessage = template === undefined ? undefined : messages.get(template);
    // A level of one's own is of the kind of the one below it.
    const rate = ofMessage ?? rates.get(level - (level % 10)) ?? 1;
    if (rate === 1 || (trace !== undefined && this.#failed.has(trace))) return 1;
    if ((position ?? draw(random)) < rate) return rate;
    this.sampledOutTotal++;
    return 0;
  }

  #remember(trace: string): void {
    this.#failed.delete(trace);
    this.#failed.add(trace);
    if (this.#failed.size <= REMEMBERED_TRACES) return;
    for (const oldest of this.#failed) {
      this.#failed.delete(oldest);
      return;
    }
  }
}

/**
 * Where the trace lies among all, from 0 up to 1: FNV-1a over the UTF-16 units of its id, then the finalizer of
 * MurmurHash3, which spreads ids that differ little.
 */
export function positionOf(traceId: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < traceId.length; i++) hash = Math.imul(hash ^ traceId.charCodeAt(i), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

/** A source that throws or gives no number decides nothing: the line is kept. */
function draw(random: () => number): number {
  try {
    const number = random();
    return Number.isNaN(number) ? 0 : number;
  } catch {
    return 0;
  }
}
