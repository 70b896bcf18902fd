/** Measures one registry in a process of its own: see metrics.ts. */
import { fork } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createPooledServer } from "@vg/pooled-server";
import client from "prom-client";
import { measured } from "../harness/measuring-process.ts";
import type { MetricsResult, MetricsTask, Operation, Scrape } from "./metrics.ts";
import type { Answer } from "./scraper.ts";

/** A doubling warm-up stops when a round took so long; rounds that are measured take about as long as that. */
const ROUND_MS = 60;
const WARM_UP_SCRAPES = 3;
/** Before each scrape, so that what the one before it left is over. */
const QUIET_MS = 30;

const BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 120];
const LABELS = ["http_request_method", "http_route", "http_response_status_code"] as const;
type Labels = Record<(typeof LABELS)[number], string>;

interface Subject {
  /** Fills a counter, or a histogram, until it has so many lines. */
  fill(kind: MetricsTask["kind"], lines: number): void;
  /** One step of an operation, as often as asked for. */
  readonly operations: Record<Operation, (count: number) => void>;
  listen(): Promise<string>;
  close(): Promise<void>;
}

const labelsOf = (i: number): Labels => ({
  http_request_method: "POST",
  http_route: `/v1/organisations/:organisation/models/number-${i}`,
  http_response_status_code: "200",
});

/** Values over all buckets, in no order that a processor could guess. */
const VALUES = Float64Array.from({ length: 1024 }, (_, i) => ((i * 7919) % 1024) ** 2 / 8192);

const LINES_OF_A_HISTOGRAM = BUCKETS.length + 3;

async function ours(): Promise<Subject> {
  const server = await createPooledServer((_request, response) => void response.end(), {
    logLevel: "silent",
    metrics: { maxSeries: 1_000_000 },
  });
  const counter = server.metrics.counter({ name: "bench_requests_total", help: "Requests.", labelNames: LABELS });
  const histogram = server.metrics.histogram({
    name: "bench_duration_seconds",
    help: "Duration.",
    labelNames: LABELS,
    buckets: BUCKETS,
  });
  const labels = labelsOf(0);
  return {
    fill(kind, lines) {
      const children = kind === "counter" ? lines : lines / LINES_OF_A_HISTOGRAM;
      for (let i = 0; i < children; i++) {
        if (kind === "counter") counter.child(labelsOf(i)).add(i);
        else histogram.child(labelsOf(i)).observe(i / 100);
      }
    },
    operations: {
      "inc, bound": (times) => {
        const count = counter.child(labels);
        for (let i = 0; i < times; i++) count.add();
      },
      "observe, bound": (times) => {
        const duration = histogram.child(labels);
        for (let i = 0; i < times; i++) duration.observe(VALUES[i & 1023] as number);
      },
      "inc, labels looked up": (times) => {
        for (let i = 0; i < times; i++) counter.child(labels).add();
      },
      "observe, labels looked up": (times) => {
        for (let i = 0; i < times; i++) histogram.child(labels).observe(VALUES[i & 1023] as number);
      },
    },
    listen: async () => (await server.listen(0)).url,
    close: async () => void (await server.close()),
  };
}

function promClient(): Subject {
  const register = new client.Registry();
  const [labelNames, registers] = [LABELS, [register]];
  const counter = new client.Counter({ name: "bench_requests_total", help: "Requests.", labelNames, registers });
  const histogram = new client.Histogram({
    name: "bench_duration_seconds",
    help: "Duration.",
    buckets: BUCKETS,
    labelNames,
    registers,
  });
  const labels = labelsOf(0);
  const server = createServer((_request, response) => {
    void register.metrics().then((text) => response.setHeader("content-type", register.contentType).end(text));
  });
  return {
    fill(kind, lines) {
      const children = kind === "counter" ? lines : lines / LINES_OF_A_HISTOGRAM;
      for (let i = 0; i < children; i++) {
        if (kind === "counter") counter.inc(labelsOf(i), i);
        else histogram.observe(labelsOf(i), i / 100);
      }
    },
    operations: {
      "inc, bound": (times) => {
        const count = counter.labels(labels);
        for (let i = 0; i < times; i++) count.inc();
      },
      "observe, bound": (times) => {
        const duration = histogram.labels(labels);
        for (let i = 0; i < times; i++) duration.observe(VALUES[i & 1023] as number);
      },
      "inc, labels looked up": (times) => {
        for (let i = 0; i < times; i++) counter.inc(labels);
      },
      "observe, labels looked up": (times) => {
        for (let i = 0; i < times; i++) histogram.observe(labels, VALUES[i & 1023] as number);
      },
    },
    listen: async () => {
      await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

await measured(async ({ contender, kind, lines, scrapes, rounds }: MetricsTask): Promise<MetricsResult> => {
  const subject = contender === "prom-client" ? promClient() : await ours();
  const openMetrics = contender === "@vg/pooled-server, OpenMetrics";
  if (kind === "operations") {
    const nsPerOp = Object.entries(subject.operations).map(
      ([name, run]) => [name, measureRounds(run, rounds)] as const,
    );
    return { scrapes: [], lines: 0, sum: 0, nsPerOp: Object.fromEntries(nsPerOp) };
  }
  subject.fill(kind, lines);
  const url = await subject.listen();
  const scraper = fork(new URL("./scraper.ts", import.meta.url), [url, String(openMetrics)]);
  const measurements: Scrape[] = [];
  let answer: Answer | undefined;
  for (let i = 0; i < WARM_UP_SCRAPES + scrapes; i++) {
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    const stalls = watchLoop();
    scraper.send("scrape");
    [answer] = (await once(scraper, "message")) as [Answer];
    const scrape = { ...stalls.longest(), totalMs: answer.totalMs, bytes: answer.bytes };
    if (i === 0) measurements.push({ ...scrape, first: true });
    else if (i >= WARM_UP_SCRAPES) measurements.push(scrape);
  }
  scraper.kill();
  await subject.close();
  return { scrapes: measurements, lines: answer?.lines ?? 0, sum: answer?.sum ?? 0, nsPerOp: {} };
});

/** The longest time between two turns of the loop, which is never idle meanwhile. */
function watchLoop(): { longest(): Pick<Scrape, "stallMs" | "stallCpuMs"> } {
  const longest = { stallMs: 0, stallCpuMs: 0 };
  let last = { ms: performance.now(), cpuMs: threadMs() };
  const turn = (): void => {
    const now = { ms: performance.now(), cpuMs: threadMs() };
    longest.stallMs = Math.max(longest.stallMs, now.ms - last.ms);
    longest.stallCpuMs = Math.max(longest.stallCpuMs, now.cpuMs - last.cpuMs);
    last = now;
    next = setImmediate(turn);
  };
  let next = setImmediate(turn);
  return {
    longest() {
      clearImmediate(next);
      return longest;
    },
  };
}

function threadMs(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / 1000;
}

function measureRounds(run: (count: number) => void, rounds: number): number[] {
  let count = 1_000;
  for (;;) {
    const start = performance.now();
    run(count);
    if (performance.now() - start >= ROUND_MS) break;
    count *= 2;
  }
  return Array.from({ length: rounds }, () => {
    const start = performance.now();
    run(count);
    return ((performance.now() - start) * 1e6) / count;
  });
}
