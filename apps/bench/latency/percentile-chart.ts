import { escapeXml, svgPage, WIDTH } from "../harness/chart.ts";
import { nanoseconds } from "../harness/format.ts";

export interface PercentileLine {
  label: string;
  ours: boolean;
  /** Nanoseconds at each of the shares of the chart, and the maximum. */
  ns: readonly number[];
  maxNs: number;
}

export interface PercentilePanel {
  title: string;
  lines: readonly PercentileLine[];
}

const LEFT = 62;
const RIGHT = 14;
const HEIGHT = 230;
const TOP = 48;
const HEADING = 26;
const FOOT = 46;
const LEGEND_ROW = 20;
/** Colours that are told apart on a light and on a dark page; the first one is ours. */
const OURS = "#2f6feb";
const RIVALS = ["#d1702a", "#2a9d6f", "#a05ac8", "#8a94a3"];

/**
 * Durations by percentile: to the right ten times as rare at each step, upwards ten times as long. The last point of a
 * line is the longest of all. What is above the limit, where there is one, is too long.
 */
export function percentileChart(
  title: string,
  note: string,
  shares: readonly number[],
  limitNs: number | undefined,
  panels: readonly PercentilePanel[],
): string {
  const all = panels.flatMap(({ lines }) => lines);
  const names = [...new Map(all.map((line) => [line.label, line.ours]))];
  const rivals = names.filter(([, ours]) => !ours).map(([label]) => label);
  const colour = (label: string): string => {
    const index = rivals.indexOf(label);
    return index === -1 ? OURS : RIVALS[index % RIVALS.length]!;
  };

  const parts: string[] = [];
  let x = 10;
  let y = TOP;
  for (const [label] of names) {
    const width = 34 + label.length * 7.2;
    if (x + width > WIDTH) [x, y] = [10, y + LEGEND_ROW];
    parts.push(
      `<line x1="${x}" x2="${x + 20}" y1="${y + 10}" y2="${y + 10}" stroke="${colour(label)}" stroke-width="3"/>`,
      `<text x="${x + 26}" y="${y + 14.5}">${escapeXml(label)}</text>`,
    );
    x += width + 8;
  }
  y += LEGEND_ROW + 6;
  for (const panel of panels) {
    parts.push(...panelAt(panel, y, shares, limitNs, colour));
    y += HEADING + HEIGHT + FOOT;
  }
  return svgPage(title, note, y, STYLE, parts);
}

const STYLE = `.grid { stroke: #d0d7de; } .limit { stroke: #cf222e; stroke-dasharray: 5 4; } .limit-text { fill: #cf222e; } .line { fill: none; stroke-linejoin: round; }
  @media (prefers-color-scheme: dark) { .grid { stroke: #30363d; } .limit { stroke: #ff7b72; } .limit-text { fill: #ff7b72; } }`;

function panelAt(
  { title, lines }: PercentilePanel,
  y: number,
  shares: readonly number[],
  limitNs: number | undefined,
  colour: (label: string) => string,
): string[] {
  const top = y + HEADING;
  const bottom = top + HEIGHT;
  // 0.5 is at the left edge; the maximum has the place of one more step at the right.
  const steps = (share: number): number => Math.log10(0.5 / (1 - share));
  const last = steps(shares.at(-1)!) + 1;
  const toX = (at: number): number => LEFT + (at / last) * (WIDTH - LEFT - RIGHT);
  // Whole powers of ten around all that is shown.
  const least = 10 ** Math.floor(Math.log10(Math.max(1, Math.min(...lines.flatMap(({ ns }) => ns)))));
  const most =
    10 ** Math.ceil(Math.log10(Math.max((limitNs ?? 0) * 2, 10 * least, ...lines.map(({ maxNs }) => maxNs))));
  const toY = (ns: number): number =>
    bottom - (Math.log10(Math.max(ns, least) / least) / Math.log10(most / least)) * HEIGHT;

  const parts = [`<text x="10" y="${y + 14}" font-weight="600">${escapeXml(title)}</text>`];
  for (let ns = least; ns <= most; ns *= 10) {
    const at = toY(ns).toFixed(1);
    parts.push(
      `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${at}" y2="${at}"/>`,
      `<text x="${LEFT - 8}" y="${(toY(ns) + 4.5).toFixed(1)}" text-anchor="end">${tick(ns)}</text>`,
    );
  }
  const labels: [number, string][] = shares.filter(isLabelled).map((share) => [steps(share), percentileText(share)]);
  for (const [at, label] of [...labels, [last, "max"] as const]) {
    const place = toX(at).toFixed(1);
    const anchor = at === last ? "end" : "middle";
    parts.push(
      `<line class="grid" x1="${place}" x2="${place}" y1="${top}" y2="${bottom}"/>`,
      `<text x="${at === last ? WIDTH - RIGHT : place}" y="${bottom + 18}" text-anchor="${anchor}">${label}</text>`,
    );
  }
  if (limitNs !== undefined) {
    const limitY = toY(limitNs);
    parts.push(
      `<line class="limit" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${limitY.toFixed(1)}" y2="${limitY.toFixed(1)}"/>`,
      `<text class="limit-text" x="${LEFT + 6}" y="${(limitY - 5).toFixed(1)}">${nanoseconds(limitNs).replace(".00", "")}</text>`,
    );
  }
  // Ours last, on top.
  for (const { label, ours, ns, maxNs } of lines.toSorted((a, b) => Number(a.ours) - Number(b.ours))) {
    const points = [...shares.map((share, i) => [steps(share), ns[i]!] as const), [last, maxNs] as const];
    const path = points.map(([at, value]) => `${toX(at).toFixed(1)},${toY(value).toFixed(1)}`).join(" ");
    const width = ours ? 3 : 2;
    parts.push(
      `<polyline class="line" points="${path}" stroke="${colour(label)}" stroke-width="${width}"/>`,
      `<circle cx="${toX(last).toFixed(1)}" cy="${toY(maxNs).toFixed(1)}" r="${width + 1}" fill="${colour(label)}"/>`,
    );
  }
  return parts;
}

/** 0.5, 0.9, 0.99, 0.999, … */
function isLabelled(share: number): boolean {
  const nines = Math.log10(1 / (1 - share));
  return share === 0.5 || Math.abs(nines - Math.round(nines)) < 1e-6;
}

/** 0.999 becomes "p99.9". */
export function percentileText(share: number): string {
  return `p${Number((share * 100).toFixed(6))}`;
}

function tick(ns: number): string {
  return nanoseconds(ns).replace(/\.0+ /, " ");
}
