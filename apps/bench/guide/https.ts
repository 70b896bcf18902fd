import { request } from "node:https";
import { HttpPool } from "@vg/pool-http";
import { generate } from "selfsigned";
import { isDocument } from "../comparisons/documents.ts";
import { startServerProcess } from "../comparisons/server-process.ts";
import type { Progress } from "../harness/progress.ts";
import { measurePairs, timed, type LatencyPair, type Limits } from "./latency.ts";

export interface HttpsResult extends LatencyPair {
  /** TLS connections that the server saw in the same number of requests. */
  connectionsBefore: number;
  connectionsAfter: number;
}

/** An HTTPS request on a new connection (TCP, TLS, request) beside the same request through the pool. */
export async function measureHttps(limits: Limits, progress: Progress): Promise<HttpsResult> {
  const { cert, private: key } = await generate([{ name: "commonName", value: "localhost" }], {
    algorithm: "sha256",
    extensions: [{ name: "subjectAltName", altNames: [{ type: 2, value: "localhost" }] }],
  });
  const server = await startServerProcess({ key, cert });
  const pool = new HttpPool({ tls: { ca: cert } });
  try {
    let newConnections = 0;
    const pair = await measurePairs(
      "HTTPS request",
      {
        before: (id) =>
          timed(async () => {
            newConnections++;
            checkDocument(await getOnNewConnection(`${server.url}/documents/${id}`, cert), id);
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
