import { rate, TITLES, type HitRateRow } from "./hit-rate-report.ts";

const COLUMNS = 3;
const PANEL_WIDTH = 250;
const PANEL_HEIGHT = 190;
const PLOT = { left: 38, top: 24, width: 200, height: 126 };
const TITLE = 68;

interface Line {
  title: string;
  style: string;
  hits(row: HitRateRow): number;
}

/** Drawn in this order, so that the one that matters most lies on top. */
const LINES: readonly Line[] = [
  { title: "optimum", style: "optimum", hits: (row) => row.optimum },
  { title: TITLES.lru, style: "lru", hits: (row) => row.hits.lru },
  { title: TITLES.sieve, style: "sieve", hits: (row) => row.hits.sieve },
  { title: TITLES.s3fifo, style: "s3fifo", hits: (row) => row.hits.s3fifo },
  { title: TITLES.tinylfu, style: "tinylfu", hits: (row) => row.hits.tinylfu },
];

/** A small picture for each trace: hit rate over the number of entries. Readable on a light and on a dark page. */
export function hitRateChart(rows: readonly HitRateRow[]): string {
  const traces = [...new Set(rows.map(({ trace }) => trace))];
  const panels = traces.map((trace, index) => {
    const x = 5 + (index % COLUMNS) * PANEL_WIDTH;
    const y = TITLE + Math.floor(index / COLUMNS) * PANEL_HEIGHT;
    return `<g transform="translate(${x} ${y})">\n${panel(
      trace,
      rows.filter((row) => row.trace === trace),
    )}\n</g>`;
  });
  const width = 10 + COLUMNS * PANEL_WIDTH;
  const height = TITLE + Math.ceil(traces.length / COLUMNS) * PANEL_HEIGHT;
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" role="img" aria-label="Hit rates of eviction policies on real traces">
<style>
  text { font: 11px system-ui, sans-serif; fill: #1f2328; } .head { font-size: 13px; font-weight: 600; }
  .back { fill: #ffffff; } .grid { stroke: #d1d9e0; } polyline { fill: none; stroke-width: 2; }
  .optimum { stroke: #8c959f; stroke-dasharray: 3 3; } .lru { stroke: #1f2328; } .sieve { stroke: #9a6700; }
  .s3fifo { stroke: #1a7f37; } .tinylfu { stroke: #2f6feb; } circle { stroke: none !important; }
  circle.lru { fill: #1f2328; } circle.sieve { fill: #9a6700; } circle.s3fifo { fill: #1a7f37; }
  circle.tinylfu { fill: #2f6feb; } circle.optimum { fill: #8c959f; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .back { fill: #0d1117; } .grid { stroke: #3d444d; }
    .lru { stroke: #e6edf3; } .sieve { stroke: #d4a72c; } .s3fifo { stroke: #3fb950; } .tinylfu { stroke: #6ea8fe; }
    circle.lru { fill: #e6edf3; } circle.sieve { fill: #d4a72c; } circle.s3fifo { fill: #3fb950; }
    circle.tinylfu { fill: #6ea8fe; }
  }
</style>
<rect class="back" width="100%" height="100%"/>
<text class="head" x="10" y="20">Hit rate in percent, by the number of entries, on real traces</text>
${legend()}
${panels.join("\n")}
</svg>
`;
}

function legend(): string {
  return LINES.map(({ title, style }, index) => {
    const x = 10 + index * 105;
    return `<polyline class="${style}" points="${x},42 ${x + 22},42"/><text x="${x + 28}" y="46">${title}</text>`;
  }).join("\n");
}

function panel(trace: string, rows: readonly HitRateRow[]): string {
  const most = Math.max(...rows.map(({ capacity }) => capacity));
  const x = (capacity: number): number => PLOT.left + (capacity / most) * PLOT.width;
  const y = (percent: number): number => PLOT.top + (1 - percent / 100) * PLOT.height;
  const parts = [`<text class="head" x="${PLOT.left}" y="16">${trace}</text>`];
  for (const percent of [0, 50, 100]) {
    parts.push(
      `<line class="grid" x1="${PLOT.left}" x2="${PLOT.left + PLOT.width}" y1="${y(percent)}" y2="${y(percent)}"/>`,
      `<text x="${PLOT.left - 5}" y="${y(percent) + 4}" text-anchor="end">${percent}</text>`,
    );
  }
  parts.push(
    `<text x="${PLOT.left}" y="${PLOT.top + PLOT.height + 15}">0</text>`,
    `<text x="${PLOT.left + PLOT.width}" y="${PLOT.top + PLOT.height + 15}" text-anchor="end">${most.toLocaleString("en")}</text>`,
  );
  for (const line of LINES) {
    const points = rows.map((row) => [x(row.capacity).toFixed(1), y(rate(row, line.hits(row))).toFixed(1)] as const);
    parts.push(`<polyline class="${line.style}" points="${points.map((point) => point.join(",")).join(" ")}"/>`);
    for (const [cx, cy] of points) parts.push(`<circle class="${line.style}" cx="${cx}" cy="${cy}" r="2.2"/>`);
  }
  return parts.join("\n");
}
