import { parseText } from "../../src/metrics/text-parser.ts";

export type Figures = Map<string, { labels: Readonly<Record<string, string>>; value: number }[]>;

/** Every line of a server's scrape, by its name. */
export async function scrape({ url }: { url: string }): Promise<Figures> {
  const figures: Figures = new Map();
  for (const { name, samples } of parseText(await (await fetch(`${url}/metrics`)).text())) {
    for (const { suffix = "", labels = {}, value } of samples) {
      figures.set(name + suffix, [...(figures.get(name + suffix) ?? []), { labels, value }]);
    }
  }
  return figures;
}

/** Of the lines with these labels. A label that is undefined must not be there. */
export const sum = (figures: Figures, name: string, labels: Record<string, string | undefined> = {}): number =>
  (figures.get(name) ?? [])
    .filter((line) => Object.entries(labels).every(([label, value]) => line.labels[label] === value))
    .reduce((all, { value }) => all + value, 0);
