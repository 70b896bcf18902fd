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

/** `error`: something is missing that should be there. `warn`: something gave way to a rule. */
export type FaultLevel = "error" | "warn";

export type FaultReport = (error: unknown, level: FaultLevel) => void;

/** Reports each fault when it appears, and not again at every scrape until it has changed. */
export class FaultLog {
  readonly #last = new Map<unknown, string>();
  readonly #report: FaultReport;
  #count = 0;

  constructor(report: FaultReport) {
    this.#report = report;
  }

  /** How often something was missing that should have been there, reported or not. */
  get count(): number {
    return this.#count;
  }

  /** @param where of what the fault is one: two of the same name are two */
  add(where: unknown, error: unknown, level: FaultLevel = "error"): void {
    if (level === "error") this.#count++;
    const message = messageOf(error);
    if (this.#last.get(where) === message) return;
    this.#last.set(where, message);
    this.#report(error, level);
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
    const taken: string[] = [];
    for (const family of families ?? []) {
      try {
        if (place(family, source.foreign, owners, show)) continue;
        taken.push(family.name);
      } catch (error) {
        faults.add(`${source.name}: ${messageOf(error)}`, error);
      }
    }
    if (taken.length > 0) faults.add(taken.join(), takenError(source, taken), "warn");
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

/**
 * @returns false where the family is another registry's and its name is taken
 * @throws MetricError where it cannot be shown for any other reason
 */
function place(
  family: MetricFamily,
  foreign: boolean,
  owners: ReadonlyMap<string, Exposed>,
  show: (exposed: Exposed) => void,
): boolean {
  const collected = new CollectedFamily(family);
  const { names, name, type } = collected.definition;
  const taken = names.find((one) => owners.has(one));
  const owner = taken === undefined ? undefined : owners.get(taken);
  if (owner === undefined) {
    show(collected);
    return true;
  }
  if (foreign) return false;
  const same = owner.definition.name === name && owner.definition.type === type;
  if (!same || !(owner instanceof CollectedFamily)) {
    throw new MetricError(
      `Metric ${name} is left out: ${taken} is a name of the ${owner.definition.type} ${owner.definition.name}, which came first. Give it another name.`,
    );
  }
  owner.add(family.samples);
  return true;
}

function takenError({ name }: Source, taken: readonly string[]): MetricError {
  return new MetricError(
    `Of the ${name}, what has a name that is taken is left out: ${taken.join(", ")}. Where the server has the same figure, nothing is lost; else give it another name.`,
  );
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
