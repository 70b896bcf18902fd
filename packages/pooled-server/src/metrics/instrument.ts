import { Children, type Faults } from "./children.ts";
import type { Definition } from "./definition.ts";
import type { Labels } from "./family.ts";

/** What every metric that is registered has. */
export interface InstrumentOptions {
  /** Letters, digits and `_`; of a counter with `_total` at its end, of times and sizes with their unit: `_seconds`, `_bytes`. */
  name: string;
  /** One sentence: what is counted, in what unit. */
  help: string;
  /**
   * The names of the labels. Every child then has exactly these, and is found fastest. Default: each child says its own,
   * which should be the same names all the same.
   */
  labelNames?: readonly string[];
  /** The unit that the name ends in; default: `seconds`, `bytes` or `ratio` where it ends in one of these. */
  unit?: string;
  /** How many series it may have; what comes later shares one whose labels are `_overflow`. Default 2,000. */
  maxSeries?: number;
}

export interface InstrumentSettings {
  definition: Definition;
  labelNames: readonly string[] | undefined;
  maxSeries: number;
  faults: Faults;
  /** Whether OpenMetrics' `_created` is shown. */
  createdTimestamps: boolean;
}

/** A registered metric: its children by their labels, and the lines that they make. */
export abstract class Instrument<C> {
  readonly definition: Definition;
  readonly labelNames: readonly string[] | undefined;
  protected readonly children: Children<C>;
  protected readonly createdTimestamps: boolean;

  constructor(
    { definition, labelNames, maxSeries, faults, createdTimestamps }: InstrumentSettings,
    create: (labelText: string) => C,
    reserved?: string,
  ) {
    this.definition = definition;
    this.labelNames = labelNames;
    this.createdTimestamps = createdTimestamps;
    this.children = new Children({ definition, labelNames, maxSeries, faults, reserved }, create);
  }

  /**
   * The series with these labels. Keep it where the labels are known early: an operation on it is an addition, and
   * finding it is not.
   *
   * @throws MetricError where the labels are not those of `labelNames`, or have names that cannot be
   */
  child(labels: Labels = {}): C {
    return this.children.get(labels);
  }

  /** Forgets a series; says whether it was there. A child that somebody keeps goes on counting for nobody. */
  remove(labels: Labels): boolean {
    return this.children.remove(labels);
  }

  /** Whether series had to be refused since there were `maxSeries`. */
  get overflowed(): boolean {
    return this.children.overflowed;
  }

  /** The lines of one child after another, each child's as a whole. */
  *lines(openMetrics: boolean): Iterable<string> {
    for (const child of this.children.values()) yield this.linesOf(child, openMetrics);
  }

  protected abstract linesOf(child: C, openMetrics: boolean): string;
}

/** OpenMetrics' line that says since when a child counts. */
export function createdLine(family: string, labels: string, createdMs: number): string {
  return `${family}_created${labels} ${(createdMs / 1000).toFixed(3)}\n`;
}
