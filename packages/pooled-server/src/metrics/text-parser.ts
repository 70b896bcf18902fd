import type { MetricFamily, MetricType, Sample } from "./family.ts";

/** What a text that should be Prometheus' format is not, by line. */
export class TextFormatError extends Error {
  override readonly name = "TextFormatError";

  constructor(line: number, what: string) {
    super(`Line ${line} of the metrics is not in Prometheus' text format: ${what}`);
  }
}

type ParsedFamily = Omit<MetricFamily, "samples"> & { samples: Sample[] };

const TYPES: Readonly<Record<string, MetricType>> = {
  counter: "counter",
  gauge: "gauge",
  histogram: "histogram",
  summary: "summary",
  untyped: "unknown",
};

const HELP = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*)(?:[ \t]+(.*))?$/su;
const TYPE = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*)[ \t]+([a-z]+)[ \t]*$/u;
const SAMPLE = /^([a-zA-Z_:][a-zA-Z0-9_:]*)[ \t]*(?:\{(.*)\})?[ \t]*([^ \t{}]+)(?:[ \t]+(-?\d+))?[ \t]*$/su;
const LABEL = /[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*(,|$)/suy;
const VALUE = /^(?:[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?Inf|NaN)$/u;

/**
 * Reads Prometheus' text format 0.0.4: every line of one metric in one group, TYPE before its samples. Timestamps are read and
 * left out: what a scrape shows holds now.
 *
 * @throws TextFormatError
 */
export function parseText(text: string): ParsedFamily[] {
  if (text !== "" && !text.endsWith("\n")) throw new TextFormatError(text.split("\n").length, "its end is missing");
  return new TextParser().parse(text);
}

class TextParser {
  readonly #families = new Map<string, ParsedFamily>();
  readonly #typed = new Set<string>();
  readonly #helped = new Set<string>();
  #current: ParsedFamily | undefined;
  #line = 0;

  parse(text: string): ParsedFamily[] {
    for (const line of text.split("\n")) {
      this.#line++;
      if (line.trim() === "") continue;
      if (line.startsWith("#")) this.#comment(line);
      else this.#sample(line);
    }
    return [...this.#families.values()];
  }

  #comment(line: string): void {
    const [, helped, help = ""] = HELP.exec(line) ?? [];
    if (helped !== undefined) {
      if (this.#helped.has(helped)) throw this.#error(`a second HELP of ${helped}`);
      this.#helped.add(helped);
      this.#enter(helped).help = unescape(help);
      return;
    }
    const [, typed, word = ""] = TYPE.exec(line) ?? [];
    if (typed === undefined) {
      if (/^# (HELP|TYPE) /u.test(line)) throw this.#error("a HELP or TYPE that cannot be read");
      return;
    }
    const type = TYPES[word];
    if (type === undefined) throw this.#error(`${JSON.stringify(word)} is no type`);
    if (this.#typed.has(typed)) throw this.#error(`a second TYPE of ${typed}`);
    this.#typed.add(typed);
    const family = this.#enter(typed);
    if (family.samples.length > 0) throw this.#error(`the TYPE of ${typed} comes after its samples`);
    family.type = type;
  }

  #sample(line: string): void {
    const [, name = "", labels, value = ""] = SAMPLE.exec(line) ?? [];
    if (name === "") throw this.#error("neither a comment nor a sample");
    if (!VALUE.test(value)) throw this.#error(`${JSON.stringify(value)} is no value`);
    const family = this.#familyOf(name);
    family.samples.push({
      suffix: name.slice(family.name.length),
      labels: labels === undefined ? {} : this.#labels(labels),
      value: numberOf(value),
    });
  }

  /** The family at hand where the name may be a line of it, else another one. */
  #familyOf(name: string): ParsedFamily {
    const current = this.#current;
    if (current !== undefined && name.startsWith(current.name)) {
      const suffix = name.slice(current.name.length);
      const own = current.type === "histogram" ? ["_bucket"] : [""];
      if (current.type === "histogram" || current.type === "summary") own.push("_sum", "_count");
      if (own.includes(suffix)) return current;
    }
    return this.#enter(name);
  }

  #enter(name: string): ParsedFamily {
    if (this.#current?.name === name) return this.#current;
    if (this.#families.has(name)) throw this.#error(`${name} again, after other metrics`);
    const family: ParsedFamily = { name, help: "", type: "unknown", samples: [] };
    this.#families.set(name, family);
    this.#current = family;
    return family;
  }

  #labels(text: string): Record<string, string> {
    const labels: Record<string, string> = {};
    LABEL.lastIndex = 0;
    while (LABEL.lastIndex < text.length) {
      const [, name = "", value = ""] = LABEL.exec(text) ?? [];
      if (name === "") throw this.#error("labels that cannot be read");
      if (Object.hasOwn(labels, name)) throw this.#error(`the label ${name} twice`);
      labels[name] = unescape(value);
    }
    return labels;
  }

  #error(what: string): TextFormatError {
    return new TextFormatError(this.#line, what);
  }
}

/** A backslash before anything but these stands for itself. */
function unescape(text: string): string {
  return text.replaceAll(/\\([\\"n])/gu, (_, character: string) => (character === "n" ? "\n" : character));
}

function numberOf(text: string): number {
  if (text.endsWith("Inf")) return text.startsWith("-") ? -Infinity : Infinity;
  return Number(text);
}
