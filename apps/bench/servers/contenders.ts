/** The servers that are compared, by name; each is started in a process of its own. */
import { once } from "node:events";
import { createServer, request as httpRequest, Agent, type IncomingMessage, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import type { PooledServer } from "@vg/pooled-server";
import { ANSWER, answer, bodyOf, send } from "./work.ts";

/** Where a server that does not answer by itself gets its answers from, and where it may write. */
export interface Surroundings {
  folder: string;
  /** `http://127.0.0.1:port`, of the upstream. */
  upstream: string;
}

export const BARE = "node:http";
export const WITHOUT_LOG = "@vg/pooled-server, no access log";
export const WITH_LOG = "@vg/pooled-server";
export const BUFFERED_LOG = "@vg/pooled-server, log buffered";
export const CACHE_HIT = "@vg/pooled-server, cache hit, no access log";
export const LOGGED_HIT = "@vg/pooled-server, cache hit, log buffered";
export const UPSTREAM = "upstream";
export const BARE_PROXY = "node:http and its agent";
export const OUR_PROXY = "@vg/pooled-server and its pool";
export const PORTKEY = "@portkey-ai/gateway";

/** Far above what comes: the limit is kept, and refuses nobody. */
const RATE_PER_SECOND = 1_000_000;
/** As many calls at a time as there are callers. */
const CONNECTIONS = 50;

const SERVERS: Record<string, (around: Surroundings) => Promise<number>> = {
  [BARE]: () => listen(answer),
  [WITHOUT_LOG]: (around) => pooled(answer, { ...around, accessLog: false }),
  [WITH_LOG]: (around) => pooled(answer, around),
  [BUFFERED_LOG]: (around) => pooled(answer, { ...around, buffer: true }),
  [CACHE_HIT]: (around) => cacheHit({ ...around, accessLog: false }),
  [LOGGED_HIT]: (around) => cacheHit({ ...around, buffer: true }),
  [UPSTREAM]: () => listen(answer),
  [BARE_PROXY]: bareProxy,
  [OUR_PROXY]: ourProxy,
  [PORTKEY]: portkey,
};

/** Starts one. Resolves with its port. */
export async function startServer(name: string, around: Surroundings): Promise<number> {
  const start = SERVERS[name];
  if (start === undefined) throw new Error(`no server ${name}`);
  return await start(around);
}

/** A listener, sync or async. */
type Handler = (...args: Parameters<RequestListener>) => unknown;

async function listen(handler: Handler): Promise<number> {
  const server = createServer((request, response) => void handler(request, response));
  await once(server.listen(0, "127.0.0.1"), "listening");
  return (server.address() as AddressInfo).port;
}

interface PooledOptions extends Surroundings {
  accessLog?: boolean;
  buffer?: boolean;
}

async function pooled(handler: Handler, options: PooledOptions): Promise<number> {
  return await listenPooled(await makePooled(handler, options));
}

async function makePooled(
  handler: Handler,
  { folder, accessLog = true, buffer = false }: PooledOptions,
): Promise<PooledServer> {
  const { createPooledServer } = await import("@vg/pooled-server");
  const { createLogger } = await import("@vg/logging");
  return await createPooledServer(handler, {
    logger: createLogger({ destination: `${folder}/${process.pid}.log`, buffer }),
    accessLog,
    rateLimitPerSecond: RATE_PER_SECOND,
    httpMaxConnsPerHost: CONNECTIONS,
    httpMaxIdleConnsPerHost: CONNECTIONS,
  });
}

async function listenPooled(server: PooledServer): Promise<number> {
  return (await server.listen(0)).port;
}

/** Asks a model, as far as anybody can tell; after the first time the cache has the answer. */
async function cacheHit(options: PooledOptions): Promise<number> {
  const server = await makePooled((request, response) => chat(request, response), options);
  let calls = 0;
  const chat = server.inference.completions(() => {
    if (++calls > 1) throw new Error("the cache had to be asked again");
    return JSON.parse(ANSWER) as Record<string, unknown>;
  });
  return await listenPooled(server);
}

/** Looks at the body as a gateway must, for its model, and hands it and the answer on. */
async function ourProxy(around: Surroundings): Promise<number> {
  const { currentRequest } = await import("@vg/pooled-server");
  const url = `${around.upstream}/v1/chat/completions`;
  const headers = { "content-type": "application/json" };
  const server = await makePooled(async (request, response) => {
    const body = await bodyOf(request);
    JSON.parse(body);
    const { signal } = currentRequest() ?? {};
    const answered = await server.httpPool.post(url, body, { headers, signal });
    send(response, await answered.text());
  }, around);
  return await listenPooled(server);
}

async function bareProxy({ upstream }: Surroundings): Promise<number> {
  const agent = new Agent({ keepAlive: true, maxSockets: CONNECTIONS });
  const { hostname, port } = new URL(upstream);
  return await listen(async (request, response) => {
    const body = await bodyOf(request);
    JSON.parse(body);
    const headers = { "content-type": "application/json", "content-length": Buffer.byteLength(body) };
    const call = httpRequest({ agent, hostname, port, method: "POST", path: "/v1/chat/completions", headers });
    call.end(body);
    const [answered] = (await once(call, "response")) as [IncomingMessage];
    send(response, await bodyOf(answered));
  });
}

/** Its own server program, which listens in this process. */
async function portkey(): Promise<number> {
  const port = await freePort();
  process.argv.push(`--port=${port}`, "--headless");
  const program = new URL("../node_modules/@portkey-ai/gateway/build/start-server.js", import.meta.url);
  await import(program.href);
  for (let attempt = 0; attempt < 100; attempt++) {
    if (await answers(port)) return port;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("Portkey's gateway did not start within 5 s");
}

async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

async function answers(port: number): Promise<boolean> {
  return await fetch(`http://127.0.0.1:${port}/`).then(
    async (response) => (await response.text(), true),
    () => false,
  );
}
