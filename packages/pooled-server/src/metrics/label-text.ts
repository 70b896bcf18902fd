import { describeValue } from "@vg/internal";
import { MetricError } from "./metric-error.ts";

const LABEL_NAME = /^[a-zA-Z_][a-zA-Z0-9_]*$/;

/** A label's name that Prometheus takes: letters, digits and `_`, no digit first; two `_` in front are its own. */
export function isLabelName(name: string): boolean {
  return LABEL_NAME.test(name) && !name.startsWith("__");
}

/** @throws MetricError */
export function checkLabelName(metric: string, name: string, reserved: string | undefined): void {
  if (!isLabelName(name)) {
    throw new MetricError(
      `Metric ${metric}: ${JSON.stringify(name)} is no name for a label. Letters, digits and _ are allowed, beginning with a letter, or with one _.`,
    );
  }
  if (name === reserved) {
    throw new MetricError(
      `Metric ${metric}: the label ${JSON.stringify(name)} is the metric's own. Choose another name for yours.`,
    );
  }
}

/** A label's value, whatever came in its place: types say string, and a number that comes anyway is no reason to fail. */
export function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (value === undefined || value === null) return "";
  return typeof value === "number" || typeof value === "boolean" ? String(value) : describeValue(value);
}

/** NUL, and halves of a pair that stand alone. */
const UNSENDABLE = /[\0\p{Cs}]/u;
const ALL_UNSENDABLE = /[\0\p{Cs}]/gu;

/**
 * The text that can be sent as it is. Half a pair would become U+FFFD on the wire, so that two values became one series;
 * Prometheus takes NUL for the end of everything.
 */
export function sendable(text: string): string {
  return UNSENDABLE.test(text) ? text.replaceAll(ALL_UNSENDABLE, "\uFFFD") : text;
}

const SPECIAL = /[\\"\n\0\p{Cs}]/u;

/** A label's value as it is sent; both formats escape it in the same way. */
export function labelValueText(value: string): string {
  if (!SPECIAL.test(value)) return value;
  return sendable(value).replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

/** `a="x",b="y"`, without the braces. To Prometheus, an empty label is none. */
export function labelText(labels: Iterable<readonly [name: string, value: string]>): string {
  let text = "";
  for (const [name, value] of labels) {
    if (value !== "") text += `${text === "" ? "" : ","}${name}="${labelValueText(value)}"`;
  }
  return text;
}

/** Appends one label to those that are there. */
export function withLabel(text: string, name: string, value: string): string {
  return `${text}${text === "" ? "" : ","}${name}="${value}"`;
}

/** The labels as they stand after a name: nothing where there are none. */
export function braced(text: string): string {
  return text === "" ? "" : `{${text}}`;
}
