import type { IncomingMessage, ServerResponse } from "node:http";
import { expect } from "vitest";
import type { HttpPool } from "../../src/index.ts";
import { httpServer, turns, type TestServer } from "./fault-server.ts";

export interface Echo {
  method: string;
  url: string;
  headers: Record<string, string>;
  body: string;
}

/** Answers every request with what it received, as JSON; `special` may answer some in its own way (and returns true). */
export function echoServer(
  special?: (request: IncomingMessage, response: ServerResponse, body: string) => boolean,
): Promise<TestServer> {
  return httpServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      if (special?.(request, response, body) === true) return;
      const { method, url, headers } = request;
      response.setHeader("content-type", "application/json");
      response.setHeader("set-cookie", ["a=1", "b=2"]);
      response.end(JSON.stringify({ method, url, headers, body }));
    });
  });
}

/** Nothing of a pool's requests is left but idle connections, and of those no more than it may have. */
export async function expectSettled(pool: HttpPool, server: TestServer): Promise<void> {
  for (let i = 0; i < 100 && pool.getStats().open_connections > pool.getStats().idle_connections; i++) await turns(1);
  const { in_flight, queued, open_connections, idle_connections } = pool.getStats();
  expect({ in_flight, queued, busy: open_connections - idle_connections }).toEqual({
    in_flight: 0,
    queued: 0,
    busy: 0,
  });
  await pool.close();
  await server.socketsDownTo(0);
}
