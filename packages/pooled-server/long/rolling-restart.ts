/**
 * Two minutes (or as many as the first argument says) of load on two instances behind a balancer that looks at their
 * `/readyz`, while they are restarted one after the other, over and over: SIGTERM, and when the process has ended, a new
 * one. No request fails, no stream breaks, every subscription is told to come again, and every instance ends with 0.
 */
import assert from "node:assert/strict";
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { Balancer } from "./support/balancer.ts";
import { Load } from "./support/load.ts";

const MINUTES = Number(process.argv[2] ?? 2);
const BETWEEN_RESTARTS_MS = 1_000;
const WORKERS = 20;
const STREAMS = 10;
const SUBSCRIBERS = 5;
/** The delay, the longest stream, and what is between them. */
const ENDS_WITHIN_MS = 5_000;

const program = fileURLToPath(new URL("programs/service.ts", import.meta.url));
const children = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});

class Instance {
  readonly #child: ChildProcess;
  readonly #balancer: Balancer;
  #backend: Awaited<ReturnType<Balancer["add"]>> | undefined;
  #output = "";

  constructor(balancer: Balancer) {
    this.#balancer = balancer;
    this.#child = spawn(process.execPath, ["--conditions=@vg/source", program], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    children.add(this.#child);
    this.#child.stdout?.setEncoding("utf8").on("data", (text: string) => (this.#output += text));
  }

  async ready(): Promise<this> {
    while (!/listens on \S+\n/.test(this.#output)) await once(this.#child.stdout as NodeJS.EventEmitter, "data");
    this.#backend = await this.#balancer.add(/listens on (\S+)/.exec(this.#output)?.[1] as string);
    return this;
  }

  /** SIGTERM, and how long it took to end. */
  async end(): Promise<number> {
    const startedAt = performance.now();
    const closed = once(this.#child, "close");
    this.#child.kill("SIGTERM");
    await closed;
    children.delete(this.#child);
    if (this.#backend !== undefined) this.#balancer.remove(this.#backend);
    assert.equal(this.#child.exitCode, 0, `an instance ended with ${this.#child.exitCode}: ${this.#output}`);
    assert.match(this.#output, /"message":"Closed","duration_ms":\d+\}\n$/);
    return performance.now() - startedAt;
  }
}

const balancer = new Balancer();
const url = await balancer.listen();
const start = (): Promise<Instance> => new Instance(balancer).ready();
const instances = await Promise.all([start(), start()]);

const counts = { work: 0, streams: 0, subscriptions: 0, cut_short: 0 };
const wrong: string[] = [];
const judge =
  (what: "work" | "streams" | "subscriptions", right: RegExp) =>
  ({ status, text }: { status: number; text: string }): void => {
    counts[what]++;
    if (text.includes("server_shutdown")) counts.cut_short++;
    if (status !== 200 || !right.test(text)) wrong.push(`${what}: ${status} ${text.slice(-100)}`);
  };
const work = new Load();
work.start(WORKERS, `${url}/work`, judge("work", /^work done$/), 40);
const streams = new Load();
streams.start(STREAMS, `${url}/stream`, judge("streams", /data: \[DONE\]\n\n$/));
const subscriptions = new Load();
subscriptions.start(SUBSCRIBERS, `${url}/subscribe`, judge("subscriptions", /event: bye\ndata: come again\n\n$/));

const endedMs: number[] = [];
const endsAt = performance.now() + MINUTES * 60_000;
while (performance.now() < endsAt) {
  for (const i of [0, 1]) {
    await delay(BETWEEN_RESTARTS_MS);
    endedMs.push(await (instances[i] as Instance).end());
    instances[i] = await start();
  }
}
await Promise.all([work.end(), streams.end()]);
const failures = [...balancer.failures];
await subscriptions.end({ atOnce: true });
const slowest = Math.max(...endedMs);
for (const instance of instances) await instance.end();
balancer.close();

console.log(
  `${endedMs.length} restarts in ${MINUTES} minutes: ${counts.work} requests (p50 ${work.latencyMs.percentile(0.5).toFixed(1)} ms, ` +
    `p99 ${work.latencyMs.percentile(0.99).toFixed(1)} ms, longest ${work.latencyMs.max.toFixed(0)} ms), ${counts.streams} streams of 2 s ` +
    `(${counts.cut_short} cut short with a last event), ${counts.subscriptions} subscriptions told to come again; ` +
    `${wrong.length} failed; the slowest end took ${slowest.toFixed(0)} ms`,
);
assert.deepEqual(failures, [], "the balancer had to fail nothing");
assert.deepEqual(wrong, [], "every answer was right");
assert.ok(counts.subscriptions >= endedMs.length, "every restart ended subscriptions");
assert.ok(slowest < ENDS_WITHIN_MS, `an instance took ${Math.round(slowest)} ms to end, more than ${ENDS_WITHIN_MS}`);
