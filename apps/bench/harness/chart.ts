import type { Summary } from "./statistics.ts";

export interface BarGroup {
  title: string;
  bars: Bar[];
}

interface Bar {
  label: string;
  value: Summary;
  /** The value as it is written beside the bar. */
  text: string;
  ours: boolean;
}

const WIDTH = 760;
const LABEL = 210;
const VALUE = 90;
const BAR = 18;
const GAP = 6;
const TITLE = 48;

/**
 * Horizontal bars as SVG, with a whisker from the least to the greatest round. Every group has a scale of its own that
 * starts at 0, because a case is compared with itself only. Readable on a light and on a dark page.
 */
export function barChart(title: string, note: string, groups: readonly BarGroup[]): string {
  const parts: string[] = [];
  let y = TITLE + 6;
  for (const group of groups) {
    parts.push(`<text x="10" y="${y + 14}" font-weight="600">${escapeXml(group.title)}</text>`);
    y += 24;
    const scale = (WIDTH - LABEL - VALUE) / Math.max(...group.bars.map((one) => one.value.max), Number.MIN_VALUE);
    for (const one of group.bars) {
      parts.push(barAt(one, y, scale));
      y += BAR + GAP;
    }
    y += 8;
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${y}" width="${WIDTH}" height="${y}" role="img" aria-label="${escapeXml(title)}">
<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .back { fill: #ffffff; } .ours { fill: #2f6feb; } .rival { fill: #9aa4b2; } .whisker { stroke: #1f2328; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .back { fill: #0d1117; } .rival { fill: #6e7681; } .whisker { stroke: #e6edf3; }
  }
</style>
<rect class="back" width="100%" height="100%"/>
<text x="10" y="20" font-weight="600">${escapeXml(title)}</text>
<text x="10" y="38">${escapeXml(note)}</text>
${parts.join("\n")}
</svg>
`;
}

function barAt({ label, value, text, ours }: Bar, y: number, scale: number): string {
  const middle = y + BAR / 2;
  const x = (of: number): string => (LABEL + of * scale).toFixed(1);
  return [
    `<text x="${LABEL - 8}" y="${middle + 4.5}" text-anchor="end">${escapeXml(label)}</text>`,
    `<rect class="${ours ? "ours" : "rival"}" x="${LABEL}" y="${y}" width="${(value.median * scale).toFixed(1)}" height="${BAR}" rx="2"/>`,
    `<line class="whisker" x1="${x(value.min)}" x2="${x(value.max)}" y1="${middle}" y2="${middle}"/>`,
    `<text x="${Number(x(value.max)) + 8}" y="${middle + 4.5}">${escapeXml(text)}</text>`,
  ].join("\n");
}

function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
