/**
 * One instance of the rolling restart: `/work` answers after some milliseconds, `/stream` streams for two seconds and ends,
 * `/subscribe` has no end of its own. Says where it listens and ends on SIGTERM.
 */
import type { ServerResponse } from "node:http";
import { setTimeout as delay } from "node:timers/promises";
import { createPooledServer, currentRequest, type RequestContext } from "@vg/pooled-server";

const EVENTS = 40;
const GAP_MS = 50;

const server = await createPooledServer(
  async (request, response) => {
    const context = currentRequest() as RequestContext;
    if (request.url === "/stream") return await stream(response, context);
    if (request.url === "/subscribe") return await subscription(response, context);
    await delay(Math.random() * 20);
    response.end("work done");
  },
  {
    serviceName: "rolling",
    handleSignals: true,
    shutdownDelayMs: 1_000,
    rateLimitPerSecond: 0,
  },
);
const { url } = await server.listen(0);
process.stdout.write(`listens on ${url}\n`);

async function stream(response: ServerResponse, { lastCall }: RequestContext): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (let i = 0; i < EVENTS && !lastCall.aborted; i++) {
    response.write(`data: ${i}\n\n`);
    await delay(GAP_MS);
  }
  response.end(`data: ${lastCall.aborted ? '{"error":{"type":"server_shutdown"}}\n\ndata: ' : ""}[DONE]\n\n`);
}

async function subscription(response: ServerResponse, { draining, signal }: RequestContext): Promise<void> {
  response.writeHead(200, { "content-type": "text/event-stream" });
  const over = AbortSignal.any([draining, signal]);
  while (!over.aborted) {
    response.write("data: news\n\n");
    await delay(GAP_MS, undefined, { signal: over }).catch(() => undefined);
  }
  response.end("event: bye\ndata: come again\n\n");
}
