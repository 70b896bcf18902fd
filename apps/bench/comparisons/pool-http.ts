import { expectAnswer, type Case, type Comparison, type Environment } from "../harness/comparison.ts";
import { startServerProcess } from "./server-process.ts";

const CONNECTIONS = 20;
const CONTENDERS = [
  { name: "@vg/pool-http", library: "@vg/pool-http" },
  { name: "undici request", library: "undici" },
  { name: "undici fetch", library: "undici" },
];

function get(concurrency: number, title: string): Case {
  return {
    name: `get-${concurrency}`,
    title,
    parameters: { concurrency, connections: CONNECTIONS },
    contenders: CONTENDERS,
    batch: 200,
    check: (answer, operations) => expectAnswer(answer, { documents: operations, wrong: 0 }),
  };
}

async function start(): Promise<Environment> {
  const server = await startServerProcess();
  return { parameters: { url: server.url }, stop: () => server.stop() };
}

export const comparison: Comparison = {
  name: "pool-http",
  title: `HTTP pool: GET of 1 KiB of JSON, read and parsed, ${CONNECTIONS} connections, no pipelining`,
  packages: ["@vg/pool-http"],
  module: new URL("./pool-http-contenders.ts", import.meta.url),
  start,
  cases: [
    get(CONNECTIONS, `${CONNECTIONS} callers at a time, as many as connections`),
    get(5 * CONNECTIONS, `${5 * CONNECTIONS} callers at a time, five for each connection`),
  ],
};
