import { spawn, type ChildProcess } from "node:child_process";
import { access } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { zipfSequence } from "../comparisons/zipf.ts";
import type { Progress } from "../harness/progress.ts";
import { field, numberField } from "../harness/values.ts";
import { latency, timed, type Latency } from "./latency.ts";

const DEMO = fileURLToPath(new URL("../../demo/src/main.ts", import.meta.url));
const START_TIMEOUT_MS = 60_000;
const EXPONENT = 1;

export interface DemoWorkload {
  /** At most so many completions, over so many prompts, for so long. */
  requests: number;
  prompts: number;
  budgetMs: number;
}

export interface DemoResult {
  requests: number;
  /** How many different prompts came in them. */
  distinct: number;
  /** Answers from the cache, by their header, as a share of all. */
  hitRate: number;
  /** The most that any cache could have reached: every prompt's first completion has to be made. */
  bestHitRate: number;
  /** What the demo's own health document says. */
  reportedHitRate: number;
  entries: number;
  capacity: number;
  hits: Latency;
  misses: Latency;
}

/** Sends prompts by Zipf's law, one after the other, to a demo that is started for this, and reads its cache's figures. */
export async function measureDemo(workload: DemoWorkload, progress: Progress): Promise<DemoResult> {
  progress.show("Demo", "starting");
  const demo = await startDemo();
  try {
    return await sendPrompts(demo.url, workload, progress);
  } finally {
    progress.done();
    await demo.stop();
  }
}

async function sendPrompts(url: string, workload: DemoWorkload, progress: Progress): Promise<DemoResult> {
  const prompts = zipfSequence(workload.requests, workload.prompts, EXPONENT, 7);
  const hits: number[] = [];
  const misses: number[] = [];
  const seen = new Map<number, string>();
  const start = performance.now();
  for (const [i, prompt] of prompts.entries()) {
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
  const { hit_rate, entries, capacity } = await readCacheStats(url);
  return {
    requests,
    distinct: seen.size,
    hitRate: hits.length / requests,
    bestHitRate: 1 - seen.size / requests,
    reportedHitRate: hit_rate,
    entries,
    capacity,
    hits: latency(hits),
    misses: latency(misses),
  };
}

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
}

async function readCacheStats(url: string): Promise<CacheStats> {
  const response = await fetch(`${url}/v2/health`);
  const stats = field(await response.json(), "pools", "inference_cache");
  const figure = (name: keyof CacheStats): number => numberField(stats, name);
  return { hit_rate: figure("hit_rate"), entries: figure("entries"), capacity: figure("capacity") };
}

interface Demo {
  url: string;
  stop(): Promise<void>;
}

async function startDemo(): Promise<Demo> {
  await access(DEMO).catch(() => {
    throw new Error(`There is no demo at ${DEMO}`);
  });
  const child = spawn(process.execPath, [DEMO], {
    env: demoEnvironment(),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const exited = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  try {
    const url = await addressOf(child, exited);
    await untilReady(url);
    return { url, stop: () => stopDemo(child, exited) };
  } catch (error) {
    await stopDemo(child, exited);
    throw error;
  }
}

/** The caller's own settings but for those that would mix this run with theirs. */
function demoEnvironment(): NodeJS.ProcessEnv {
  // Usage rows and kept data don't belong into somebody's database; the demo brings one of its own.
  const { POSTGRES_DSN: _dsn, DEMO_DATA_DIR: _dir, API_KEY: _key, ...env } = process.env;
  // The rate limit is off because this is a load tool, which would measure only the limit.
  return { ...env, HOST: "127.0.0.1", PORT: "0", RATE_LIMIT_PER_SECOND: "0", LOG_LEVEL: "warn" };
}

/** The demo says where it listens, once, in what it prints. */
async function addressOf(child: ChildProcess, exited: Promise<void>): Promise<string> {
  const output: string[] = [];
  const found = new Promise<string>((resolve) => {
    const look = (chunk: Buffer): void => {
      output.push(chunk.toString());
      const address = /^VaultGemma LocalAI \S+ listens on (http:\S+)$/m.exec(output.join(""))?.[1];
      if (address !== undefined) resolve(address);
    };
    child.stdout?.on("data", look);
    child.stderr?.on("data", look);
  });
  const failure = async (why: string): Promise<never> => {
    throw new Error(`The demo ${why}; it said:\n${output.join("").slice(-2000)}`);
  };
  return await Promise.race([
    found,
    exited.then(() => failure("ended at its start")),
    delay(START_TIMEOUT_MS, undefined, { ref: false }).then(() => failure("did not say where it listens")),
  ]);
}

async function untilReady(url: string): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  for (;;) {
    const status = await fetch(`${url}/readyz`).then(
      (response) => response.status,
      () => 0,
    );
    if (status === 200) return;
    if (performance.now() > deadline) throw new Error(`The demo was not ready in time (${url}/readyz: ${status})`);
    await delay(100);
  }
}

async function stopDemo(child: ChildProcess, exited: Promise<void>): Promise<void> {
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 15_000);
  await exited;
  clearTimeout(timer);
}
