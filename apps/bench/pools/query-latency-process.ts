/** Measures the latency of single queries through one pool, in a process of its own: see query-latency.ts. */
import { openDatabaseClient } from "../comparisons/database-clients.ts";
import { isItem, itemOf, SELECT_ITEM, SELECT_SLOWLY, type Item } from "../comparisons/pool-db-workload.ts";
import { LatencyHistogram } from "../harness/latency-histogram.ts";
import { measured } from "../harness/measuring-process.ts";
import { CURVE, type LatencyResult, type LatencyTask } from "./query-latency.ts";

await measured(async (task: LatencyTask): Promise<LatencyResult> => {
  const { client: name, dsn, connections, callers, slowEvery, warmUpMs, measureMs } = task;
  const client = await openDatabaseClient(name, dsn, connections);
  let turn = 0;
  let wrong = 0;
  let end = 0;
  let fast = new LatencyHistogram();
  let slow = new LatencyHistogram();
  const caller = async (): Promise<void> => {
    for (let start = performance.now(); start < end;) {
      const index = turn++;
      const id = itemOf(index);
      const isSlow = slowEvery !== null && index % slowEvery === slowEvery - 1;
      const result = await client.query(isSlow ? SELECT_SLOWLY : SELECT_ITEM, [id]);
      const now = performance.now();
      (isSlow ? slow : fast).record((now - start) * 1e6);
      if (!isItem(client.rows<Item>(result), id)) wrong++;
      start = now;
    }
  };
  const run = async (ms: number): Promise<number> => {
    const start = performance.now();
    end = start + ms;
    await Promise.all(Array.from({ length: callers }, caller));
    return performance.now() - start;
  };
  await run(warmUpMs);
  fast = new LatencyHistogram();
  slow = new LatencyHistogram();
  globalThis.gc?.();
  const cpu = process.cpuUsage();
  const elapsedMs = await run(measureMs);
  const { user, system } = process.cpuUsage(cpu);
  await client.close();
  const count = fast.count + slow.count;
  return {
    nsPerOp: (elapsedMs * 1e6) / count,
    cpuNsPerOp: ((user + system) * 1e3) / count,
    fast: { count: fast.count, maxNs: fast.maxNs, curve: CURVE.map((share) => fast.percentile(share)) },
    slow: { count: slow.count, maxNs: slow.maxNs, curve: CURVE.map((share) => slow.percentile(share)) },
    wrong,
  };
});
