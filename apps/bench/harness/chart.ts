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

export const WIDTH = 760;
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
  return svgPage(title, note, y, "", parts);
}

export interface RatioGroup {
  title: string;
  rows: { label: string; value: Summary; text: string; /** What the ratio should be at least. */ bar: number }[];
}

const RATIO_LABEL = 400;
const RATIO_ROW = 20;

/** A scale that goes further is logarithmic: it would leave no room around 1. */
const FAR = 16;
/** The left end of a logarithmic scale. */
const LEAST_RATIO = 0.25;

interface RatioScale {
  /** 0 to 1. */
  readonly place: (value: number) => number;
  readonly ticks: readonly number[];
}

function ratioScale(most: number): RatioScale {
  if (most <= FAR) return { place: (value) => Math.min(value, most) / most, ticks: [1] };
  const whole = Math.log(most / LEAST_RATIO);
  return {
    place: (value) => Math.log(Math.min(Math.max(value, LEAST_RATIO), most) / LEAST_RATIO) / whole,
    ticks: [0.5, 1, 2, 5, 10],
  };
}

/** Points with a line from the least to the greatest round, on one scale for all, and the bar of each as a tick. */
export function ratioChart(title: string, note: string, groups: readonly RatioGroup[]): string {
  const all = groups.flatMap(({ rows }) => rows);
  // A disturbed round must not flatten the rest: what lies beyond is cut off.
  const most = Math.max(2, ...all.map(({ value, bar }) => Math.max(value.median, bar) * 1.25));
  const { place, ticks } = ratioScale(most);
  const x = (value: number): string => (RATIO_LABEL + place(value) * (WIDTH - RATIO_LABEL - VALUE)).toFixed(1);
  const parts: string[] = [];
  let y = TITLE + 6;
  for (const { title: heading, rows } of groups) {
    parts.push(`<text x="10" y="${y + 14}" font-weight="600">${escapeXml(heading.replaceAll("`", ""))}</text>`);
    y += 24;
    for (const tick of ticks) {
      parts.push(`<line class="grid" x1="${x(tick)}" x2="${x(tick)}" y1="${y}" y2="${y + rows.length * RATIO_ROW}"/>`);
    }
    for (const { label, value, text, bar } of rows) {
      const middle = y + RATIO_ROW / 2;
      parts.push(
        `<text x="${RATIO_LABEL - 8}" y="${middle + 4.5}" text-anchor="end">${escapeXml(label)}</text>`,
        `<line class="whisker" x1="${x(value.min)}" x2="${x(value.max)}" y1="${middle}" y2="${middle}"/>`,
        `<line class="mark" x1="${x(bar)}" x2="${x(bar)}" y1="${middle - 7}" y2="${middle + 7}"/>`,
        `<circle class="point" cx="${x(value.median)}" cy="${middle}" r="4"/>`,
        `<text x="${WIDTH - VALUE + 12}" y="${middle + 4.5}">${escapeXml(text)}</text>`,
      );
      y += RATIO_ROW;
    }
    for (const tick of ticks) parts.push(`<text x="${x(tick)}" y="${y + 12}" text-anchor="middle">${tick}×</text>`);
    y += 26;
  }
  const style = `.mark { stroke: #2f6feb; stroke-width: 3; } .point { fill: #1f2328; } .grid { stroke: #9aa4b2; stroke-dasharray: 3 3; }
  @media (prefers-color-scheme: dark) { .point { fill: #e6edf3; } .grid { stroke: #6e7681; } }`;
  return svgPage(title, note, y, style, parts);
}

/** The frame that all charts have in common. */
export function svgPage(title: string, note: string, height: number, style: string, parts: readonly string[]): string {
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img" aria-label="${escapeXml(title)}">
<style>
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .back { fill: #ffffff; } .ours { fill: #2f6feb; } .rival { fill: #9aa4b2; } .whisker { stroke: #1f2328; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .back { fill: #0d1117; } .rival { fill: #6e7681; } .whisker { stroke: #e6edf3; }
  }${style === "" ? "" : `\n  ${style}`}
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

export function escapeXml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
