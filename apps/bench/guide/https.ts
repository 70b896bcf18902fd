import { request } from "node:https";
import { HttpPool } from "@vg/pool-http";
import { selfSigned } from "../comparisons/certificate.ts";
import { isDocument } from "../comparisons/documents.ts";
import { startDocumentServer } from "../comparisons/server-process.ts";
import type { Yardstick } from "../harness/comparison.ts";
import type { Progress } from "../harness/progress.ts";
import { GUIDE_LIMITS, measurePairs, timed, verdict, type Latency, type LatencyPair, type Limits } from "./latency.ts";

/** What a pool must take off an HTTPS request's latency at least; the guide claims 40 %. */
const HTTPS_BAR = -0.8;

export interface HttpsResult extends LatencyPair {
  /** TLS connections that the server saw in the same number of requests. */
  connectionsBefore: number;
  connectionsAfter: number;
}

/** An HTTPS request on a new connection (TCP, TLS, request) beside the same request through the pool. */
export async function measureHttps(limits: Limits, progress: Progress): Promise<HttpsResult> {
  const tls = await selfSigned();
  const server = await startDocumentServer(tls);
  const pool = new HttpPool({ tls: { ca: tls.cert } });
  try {
    let newConnections = 0;
    const pair = await measurePairs(
      "HTTPS request",
      {
        before: (id) =>
          timed(async () => {
            newConnections++;
            checkDocument(await getOnNewConnection(`${server.url}/documents/${id}`, tls.cert), id);
          }),
        after: (id) =>
          timed(async () => {
            const response = await pool.get(`${server.url}/documents/${id}`);
            checkDocument(await response.json(), id);
          }),
      },
      limits,
      progress,
    );
    const all = await server.connections();
    return { ...pair, connectionsBefore: newConnections, connectionsAfter: all - newConnections };
  } finally {
    await pool.close();
    await server.stop();
  }
}

export function httpsVerdict({ change }: LatencyPair): string {
  return verdict(change, HTTPS_BAR, "-40 %");
}

/** The same for those who ask for the pool alone. */
export async function httpsGain(quick: boolean, progress: Progress): Promise<Yardstick> {
  const result = await measureHttps(GUIDE_LIMITS[quick ? "quick" : "full"], progress);
  const { before, after, connectionsBefore, connectionsAfter } = result;
  return {
    title: "A connection for each request, and the pool, over TLS: the latency of one caller",
    rows: [
      { name: `node:https, ${connectionsBefore} connections`, nsPerOp: inNanoseconds(before) },
      { name: `@vg/pool-http, ${connectionsAfter}`, nsPerOp: inNanoseconds(after) },
    ],
    note: `Node's own HTTPS server; medians of ${after.count} requests each way, in turns. ${httpsVerdict(result)}`,
  };
}

function inNanoseconds({ p50Ms, minMs, maxMs }: Latency): Yardstick["rows"][number]["nsPerOp"] {
  return { median: p50Ms * 1e6, min: minMs * 1e6, max: maxMs * 1e6 };
}

function getOnNewConnection(url: string, ca: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    // `agent: false` is a fresh agent, and so a fresh connection and a full handshake, for this request.
    const sent = request(url, { agent: false, ca }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("end", () => resolve(JSON.parse(Buffer.concat(chunks).toString()) as unknown));
      response.on("error", reject);
    });
    sent.on("error", reject);
    sent.end();
  });
}

function checkDocument(document: unknown, id: number): void {
  if (!isDocument(document, id)) throw new Error(`The server sent a wrong document for id ${id}`);
}
