import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { acceptsGzip, negotiateFormat } from "./negotiation.ts";
import type { MetricsRegistry } from "./registry.ts";
import { Scrapes, type ScrapeResult } from "./scrapes.ts";

/** Of the time that the scraper gives, what is left for writing and sending. */
const SENDING_MS = 500;

/**
 * Answers scrapes: in the format that each asks for, of the metrics that it asks for (`?name[]=…`), compressed where it
 * asks for that.
 *
 * @param onError gets what kept an answer from being made
 */
export function createMetricsEndpoint(
  registry: MetricsRegistry,
  onError: (error: unknown) => void,
): (request: IncomingMessage, response: ServerResponse) => void {
  const scrapes = new Scrapes();
  const scrape = async (request: IncomingMessage, response: ServerResponse, left: AbortSignal): Promise<void> => {
    const { accept, "accept-encoding": acceptEncoding } = request.headers;
    const { openMetrics, contentType } = negotiateFormat(accept);
    const names = namesOf(request.url);
    const result = await scrapes.join(JSON.stringify([openMetrics, names]), left, async (signal) => {
      const deadlineMs = deadlineOf(request);
      return await registry.exposeInPieces({
        openMetrics,
        signal,
        ...(names.length > 0 && { names }),
        ...(deadlineMs !== undefined && { deadlineMs }),
      });
    });
    if (result === undefined) refuse(response);
    else await send(response, result, contentType, acceptsGzip(acceptEncoding));
  };
  return (request, response) => {
    const left = new AbortController();
    response.once("close", () => left.abort());
    scrape(request, response, left.signal).catch((error: unknown) => {
      // Whoever has left needs no answer, and made no fault.
      if (left.signal.aborted) return;
      onError(error);
      if (response.headersSent) response.destroy();
      else response.writeHead(500).end();
    });
  };
}

function refuse(response: ServerResponse): void {
  response.writeHead(503, { "content-type": "text/plain; charset=utf-8", "retry-after": "1" });
  response.end("Other scrapes are under way; try again.\n");
}

async function send(response: ServerResponse, result: ScrapeResult, contentType: string, gzip: boolean): Promise<void> {
  const compress = gzip && result.worthCompressing;
  const chunks = compress ? [await result.compressed()] : result.chunks;
  response.writeHead(200, {
    "content-type": contentType,
    "content-length": chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0),
    "cache-control": "no-store",
    vary: "accept, accept-encoding",
    ...(compress && { "content-encoding": "gzip" }),
  });
  await pipeline(Readable.from(chunks, { objectMode: false }), response);
}

/** `?name[]=a&name[]=b`, in one order whatever theirs. */
function namesOf(url: string | undefined): readonly string[] {
  const query = (url ?? "").split("?", 2)[1];
  return query === undefined ? [] : [...new Set(new URLSearchParams(query).getAll("name[]"))].toSorted();
}

/** Prometheus says how long it waits; what is not to be had by then shall not cost it the rest. */
function deadlineOf({ headers }: IncomingMessage): number | undefined {
  const seconds = Number(headers["x-prometheus-scrape-timeout-seconds"]);
  return seconds > 0 && seconds <= 3_600 ? Math.max(seconds * 1_000 - SENDING_MS, seconds * 500) : undefined;
}
