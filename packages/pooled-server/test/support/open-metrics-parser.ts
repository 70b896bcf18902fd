/** A strict reader of OpenMetrics 1.0 for tests: what the specification does not allow, it refuses. */

export interface OpenMetricsSample {
  name: string;
  labels: Record<string, string>;
  value: number;
  exemplar?: { labels: Record<string, string>; value: number; timestamp?: number };
}

export interface OpenMetricsFamily {
  name: string;
  type: string;
  unit?: string;
  help?: string;
  samples: OpenMetricsSample[];
}

const SUFFIXES: Record<string, string[]> = {
  counter: ["_total", "_created"],
  gauge: [""],
  histogram: ["_bucket", "_sum", "_count", "_created"],
  summary: ["", "_sum", "_count", "_created"],
  unknown: [""],
};

export function parseOpenMetrics(text: string): OpenMetricsFamily[] {
  if (!text.endsWith("# EOF\n")) throw new Error("the end is not # EOF");
  const lines = text.slice(0, -"# EOF\n".length).split("\n");
  if (lines.pop() !== "") throw new Error("the last line has no end");
  const families = new Map<string, OpenMetricsFamily>();
  let current: OpenMetricsFamily | undefined;
  for (const [i, line] of lines.entries()) {
    try {
      current = readLine(line, current, families);
    } catch (error) {
      throw new Error(`line ${i + 1}: ${(error as Error).message}: ${line}`, { cause: error });
    }
  }
  const names = new Set<string>();
  for (const family of families.values()) {
    checkFamily(family);
    for (const suffix of SUFFIXES[family.type] ?? []) {
      const name = family.name + suffix;
      if (names.has(name)) throw new Error(`${name} belongs to two families`);
      names.add(name);
    }
  }
  return [...families.values()];
}

function readLine(
  line: string,
  current: OpenMetricsFamily | undefined,
  families: Map<string, OpenMetricsFamily>,
): OpenMetricsFamily {
  if (line.startsWith("#")) {
    const [, keyword = "", name = "", rest = ""] =
      /^# (TYPE|UNIT|HELP) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/su.exec(line) ?? [];
    if (keyword === "") throw new Error("no such comment");
    let family = current;
    if (family?.name !== name) {
      if (families.has(name)) throw new Error(`${name} again`);
      family = { name, type: "", samples: [] };
      families.set(name, family);
    }
    if (family.samples.length > 0) throw new Error("below samples");
    const key = keyword.toLowerCase() as "type" | "unit" | "help";
    if (key === "type" ? family.type !== "" : family[key] !== undefined) throw new Error(`a second ${keyword}`);
    if (key === "type" && SUFFIXES[rest] === undefined) throw new Error("no such type");
    if (key === "unit" && !name.endsWith(`_${rest}`)) throw new Error("the unit is no suffix of the name");
    family[key] = key === "help" ? unescape(rest) : rest;
    return family;
  }
  const sample = readSample(line);
  const suffixes = current === undefined ? [] : (SUFFIXES[current.type] ?? []);
  if (current === undefined || !suffixes.some((suffix) => current.name + suffix === sample.name)) {
    throw new Error("no line of the family above it");
  }
  current.samples.push(sample);
  return current;
}

function readSample(line: string): OpenMetricsSample {
  const reader = new Reader(line);
  const name = reader.take(/[a-zA-Z_:][a-zA-Z0-9_:]*/y);
  const labels = reader.at("{") ? reader.labels() : {};
  reader.expect(" ");
  const value = reader.number();
  if (reader.done) return { name, labels, value };
  reader.expect(" # ");
  if (!name.endsWith("_bucket") && !name.endsWith("_total")) throw new Error("an exemplar where none may be");
  const exemplar: NonNullable<OpenMetricsSample["exemplar"]> = { labels: reader.labels(), value: 0 };
  const characters = Object.entries(exemplar.labels).reduce(
    (sum, [key, text]) => sum + Buffer.from(key + text, "utf16le").length / 2,
    0,
  );
  if (characters > 128) throw new Error("an exemplar of more than 128 characters");
  reader.expect(" ");
  exemplar.value = reader.number();
  if (!reader.done) {
    reader.expect(" ");
    exemplar.timestamp = reader.number();
  }
  if (!reader.done) throw new Error("more than a sample");
  return { name, labels, value, exemplar };
}

class Reader {
  #at = 0;
  readonly #line: string;

  constructor(line: string) {
    this.#line = line;
  }

  get done(): boolean {
    return this.#at === this.#line.length;
  }

  at(text: string): boolean {
    return this.#line.startsWith(text, this.#at);
  }

  expect(text: string): void {
    if (!this.at(text)) throw new Error(`expected ${JSON.stringify(text)} at ${this.#at}`);
    this.#at += text.length;
  }

  take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const [found] = pattern.exec(this.#line) ?? [];
    if (found === undefined) throw new Error(`expected ${pattern.source} at ${this.#at}`);
    this.#at += found.length;
    return found;
  }

  number(): number {
    const text = this.take(/[^ ]+/y);
    if (text === "+Inf" || text === "-Inf") return text === "+Inf" ? Infinity : -Infinity;
    if (text === "NaN") return NaN;
    if (!/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(text)) throw new Error(`${text} is no number`);
    return Number(text);
  }

  labels(): Record<string, string> {
    const labels: Record<string, string> = {};
    this.expect("{");
    while (!this.at("}")) {
      if (Object.keys(labels).length > 0) this.expect(",");
      const name = this.take(/[a-zA-Z_][a-zA-Z0-9_]*/y);
      if (Object.hasOwn(labels, name)) throw new Error(`the label ${name} twice`);
      this.expect('="');
      labels[name] = unescape(this.take(/(?:[^"\\\n]|\\["\\n])*/y));
      this.expect('"');
    }
    this.expect("}");
    return labels;
  }
}

function unescape(text: string): string {
  if (/(?<!\\)(\\\\)*\\(?![\\"n])/.test(text)) throw new Error("an escape that means nothing");
  return text.replaceAll(/\\(.)/g, (_, character: string) => (character === "n" ? "\n" : character));
}

function checkFamily({ name, type, samples }: OpenMetricsFamily): void {
  const series = new Set<string>();
  const groups = new Map<string, OpenMetricsSample[]>();
  let lastGroup: string | undefined;
  for (const sample of samples) {
    const { le, quantile, ...others } = sample.labels;
    const key = sample.name + sorted(sample.labels);
    if (series.has(key)) throw new Error(`${key} twice`);
    series.add(key);
    const group = sorted(type === "gauge" || type === "unknown" ? sample.labels : others);
    if (group !== lastGroup && groups.has(group)) throw new Error(`${name}: the lines of ${group} are not together`);
    lastGroup = group;
    groups.set(group, [...(groups.get(group) ?? []), sample]);
    if (sample.name.endsWith("_bucket") && (le === undefined || !isCanonical(le)))
      throw new Error(`${name}: le is ${le}`);
    if (type === "summary" && quantile !== undefined && !isCanonical(quantile))
      throw new Error(`quantile is ${quantile}`);
    const counts = type === "counter" || /_(bucket|count|sum)$/.test(sample.name);
    if (counts && type !== "gauge" && !(sample.value >= 0)) throw new Error(`${sample.name} is ${sample.value}`);
  }
  if (type === "histogram") for (const group of groups.values()) checkHistogram(name, group);
}

function sorted(labels: Record<string, string | undefined>): string {
  return JSON.stringify(
    Object.keys(labels)
      .toSorted()
      .map((name) => [name, labels[name]]),
  );
}

/** As Go's and Python's clients spell a float. */
function isCanonical(text: string): boolean {
  if (text === "+Inf") return true;
  const value = Number(text);
  const spelled = /^\d+\.\d+$/.test(text) ? value >= 1e-4 && value < 1e6 : /^\d(\.\d+)?e[+-]\d\d+$/.test(text);
  return (spelled || text === "0.0") && !/\.\d+0$/.test(text);
}

function checkHistogram(name: string, group: readonly OpenMetricsSample[]): void {
  const buckets = group.filter((sample) => sample.name === `${name}_bucket`);
  const bounds = buckets.map(({ labels }) => (labels["le"] === "+Inf" ? Infinity : Number(labels["le"])));
  const count = group.find((sample) => sample.name === `${name}_count`)?.value;
  if (bounds.at(-1) !== Infinity || buckets.at(-1)?.value !== count) throw new Error(`${name}: +Inf is not the count`);
  if (!group.some((sample) => sample.name === `${name}_sum`)) throw new Error(`${name}: no sum`);
  for (const [i, { value, exemplar }] of buckets.entries()) {
    if (i > 0 && (bounds[i]! <= bounds[i - 1]! || value < buckets[i - 1]!.value))
      throw new Error(`${name}: not ascending`);
    if (exemplar !== undefined && !(exemplar.value <= bounds[i]! && exemplar.value > (bounds[i - 1] ?? -1))) {
      throw new Error(`${name}: the exemplar ${exemplar.value} is of another bucket`);
    }
  }
}
