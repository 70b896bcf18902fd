import type { Definition } from "./definition.ts";
import type { Labels } from "./family.ts";
import { checkLabelName, labelText, sendable, textOf } from "./label-text.ts";
import { MetricError } from "./metric-error.ts";

/** The value of every label of the one series that stands for all that found the metric full. */
const OVERFLOW = "_overflow";

/** What went wrong with figures, in all instruments of one registry; read at the scrape. */
export interface Faults {
  /** Look-ups of a child that ended at the overflow series. */
  seriesDropped: number;
  /** Observations and additions that no metric can take: NaN, infinities, less than nothing. */
  invalidValues: number;
}

interface Settings {
  definition: Definition;
  /** The names of all labels, or undefined where each child says its own. */
  labelNames: readonly string[] | undefined;
  /** A label that the type itself adds to its lines. */
  reserved: string | undefined;
  maxSeries: number;
  faults: Faults;
}

/** The children of one instrument, by their labels. */
export class Children<C> {
  readonly #settings: Settings;
  readonly #create: (labelText: string) => C;
  readonly #byKey = new Map<string, C>();
  readonly #byValues: ValueTree<C>;
  #overflow: C | undefined;

  /** @throws MetricError for a label's name that cannot be */
  constructor(settings: Settings, create: (labelText: string) => C) {
    const { definition, labelNames = [], reserved } = settings;
    for (const name of labelNames) checkLabelName(definition.name, name, reserved);
    this.#settings = settings;
    this.#create = create;
    this.#byValues = new ValueTree(labelNames);
    // Without labels there is one series, and 0 is a figure too.
    if (settings.labelNames?.length === 0) this.get({});
  }

  /** @throws MetricError where the labels are not the metric's */
  get(labels: Labels): C {
    return this.#byValues.get(labels) ?? this.#find(labels);
  }

  /** Forgets a series; a child that somebody keeps goes on counting for nobody. */
  remove(labels: Labels): boolean {
    this.#byValues.remove(labels);
    return this.#byKey.delete(keyOf(this.#pairsOf(labels)));
  }

  /** Whether some labels had to share the overflow series. */
  get overflowed(): boolean {
    return this.#overflow !== undefined;
  }

  values(): Iterable<C> {
    return this.#byKey.values();
  }

  #find(labels: Labels): C {
    const { maxSeries, faults } = this.#settings;
    const pairs = this.#pairsOf(labels);
    const key = keyOf(pairs);
    let child = this.#byKey.get(key);
    if (child === undefined) {
      this.#checkNames(pairs);
      if (this.#byKey.size >= maxSeries) {
        faults.seriesDropped++;
        this.#overflow ??= this.#overflowChild(pairs);
        return this.#overflow;
      }
      child = this.#create(labelText(pairs));
      this.#byKey.set(key, child);
    }
    this.#byValues.add(labels, pairs, child);
    return child;
  }

  /** The labels as they are sent, in the order of `labelNames`, or else in which they were written. */
  #pairsOf(labels: Labels): Pairs {
    const { definition, labelNames } = this.#settings;
    const given = Object.keys(labels).filter((name) => labels[name] !== undefined);
    const pairs = (labelNames ?? given).map((name) => [name, sendable(textOf(labels[name]))] as const);
    // To Prometheus, an empty label is none.
    if (labelNames === undefined) return pairs.filter(([, value]) => value !== "");
    if (given.length !== labelNames.length || !labelNames.every((name) => labels[name] !== undefined)) {
      const list = (names: readonly string[]): string => (names.length === 0 ? "none" : names.join(", "));
      throw new MetricError(
        `Metric ${definition.name}: its labels are ${list(labelNames)}, got ${list(given)}. Every child has all of them.`,
      );
    }
    return pairs;
  }

  #checkNames(pairs: Pairs): void {
    const { definition, labelNames, reserved } = this.#settings;
    if (labelNames !== undefined) return;
    for (const [name] of pairs) checkLabelName(definition.name, name, reserved);
  }

  /** Somebody's own label may have that very value, and a series stands for itself only once. */
  #overflowChild(pairs: Pairs): C {
    const labels = pairs.map(([name]) => [name, OVERFLOW] as const);
    const key = keyOf(labels);
    const child = this.#byKey.get(key) ?? this.#create(labelText(labels));
    this.#byKey.set(key, child);
    return child;
  }
}

type Pairs = readonly (readonly [name: string, value: string])[];

/**
 * The same labels have the same key, in whatever order they were written. A length in front keeps apart what a separator
 * would merge: {a: "x,b:y"} and {a: "x", b: "y"}.
 */
function keyOf(pairs: Pairs): string {
  let key = "";
  for (const [name, value] of pairs.toSorted(([one], [other]) => (one < other ? -1 : 1))) {
    key += `${name.length}:${name}${value.length}:${value}`;
  }
  return key;
}

type Node<C> = Map<string, Node<C> | C>;

/**
 * Finds a child by one look-up for each value, whose hashes V8 keeps: several times as fast as a key made of all of them.
 * Knows only children whose names are declared, and whose values are sent as they are.
 */
class ValueTree<C> {
  readonly #names: readonly string[];
  readonly #root: Node<C> = new Map();

  constructor(names: readonly string[]) {
    this.#names = names;
  }

  get(labels: Labels): C | undefined {
    const names = this.#names;
    let found: Node<C> | C | undefined = this.#root;
    for (let i = 0; i < names.length; i++) {
      found = (found as Node<C>).get(labels[names[i] as string] as string);
      if (found === undefined) return undefined;
    }
    if (names.length === 0) return undefined;
    let given = 0;
    for (const name in labels) if (labels[name] !== undefined) given++;
    return given === names.length ? (found as C) : undefined;
  }

  add(labels: Labels, pairs: Pairs, child: C): void {
    const names = this.#names;
    const last = names.at(-1);
    if (last === undefined || pairs.some(([name, value]) => labels[name] !== value)) return;
    let node = this.#root;
    for (const name of names.slice(0, -1)) {
      const value = labels[name] as string;
      let next = node.get(value) as Node<C> | undefined;
      if (next === undefined) node.set(value, (next = new Map()));
      node = next;
    }
    node.set(labels[last] as string, child);
  }

  remove(labels: Labels): void {
    const names = this.#names;
    const last = names.at(-1);
    if (last === undefined) return;
    let node: Node<C> | undefined = this.#root;
    for (const name of names.slice(0, -1)) node = node?.get(labels[name] as string) as Node<C> | undefined;
    node?.delete(labels[last] as string);
  }
}
