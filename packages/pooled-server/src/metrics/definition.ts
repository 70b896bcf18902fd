/** What a metric is, apart from its figures; checked, and with the lines that stand above them. */
import { describeValue } from "@vg/internal";
import type { MetricType } from "./family.ts";
import { sendable } from "./label-text.ts";
import { MetricError } from "./metric-error.ts";

const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;

/** Read off a name's end; any other unit has to be said. */
const UNITS = ["seconds", "bytes", "ratio"];

const TYPES: ReadonlySet<unknown> = new Set<MetricType>(["counter", "gauge", "histogram", "summary", "unknown"]);

/** What only Prometheus' own types may end in. */
const TAKEN_SUFFIXES = ["_total", "_bucket", "_count", "_sum", "_created"];

interface Description {
  name: string;
  help: string;
  type: MetricType;
  unit?: string | undefined;
}

export class Definition {
  readonly name: string;
  readonly type: MetricType;
  readonly help: string;
  readonly unit: string | undefined;
  /** Every name that the metric's lines may have, in either format, and the one above them. */
  readonly names: readonly string[];
  /** HELP and TYPE of the text format. */
  readonly textHead: string;
  /** TYPE, UNIT and HELP of OpenMetrics, where a counter's name stands without its `_total`. */
  readonly openMetricsHead: string;

  /** @throws MetricError for what no scraper would take */
  constructor({ name, help, type, unit }: Description) {
    if (typeof name !== "string" || !NAME.test(name)) {
      throw new MetricError(
        `${describeValue(name)} is no name for a metric. Letters, digits and _ are allowed, with no digit first.`,
      );
    }
    if (typeof help !== "string") {
      throw new MetricError(`Metric ${name}: help must be a string, got ${describeValue(help)}`);
    }
    if (!TYPES.has(type)) {
      throw new MetricError(`Metric ${name}: ${describeValue(type)} is no type. Allowed are ${[...TYPES].join(", ")}.`);
    }
    const family = type === "counter" ? name.replace(/_total$/, "") : name;
    if (unit !== undefined && !family.endsWith(`_${unit}`)) {
      throw new MetricError(
        `Metric ${name}: its unit is ${describeValue(unit)}, so the name must end in _${unit}${type === "counter" ? "_total" : ""}.`,
      );
    }
    this.name = name;
    this.type = type;
    this.help = sendable(help);
    this.unit = unit ?? UNITS.find((known) => family.endsWith(`_${known}`));
    this.names = namesOf(name, family, type);
    const escaped = this.help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
    this.textHead = `# HELP ${name} ${escaped}\n# TYPE ${name} ${type === "unknown" ? "untyped" : type}\n`;
    // OpenMetrics has no counter without `_total`. A name stays what it is in both formats, so its type has to give way.
    const shown = type === "counter" && family === name ? "unknown" : type;
    const unitLine = this.unit === undefined ? "" : `# UNIT ${family} ${this.unit}\n`;
    this.openMetricsHead = `# TYPE ${family} ${shown}\n${unitLine}# HELP ${family} ${escaped.replaceAll('"', '\\"')}\n`;
  }

  get openMetricsName(): string {
    return this.names[0] as string;
  }
}

function namesOf(name: string, family: string, type: MetricType): readonly string[] {
  switch (type) {
    case "counter":
      return family === name ? [name] : [family, name, `${family}_created`];
    case "histogram":
      return [name, `${name}_bucket`, `${name}_sum`, `${name}_count`, `${name}_created`];
    case "summary":
      return [name, `${name}_sum`, `${name}_count`, `${name}_created`];
    default:
      return [name];
  }
}

/**
 * The definition of an instrument, to stricter rules than those of a family that a collector brings: what `promtool
 * check metrics` would say later is said at once.
 *
 * @throws MetricError
 */
export function defineInstrument(description: Description): Definition {
  const definition = new Definition(description);
  const { name, type, help } = definition;
  const refuse = (why: string): MetricError => new MetricError(`Metric ${name}: ${why}`);
  if (help.trim() === "") throw refuse("help is empty. Say in a sentence what is counted, and in what unit.");
  if (name.includes(":")) throw refuse("a colon is for the names of recording rules. Use _ in its place.");
  if (type === "counter") {
    if (!name.endsWith("_total")) throw refuse(`a counter's name ends in _total. Call it ${name}_total.`);
  } else {
    const suffix = TAKEN_SUFFIXES.find((taken) => name.endsWith(taken));
    if (suffix !== undefined)
      throw refuse(`a ${type}'s name may not end in ${suffix}, which scrapers take for something else.`);
  }
  return definition;
}
