/**
 * Twice the load that a service can bear, for a while: with admission it goes on answering as much as it can in little
 * time, refuses the rest at once and says when to come back, and its probes answer. Once for a backend that does 20 at a
 * time, once for a handler that keeps the event loop busy; each beside the same without admission, for comparison.
 */
import assert from "node:assert/strict";
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { fileURLToPath } from "node:url";
import { createLogger } from "@vg/logging";
import { createPooledServer, type PooledServerConfig } from "../src/index.ts";

interface Scenario {
  title: string;
  handler: "backend" | "busy";
  /** Requests a second that it can bear. */
  capacity: number;
  config: PooledServerConfig;
}

const SLOTS = 20;
const SERVICE_MS = 40;
const BUSY_MS = 4;
/** How often a client asks. */
const THINK_MS = 2_000;
const CALM_SECONDS = 10;
const OVERLOAD_SECONDS = 20;
const OFF: PooledServerConfig = { maxConcurrency: 0, maxEventLoopUtilization: 0 };

const SCENARIOS: Scenario[] = [
  {
    title: "a backend that does 20 at once, without admission",
    handler: "backend",
    capacity: (SLOTS / SERVICE_MS) * 1000,
    config: OFF,
  },
  {
    title: "the same with an adaptive limit",
    handler: "backend",
    capacity: (SLOTS / SERVICE_MS) * 1000,
    config: { minConcurrency: SLOTS, concurrencyCeiling: 200, queueDeadlineMs: 200 },
  },
  { title: "a busy event loop, without admission", handler: "busy", capacity: 1000 / BUSY_MS, config: OFF },
  { title: "the same, shed as installed", handler: "busy", capacity: 1000 / BUSY_MS, config: {} },
];

const chosen = process.argv[2];
if (chosen === undefined) await measureAll();
else await serve(SCENARIOS[Number(chosen)] as Scenario);

/** The child: a server whose handler is the scenario's. */
async function serve({ handler, config }: Scenario): Promise<void> {
  let free = SLOTS;
  const line: (() => void)[] = [];
  const backend = async (): Promise<void> => {
    if (free === 0) await new Promise<void>((resolve) => line.push(resolve));
    else free--;
    await pause(SERVICE_MS);
    const next = line.shift();
    if (next === undefined) free++;
    else next();
  };
  const busy = (): void => {
    for (const end = performance.now() + BUSY_MS; performance.now() < end;);
  };
  const server = await createPooledServer(
    async (_request, response) => {
      await (handler === "backend" ? backend() : busy());
      response.end("ok");
    },
    { logger: createLogger({ level: "silent" }), accessLog: false, rateLimitPerSecond: 0, ...config },
  );
  const { url } = await server.listen(0);
  process.send?.(url);
  process.on("disconnect", () => process.exit());
}

async function measureAll(): Promise<void> {
  let without: Figures | undefined;
  for (const [index, scenario] of SCENARIOS.entries()) {
    const child = fork(fileURLToPath(import.meta.url), [String(index)]);
    try {
      const figures = await measure(scenario, child);
      if (without === undefined) {
        without = figures;
      } else {
        compare(without, figures);
        without = undefined;
      }
    } finally {
      child.kill("SIGKILL");
    }
  }
}

async function measure(scenario: Scenario, child: ChildProcess) {
  const [url] = (await once(child, "message")) as [string];
  const agent = new Agent({ keepAlive: true, maxFreeSockets: 10_000 });
  const probes: number[] = [];
  const served: number[] = [];
  const refused: number[] = [];
  let failed = 0;
  const ask = (path: string): Promise<{ status: number; ms: number; retryAfter: string | undefined }> =>
    new Promise((resolve) => {
      const start = performance.now();
      const done = (status: number, retryAfter?: string): void =>
        resolve({ status, ms: performance.now() - start, retryAfter });
      request(`${url}${path}`, { agent }, (response) => {
        response.resume().on("end", () => done(response.statusCode ?? 0, response.headers["retry-after"]));
      })
        .on("error", () => done(0))
        .end();
    });
  const clients = (scenario.capacity * 2 * THINK_MS) / 1000;
  // Connections that are there already: of new ones the event loop takes one in each turn, and the rest wait in the system,
  // where nobody sees them.
  await Promise.all(Array.from({ length: clients }, () => ask("/livez")));
  const end = performance.now() + (CALM_SECONDS + OVERLOAD_SECONDS) * 1000;
  const countFrom = performance.now() + CALM_SECONDS * 1000;
  /** A client that asks every two seconds, or when it has its answer, if that is later. */
  const client = async (firstAfterMs: number): Promise<void> => {
    for (let due = performance.now() + firstAfterMs; due < end; due = Math.max(due + THINK_MS, performance.now())) {
      await pause(Math.max(1, due - performance.now()));
      const isCounted = performance.now() >= countFrom;
      const { status, ms, retryAfter } = await ask("/");
      if (!isCounted) continue;
      if (status === 503) assert.ok(Number(retryAfter) >= 1, "a refusal says when to come back");
      if (status === 200) served.push(ms);
      if (status === 503) refused.push(ms);
      if (status === 0) failed++;
    }
  };
  const probe = async (): Promise<void> => {
    while (performance.now() < end) {
      await pause(200);
      const { ms } = await ask("/livez");
      if (performance.now() >= countFrom) probes.push(ms);
    }
  };
  // They come one after another: twice what can be done is asked when all are there.
  const all = Array.from({ length: clients }, (_, i) => client((i / clients) * CALM_SECONDS * 1000));
  await Promise.all([...all, probe()]);
  agent.destroy();
  const goodput = served.length / OVERLOAD_SECONDS;
  const figures = {
    served_per_second: Math.round(goodput),
    capacity: scenario.capacity,
    served_p50_ms: percentile(served, 0.5),
    served_p99_ms: percentile(served, 0.99),
    refused: refused.length,
    refused_p99_ms: percentile(refused, 0.99),
    livez_p99_ms: percentile(probes, 0.99),
    failed,
  };
  console.log(scenario.title, figures);
  return figures;
}

type Figures = Awaited<ReturnType<typeof measure>>;

/** Against the same without: how much a machine can do while others use it, nobody knows beforehand. */
function compare(without: Figures, admitted: Figures): void {
  assert.equal(admitted.failed, 0, "no connection is broken");
  assert.ok(admitted.refused > 0, "what cannot be done is refused");
  assert.ok(
    admitted.served_per_second >= without.served_per_second * 0.6,
    `it does most of what it can: ${admitted.served_per_second}/s of ${without.served_per_second}/s`,
  );
  for (const time of ["served_p99_ms", "refused_p99_ms", "livez_p99_ms"] as const) {
    const bound = without.served_p99_ms / 2;
    assert.ok(admitted[time] < bound, `${time} is ${admitted[time]} ms, not below ${bound}`);
  }
}

function percentile(values: number[], p: number): number {
  if (values.length === 0) return 0;
  const sorted = values.toSorted((a, b) => a - b);
  return Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] as number);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
