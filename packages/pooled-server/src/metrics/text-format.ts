import type { MetricFamily, Sample } from "./registry.ts";

/** The content type of Prometheus' text format; Prometheus 3 refuses an answer without it. */
export const TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8";

/** Renders families in Prometheus' text format 0.0.4. A family without samples is left out. */
export function renderText(families: Iterable<MetricFamily>): string {
  let text = "";
  for (const { name, help, type, samples } of families) {
    let lines = "";
    for (const sample of samples) lines += line(name, sample);
    if (lines === "") continue;
    text += `# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}\n# TYPE ${name} ${type}\n${lines}`;
  }
  return text;
}

function line(name: string, { suffix = "", labels, value }: Sample): string {
  return `${name}${suffix}${labelText(labels)} ${numberText(value)}\n`;
}

function labelText(labels: Readonly<Record<string, string>> | undefined): string {
  if (labels === undefined) return "";
  const pairs = Object.entries(labels).map(([label, value]) => `${label}="${escape(value)}"`);
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function escape(value: string): string {
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

function numberText(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return String(value);
}
