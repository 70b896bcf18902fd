/** `pnpm bench cache-memory`: what the caches' own structure takes, an entry, and while they are empty. */
import { markdownTable, textTable } from "../harness/format.ts";
import { packageVersions, type Machine } from "../harness/machine.ts";
import { measureInProcess } from "../harness/measuring-process.ts";
import { Progress } from "../harness/progress.ts";
import { publish, writeResults } from "../harness/publish.ts";
import { machineText, warnings } from "../harness/report.ts";
import { median } from "../harness/statistics.ts";

export interface FootprintTask {
  library: string;
  capacity: number;
  features: Features;
}

type Features = "plain" | "ttl+size";

/** Of one cache. */
export interface Bytes {
  /** On V8's heap and in the buffers that it knows of. */
  heap: number;
  /** By the operating system; for what is small, noise. */
  rss: number;
  /** Over so many caches. */
  caches: number;
}

export interface Footprint {
  empty: Bytes;
  /** Holds as many entries as its capacity, for the first time. */
  filled: Bytes;
  /** The same after twice as many evictions; without for what doesn't evict. */
  churned?: Bytes;
}

interface Row extends FootprintTask, Footprint {}

interface MemoryReport {
  quick: boolean;
  machine: Machine;
  versions: Record<string, string>;
  rows: Row[];
}

const PROCESS = new URL("./footprint-process.ts", import.meta.url);
const LIBRARIES = ["@vg/cache", "lru-cache", "lru.min", "mnemonist", "quick-lru", "Map"];
const LARGEST = 1_000_000;
const CAPACITIES = [10, 10_000, LARGEST];
/** The median of so many counts. */
const PROCESSES = 3;
/** Less than this is no difference: two processes of one cache differ by as much. */
const SAME = 0.005;
const FEATURES: Record<Features, { title: string; libraries: readonly string[] }> = {
  plain: { title: "without TTL and sizes", libraries: LIBRARIES },
  "ttl+size": { title: "with a TTL and a byte budget", libraries: ["@vg/cache", "lru-cache"] },
};

export async function cacheMemory(
  machine: Machine,
  { quick, write }: { quick: boolean; write: boolean },
): Promise<boolean> {
  const versions = await packageVersions(LIBRARIES.filter((name) => name !== "Map"));
  const progress = new Progress();
  const rows: Row[] = [];
  for (const features of ["plain", "ttl+size"] as const) {
    // The largest takes most of the time.
    for (const capacity of CAPACITIES.filter((one) => !quick || one < LARGEST)) {
      for (const library of FEATURES[features].libraries) {
        progress.show(`cache-memory: ${FEATURES[features].title}, capacity ${number(capacity)}`, library);
        // Of a large one, the figures are the same each time.
        const processes = quick || capacity === LARGEST ? 1 : PROCESSES;
        rows.push(await measureRow({ library, capacity, features }, processes));
      }
    }
  }
  progress.done();
  const report: MemoryReport = { quick, machine, versions, rows };
  console.log("\nMemory of the caches' own structure; keys and values were there before\n");
  for (const { title, cells } of tables(report)) console.log(`${title}\n${textTable(cells)}\n`);
  for (const line of summary(report)) console.log(`- ${line}`);
  console.log(`\n${machineText(report)}`);
  if (quick)
    console.log(`NOTE: A quick run: one process for each figure instead of ${PROCESSES}, and no large caches.`);
  await writeResults("cache-memory", report);
  if (write) await publish("cache-memory", report, markdown(report), undefined);
  return true;
}

/** The medians of several processes. */
async function measureRow(task: FootprintTask, processes: number): Promise<Row> {
  const all: Footprint[] = [];
  for (let i = 0; i < processes; i++) all.push(await measureInProcess<Footprint>(PROCESS, task));
  const middle = (of: (one: Footprint) => Bytes | undefined): Bytes | undefined => {
    const found = all.flatMap((one) => of(one) ?? []);
    if (found.length === 0) return undefined;
    const middleOf = (name: keyof Bytes): number => median(found.map((bytes) => bytes[name]));
    return { heap: middleOf("heap"), rss: middleOf("rss"), caches: middleOf("caches") };
  };
  const churned = middle((one) => one.churned);
  return {
    ...task,
    empty: middle((one) => one.empty)!,
    filled: middle((one) => one.filled)!,
    ...(churned !== undefined && { churned }),
  };
}

interface Table {
  title: string;
  cells: string[][];
}

const STATES = [
  { name: "filled", title: "bytes an entry, filled" },
  { name: "churned", title: "bytes an entry, after evicting twice the capacity" },
  { name: "empty", title: "bytes of an empty cache" },
] as const;

function tables({ rows, versions }: MemoryReport): Table[] {
  return (["plain", "ttl+size"] as const).flatMap((features) =>
    STATES.map(({ name, title }) => ({
      title: `${title}, ${FEATURES[features].title}`,
      cells: [
        ["capacity", ...CAPACITIES.map(number)],
        ...FEATURES[features].libraries.map((library) => [
          versions[library] === undefined || library === "@vg/cache" ? library : `${library} ${versions[library]}`,
          ...CAPACITIES.map((capacity) => {
            const row = find(rows, library, capacity, features);
            return row === undefined ? "" : bytesText(bytesOf(row, name));
          }),
        ]),
      ],
    })),
  );
}

function find(rows: readonly Row[], library: string, capacity: number, features: Features): Row | undefined {
  return rows.find((row) => row.library === library && row.capacity === capacity && row.features === features);
}

/** Per entry, except for an empty cache. */
function bytesOf(row: Row, state: keyof Footprint): number | undefined {
  const bytes = row[state]?.heap;
  return bytes === undefined || state === "empty" ? bytes : bytes / row.capacity;
}

/** Where ours is above lru-cache, which it must not be, and the range of the ratio elsewhere. */
function summary({ rows }: MemoryReport): string[] {
  const pairs = rows
    .filter(({ library }) => library === "@vg/cache")
    .flatMap((ours) =>
      STATES.map(({ name, title }) => {
        const beside = find(rows, "lru-cache", ours.capacity, ours.features)!;
        const [own = NaN, theirs = NaN] = [bytesOf(ours, name), bytesOf(beside, name)];
        const what = `${title}, ${FEATURES[ours.features].title}, capacity ${number(ours.capacity)}`;
        return { what, own, theirs, ratio: own / theirs };
      }),
    );
  const above = pairs.filter(({ ratio }) => ratio > 1 + SAME);
  const ratios = pairs.map(({ ratio }) => ratio);
  return [
    `The bar: not above lru-cache (by more than ${SAME * 100} %, the noise) in any of ${pairs.length} figures: ${above.length === 0 ? "met" : `missed in ${above.length}`}. ` +
      `Ours takes ${percent(Math.min(...ratios))} to ${percent(Math.max(...ratios))} of lru-cache's.`,
    ...above.map(
      ({ what, own, theirs, ratio }) =>
        `Above lru-cache: ${what}: ${bytesText(own)} against ${bytesText(theirs)}, ${percent(ratio)}.`,
    ),
  ];
}

function markdown(report: MemoryReport): string {
  const notes = warnings(report).filter((warning) => report.quick || !warning.includes("busy"));
  return [
    ...tables(report).map(({ title, cells }) => `**${title}**\n\n${markdownTable(cells)}`),
    summary(report)
      .map((line) => `- ${line}`)
      .join("\n"),
    machineText(report),
    ...notes.map((note) => `**${note}**`),
  ].join("\n\n");
}

function bytesText(bytes: number | undefined): string {
  if (bytes === undefined) return "–";
  if (bytes < 100) return bytes.toFixed(1);
  return Math.round(bytes).toLocaleString("en-US");
}

function number(value: number): string {
  return value.toLocaleString("en-US");
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share < 0.01 ? 2 : 0)} %`;
}
