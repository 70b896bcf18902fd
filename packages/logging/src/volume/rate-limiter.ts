export interface RateLimitSettings {
  readonly burst: number;
  readonly intervalMs: number;
  /** pino's numbers of the levels that are limited. */
  readonly levels: ReadonlySet<number>;
  readonly maxSites: number;
}

/**
 * What a line says of where it comes from. Not the place in the code: to find it out takes longer than to write a line,
 * and what is suppressed should cost next to nothing.
 */
export interface CallSite {
  readonly level: number;
  /** The message before its placeholders are filled in; `undefined` where it is an error's own. */
  readonly template: string | undefined;
  readonly component: string | undefined;
}

/** The lines of one call site that were not written, and have not been reported before. */
export interface Suppressed extends CallSite {
  readonly count: number;
  /** When the first of them came, in milliseconds since 1970. */
  readonly since: number;
}

interface Site extends CallSite {
  passed: number;
  suppressed: number;
  since: number;
  /** Asked for since it was last considered for eviction. */
  isUsed: boolean;
}

/** Of a message that is longer, the start tells the site. */
const LONGEST_TEMPLATE = 200;

/**
 * Lets `burst` lines of each call site pass in an interval. What it does not let pass is counted, and each count is
 * reported exactly once: when the interval ends, when its site has to make room for others, or on `report()`.
 *
 * An interval begins with a line and is the same for all sites, so the table starts empty with each. It holds `maxSites`
 * at most: then the site that was not used for longest, by the second-chance approximation, makes room.
 */
export class RateLimiter {
  readonly #settings: RateLimitSettings;
  readonly #now: () => number;
  readonly #report: (suppressed: Suppressed) => void;
  readonly #sites = new Map<string, Site>();
  #startedAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  /** Sites with lines that were not reported. */
  #unreported = 0;
  /** Lines that were not let pass. */
  suppressedTotal = 0;

  constructor(settings: RateLimitSettings, now: () => number, report: (suppressed: Suppressed) => void) {
    this.#settings = settings;
    this.#now = now;
    this.#report = report;
  }

  /** Sites that are known now. */
  get size(): number {
    return this.#sites.size;
  }

  get hasUnreported(): boolean {
    return this.#unreported > 0;
  }

  /** Whether the line may be written. */
  admit(level: number, template: string | undefined, component: string | undefined): boolean {
    // A level of one's own is of the kind of the one below it.
    if (!this.#settings.levels.has(level - (level % 10))) return true;
    const now = this.#now();
    // A clock that was set back must not make an interval longer.
    if (now >= this.#startedAt + this.#settings.intervalMs || now < this.#startedAt) this.#begin(now);

    const start = template === undefined || template.length <= LONGEST_TEMPLATE ? template : shortCopy(template);
    const key = `${level}\n${component ?? ""}\n${start ?? ""}`;
    let site = this.#sites.get(key);
    if (site === undefined) {
      if (this.#sites.size >= this.#settings.maxSites) this.#makeRoom();
      site = { level, template: start, component, passed: 0, suppressed: 0, since: 0, isUsed: false };
      this.#sites.set(key, site);
    } else {
      site.isUsed = true;
    }
    if (site.passed < this.#settings.burst) {
      site.passed++;
      return true;
    }
    if (site.suppressed++ === 0) {
      this.#unreported++;
      site.since = now;
      this.#timer ??= this.#reportAtEnd(now);
    }
    this.suppressedTotal++;
    return false;
  }

  /** Ends the interval, and reports what has not been reported. The next line begins another. */
  end(): void {
    this.#begin(-Infinity);
  }

  /** Reports what has not been reported. The interval goes on. */
  report(): void {
    for (const site of this.#sites.values()) this.#reportOne(site);
  }

  #begin(now: number): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const ended = [...this.#sites.values()];
    this.#sites.clear();
    this.#startedAt = now;
    for (const site of ended) this.#reportOne(site);
  }

  #reportAtEnd(now: number): NodeJS.Timeout {
    const timer = setTimeout(() => this.end(), this.#startedAt + this.#settings.intervalMs - now);
    timer.unref();
    return timer;
  }

  #makeRoom(): void {
    for (const [key, site] of this.#sites) {
      this.#sites.delete(key);
      if (!site.isUsed) {
        this.#reportOne(site);
        return;
      }
      site.isUsed = false;
      this.#sites.set(key, site);
    }
  }

  #reportOne(site: Site): void {
    const { level, template, component, suppressed: count, since } = site;
    if (count === 0) return;
    site.suppressed = 0;
    this.#unreported--;
    this.#report({ level, template, component, count, since });
  }
}

/** Not a slice, which would keep the whole text in memory. */
function shortCopy(text: string): string {
  return Buffer.from(text.slice(0, LONGEST_TEMPLATE), "utf16le").toString("utf16le");
}
