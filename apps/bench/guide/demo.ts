import { runConcurrently } from "../comparisons/concurrency.ts";
import { zipfSequence } from "../comparisons/zipf.ts";
import type { Progress } from "../harness/progress.ts";
import { field, numberField } from "../harness/values.ts";
import { startDemo } from "./demo-process.ts";
import { latency, timed, type Latency } from "./latency.ts";

const EXPONENT = 1;
const SEED = 7;

/** At most so many completions, over so many prompts, for so long. */
export interface DemoWorkload {
  requests: number;
  prompts: number;
  budgetMs: number;
}

export interface DemoResult {
  requests: number;
  /** How many prompts there were to draw from, and how many of them were drawn. */
  prompts: number;
  distinct: number;
  /** Answers from the cache, by their header, as a share of all. */
  hitRate: number;
  /** The most that any cache could have reached: every prompt's first completion has to be made. */
  bestHitRate: number;
  /** What the demo's own health document says. */
  reportedHitRate: number;
  hits: Latency;
  misses: Latency;
}

/** Sends prompts by Zipf's law, one after the other, to a demo that is started for this, and reads its cache's figures. */
export async function measureDemo(workload: DemoWorkload, progress: Progress): Promise<DemoResult> {
  progress.show("Demo", "starting");
  await using demo = await startDemo();
  try {
    return await sendPrompts(demo.url, workload, progress);
  } finally {
    progress.done();
  }
}

async function sendPrompts(url: string, workload: DemoWorkload, progress: Progress): Promise<DemoResult> {
  const hits: number[] = [];
  const misses: number[] = [];
  const seen = new Map<number, string>();
  const start = performance.now();
  for (const [i, prompt] of promptSequence(workload.requests, workload.prompts).entries()) {
    const elapsed = performance.now() - start;
    if (elapsed > workload.budgetMs) break;
    progress.show("Demo", `completion ${i}`, Math.max(i / workload.requests, elapsed / workload.budgetMs));
    let answer = { cache: "", text: "" };
    const took = await timed(async () => {
      answer = await complete(url, prompt);
    });
    // A hit must be the very text that the miss before it made.
    const before = seen.get(prompt);
    if (answer.cache === "hit" && answer.text !== before)
      throw new Error(`A hit differs from its miss (prompt ${prompt})`);
    seen.set(prompt, answer.text);
    (answer.cache === "hit" ? hits : misses).push(took);
  }
  const requests = hits.length + misses.length;
  return {
    requests,
    prompts: workload.prompts,
    distinct: seen.size,
    hitRate: hits.length / requests,
    bestHitRate: 1 - seen.size / requests,
    reportedHitRate: (await readCacheStats(url)).hit_rate,
    hits: latency(hits),
    misses: latency(misses),
  };
}

function promptSequence(requests: number, prompts: number): Int32Array {
  return zipfSequence(requests, prompts, EXPONENT, SEED);
}

/** The most that any cache could hit of so many completions, drawn as above, over so many prompts. */
export function bestHitRate(requests: number, prompts: number): number {
  return 1 - new Set(promptSequence(requests, prompts)).size / requests;
}

export interface MemoryResult {
  capacity: number;
  requests: number;
  distinct: number;
  /** Completions that the cache took in, and those that it gave up for them. */
  stored: number;
  evicted: number;
  /** The most that was seen at any look at the health document, of which there is one every so many completions. */
  peakEntries: number;
  peakBytes: number;
  /** What the cache held when it was first seen full, and at the end. */
  fullBytes: number;
  endBytes: number;
}

/**
 * Sends more prompts than fit to a demo with a small cache, and watches what its cache holds.
 *
 * @throws when the cache held more than it may, or never had to give anything up
 */
export async function measureMemory(
  capacity: number,
  workload: DemoWorkload,
  progress: Progress,
): Promise<MemoryResult> {
  progress.show("Demo with a small cache", "starting");
  await using demo = await startDemo({ INFERENCE_CACHE_CAPACITY: String(capacity) });
  try {
    return memoryResult(capacity, await overfill(demo.url, workload, progress));
  } finally {
    progress.done();
  }
}

/** What was seen of a cache while more was stored than fits. */
interface Overfilled {
  requests: number;
  distinct: number;
  /** In the order of time; the last one came after the last completion. */
  looks: CacheStats[];
}

async function overfill(url: string, workload: DemoWorkload, progress: Progress): Promise<Overfilled> {
  const prompts = promptSequence(workload.requests, workload.prompts);
  const looks: CacheStats[] = [];
  const seen = new Set<number>();
  const start = performance.now();
  let requests = 0;
  await runConcurrently(prompts.length, CALLERS, async (index) => {
    const elapsed = performance.now() - start;
    // Without an eviction nothing is shown: a slow machine takes longer.
    if (elapsed > workload.budgetMs && looks.some(({ evictions }) => evictions > 0)) return;
    progress.show("Demo with a small cache", `completion ${index}`, index / prompts.length);
    const prompt = prompts[index]!;
    await complete(url, prompt);
    seen.add(prompt);
    if (++requests % LOOK_EVERY === 0) looks.push(await readCacheStats(url));
  });
  looks.push(await readCacheStats(url));
  return { requests, distinct: seen.size, looks };
}

function memoryResult(capacity: number, { requests, distinct, looks }: Overfilled): MemoryResult {
  const end = looks.at(-1)!;
  const peakEntries = Math.max(...looks.map(({ entries }) => entries));
  if (end.capacity !== capacity || peakEntries > capacity) {
    throw new Error(`The demo's cache held ${peakEntries} entries; it may hold ${capacity}, and says ${end.capacity}`);
  }
  const full = looks.find(({ entries }) => entries === capacity);
  if (full === undefined || end.evictions === 0) {
    throw new Error(`The demo's cache of ${capacity} entries never had to evict one in ${requests} completions`);
  }
  return {
    capacity,
    requests,
    distinct,
    stored: end.sets,
    evicted: end.evictions,
    peakEntries,
    peakBytes: Math.max(...looks.map(bytesOf)),
    fullBytes: bytesOf(full),
    endBytes: bytesOf(end),
  };
}

// No latency is measured here, so that it need not take long.
const CALLERS = 4;
const LOOK_EVERY = 20;

async function complete(url: string, prompt: number): Promise<{ cache: string; text: string }> {
  const response = await fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      model: "auto",
      messages: [{ role: "user", content: `Question ${prompt}: how should a connection pool be sized?` }],
      temperature: 0,
      max_tokens: 16,
    }),
  });
  const text = await response.text();
  if (response.status !== 200) throw new Error(`The demo answered ${response.status}: ${text.slice(0, 300)}`);
  const content = field(JSON.parse(text), "choices", "0", "message", "content");
  if (typeof content !== "string") throw new Error(`The demo sent no completion: ${text.slice(0, 300)}`);
  return { cache: response.headers.get("x-vg-cache") ?? "", text: content };
}

interface CacheStats {
  hit_rate: number;
  entries: number;
  capacity: number;
  sets: number;
  evictions: number;
  total_size_mb: number;
}

async function readCacheStats(url: string): Promise<CacheStats> {
  const response = await fetch(`${url}/v2/health`);
  const stats = field(await response.json(), "pools", "inference_cache");
  const figure = (name: keyof CacheStats): number => numberField(stats, name);
  return {
    hit_rate: figure("hit_rate"),
    entries: figure("entries"),
    capacity: figure("capacity"),
    sets: figure("sets"),
    evictions: figure("evictions"),
    total_size_mb: figure("total_size_mb"),
  };
}

function bytesOf({ total_size_mb }: CacheStats): number {
  return Math.round(total_size_mb * 1024 * 1024);
}
