/** A node:http server with an access log, as a contender: its process is the server, and has a client of its own. */
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer, type RequestListener } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { Answer, Contender, Parameters } from "../harness/contender.ts";
import { field, numberField, textField } from "../harness/values.ts";
import { EXCHANGES, USER_AGENT, type Exchange } from "./access-log-traffic.ts";
import { accessLogMaker } from "./access-logs.ts";
import { startServerProcess } from "./server-process.ts";

export async function createAccessLogContender(name: string, parameters: Parameters): Promise<Contender> {
  const folder = mkdtempSync(join(tmpdir(), "vg-bench-"));
  const path = join(folder, "access.log");
  const fd = openSync(path, "a");
  const log = await accessLogMaker(name)({ fd, buffered: parameters["buffered"] === true });
  const server = createServer(log.wrap(answerItem));
  // No connection is closed while another contender has its round.
  server.keepAliveTimeout = 0;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const port = numberField(server.address(), "port");
  const client = startServerProcess(new URL("./access-log-client.ts", import.meta.url));
  return {
    prepare: () => ftruncateSync(fd),
    run: load,
    async after() {
      // The line of the last request is written after its answer has been sent.
      await new Promise((resume) => setImmediate(resume));
      // Not measured: pino's also waits for the disk.
      await log.flush();
      return readLines(readFileSync(path, "utf8"), log.hasOurNames);
    },
    async close() {
      await client.stop();
      server.closeAllConnections();
      server.close();
      closeSync(fd);
      rmSync(folder, { recursive: true });
    },
  };

  async function load(requests: number): Promise<{ right: number; wrong: number }> {
    const result = await client.ask({ port, connections: numberField(parameters, "connections"), requests });
    if (field(result, "failed") !== undefined) throw new Error(`the client failed: ${textField(result, "failed")}`);
    return { right: numberField(result, "right"), wrong: numberField(result, "wrong") };
  }
}

const BODIES = new Map(EXCHANGES.map((exchange) => [exchange.path, exchange]));

const answerItem: RequestListener = (request, response) => {
  const { url = "" } = request;
  const exchange = BODIES.get(url.slice(0, url.indexOf("?")))!;
  response.statusCode = exchange.status;
  // So that equal requests have equal answers, which the client compares as a whole.
  response.sendDate = false;
  response.setHeader("Content-Type", "application/json");
  response.setHeader("Content-Length", exchange.body.length);
  response.end(exchange.body);
};

/** Every line of a round is read: how many there are, of how many requests, and the first one that is not as it has to be. */
export function readLines(text: string, hasOurNames: boolean): Answer {
  const lines = text.split("\n").slice(0, -1);
  const ids = new Set<unknown>();
  const paths: Record<string, number> = {};
  let wrong = "";
  for (const line of lines) {
    const { id, said, exchange } = hasOurNames ? readOurs(line) : readPinoHttp(line);
    ids.add(id);
    if (exchange !== undefined) paths[exchange.path] = (paths[exchange.path] ?? 0) + 1;
    const isRight = exchange !== undefined && isDeepStrictEqual(said, expectedOf(exchange, hasOurNames));
    if (!isRight && wrong === "") wrong = line;
  }
  return { lines: lines.length, requests: ids.size, ofEach: [...new Set(Object.values(paths))], wrongLine: wrong };
}

interface ReadLine {
  readonly id: unknown;
  readonly exchange: Exchange | undefined;
  readonly said: Record<string, unknown>;
}

function readOurs(line: string): ReadLine {
  const document: Record<string, unknown> = JSON.parse(line);
  const { time, request_id: id, latency_ms: latency, ttfb_ms: _firstByte, ...said } = document;
  said["hasTimes"] = isRecent(Date.parse(String(time))) && typeof latency === "number";
  return { id, exchange: BODIES.get(String(said["path"])), said };
}

function readPinoHttp(line: string): ReadLine {
  const document: unknown = JSON.parse(line);
  const [path = "", query = ""] = String(field(document, "req", "url")).split("?");
  const said = {
    hasTimes: isRecent(numberField(document, "time")) && typeof field(document, "responseTime") === "number",
    message: field(document, "msg"),
    method: field(document, "req", "method"),
    path,
    query,
    status_code: field(document, "res", "statusCode"),
    client_address: field(document, "req", "remoteAddress"),
    user_agent: field(document, "req", "headers", "user-agent"),
  };
  return { id: field(document, "req", "id"), exchange: BODIES.get(path), said };
}

function expectedOf({ path, query, status, body }: Exchange, hasOurNames: boolean): Record<string, unknown> {
  const both = {
    hasTimes: true,
    method: "GET",
    path,
    query,
    status_code: status,
    client_address: "127.0.0.1",
    user_agent: USER_AGENT,
  };
  if (!hasOurNames) return { ...both, message: "request completed" };
  return {
    ...both,
    message: "http_request",
    level: status === 404 ? "warn" : "info",
    request_bytes: 0,
    response_bytes: body.length,
    http_version: "1.1",
  };
}

function isRecent(ms: number): boolean {
  return Math.abs(Date.now() - ms) < 60_000;
}
