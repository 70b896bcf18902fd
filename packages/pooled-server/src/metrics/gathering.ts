/** Who has metrics to show, and at a scrape: which of them are shown, under which name. */
import { setImmediate as nextTurn } from "node:timers/promises";
import { CollectedFamily } from "./collected-family.ts";
import type { Definition } from "./definition.ts";
import type { MetricFamily } from "./family.ts";
import { MetricError } from "./metric-error.ts";

/** What the exposition needs of a metric. */
export interface Exposed {
  readonly definition: Definition;
  lines(openMetrics: boolean): Iterable<string>;
}

/** Somebody who is asked for families at every scrape. */
export interface Source {
  /** For the log. */
  readonly name: string;
  /** Whether a name that is taken means that the whole family is left out, rather than that lines are added to it. */
  readonly foreign: boolean;
  families(deadlineMs: number): Iterable<MetricFamily> | Promise<Iterable<MetricFamily>>;
}

/** Reports each fault when it appears, and not again at every scrape until it has changed. */
export class FaultLog {
  readonly #last = new Map<unknown, string>();
  readonly #report: (error: unknown) => void;
  #count = 0;

  constructor(report: (error: unknown) => void) {
    this.#report = report;
  }

  /** How often something was left out, reported or not. */
  get count(): number {
    return this.#count;
  }

  /**
   * @param where of what the fault is one: two of the same name are two
   * @param left whether something was left out because of it
   */
  add(where: unknown, error: unknown, left: boolean = true): void {
    if (left) this.#count++;
    const message = messageOf(error);
    if (this.#last.get(where) === message) return;
    this.#last.set(where, message);
    this.#report(error);
  }

  over(where: unknown): void {
    this.#last.delete(where);
  }
}

/** How long the collectors of one scrape may run before others get their turn. */
const TURN_MS = 2;

/**
 * Everything to show. Instruments come first and own their names; then the collectors, who may add lines to one another's
 * families; then the registries that were merged, each of whose families needs a name of its own.
 */
export async function gather(
  instruments: Iterable<Exposed>,
  sources: Iterable<Source>,
  faults: FaultLog,
  deadlineMs: number,
): Promise<Exposed[]> {
  const shown: Exposed[] = [];
  const owners = new Map<string, Exposed>();
  const show = (exposed: Exposed): void => {
    shown.push(exposed);
    for (const name of exposed.definition.names) owners.set(name, exposed);
  };
  for (const instrument of instruments) show(instrument);
  let turn = performance.now();
  for (const source of sources) {
    const families = await familiesOf(source, deadlineMs, (error) => faults.add(source, error));
    if (families !== undefined) faults.over(source);
    for (const family of families ?? []) {
      try {
        place(family, source.foreign, owners, show);
      } catch (error) {
        faults.add(`${source.name}: ${messageOf(error)}`, error);
      }
    }
    if (performance.now() - turn < TURN_MS) continue;
    await nextTurn();
    turn = performance.now();
  }
  return shown;
}

async function familiesOf(
  source: Source,
  deadlineMs: number,
  failed: (error: unknown) => void,
): Promise<MetricFamily[] | undefined> {
  try {
    const families = source.families(deadlineMs);
    // Without a promise, no turn of the loop is lost.
    return [...(families instanceof Promise ? await families : families)];
  } catch (error) {
    failed(error);
    return undefined;
  }
}

/** @throws MetricError where the family cannot be shown */
function place(
  family: MetricFamily,
  foreign: boolean,
  owners: ReadonlyMap<string, Exposed>,
  show: (exposed: Exposed) => void,
): void {
  const collected = new CollectedFamily(family);
  const { names, name, type } = collected.definition;
  const taken = names.find((one) => owners.has(one));
  const owner = taken === undefined ? undefined : owners.get(taken);
  if (owner === undefined) return show(collected);
  const same = owner.definition.name === name && owner.definition.type === type;
  if (same && !foreign && owner instanceof CollectedFamily) return owner.add(family.samples);
  const why = same ? "" : `, a ${owner.definition.type} with a line of the name ${taken}`;
  throw new MetricError(
    `Metric ${name} is left out: its name belongs to ${owner.definition.name}${why}, which came first. Give it another name.`,
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
