/** The HTTP clients that are compared, each with so many connections to one server and with all else as it comes. */
import type { Agent as NodeAgent, IncomingMessage } from "node:http";
import type { ReadableStream } from "node:stream/web";

export interface HttpClient {
  /** The body, parsed by the client's own means where it has some. */
  json(url: string): Promise<unknown>;
  bytes(url: string): Promise<Uint8Array>;
  /** The body as it arrives. */
  stream(url: string): Promise<AsyncIterable<Uint8Array>>;
  close(): unknown;
}

/** `ca` is whose certificates are believed, over TLS. */
type OpenClient = (connections: number, ca: string) => Promise<HttpClient>;

export async function openHttpClient(name: string, connections: number, ca: string): Promise<HttpClient> {
  const open = CLIENTS[name];
  if (open === undefined) throw new Error(`no client ${name}`);
  return await open(connections, ca);
}

const CLIENTS: Record<string, OpenClient> = {
  "@vg/pool-http": async (connections, ca) => {
    const pool = await openPool(connections, ca);
    return {
      json: async (url) => await ok(await pool.get(url)).json(),
      bytes: async (url) => await ok(await pool.get(url)).bytes(),
      stream: async (url) => ok(await pool.get(url, { stream: true })).body,
      close: () => pool.close(),
    };
  },

  "@vg/pool-http fetch": async (connections, ca) => {
    const pool = await openPool(connections, ca);
    return fetchClient(fetchOf(pool), () => pool.close());
  },

  "undici request": async (connections, ca) => {
    const { request } = await import("undici");
    const dispatcher = await openAgent(connections, ca);
    const get = async (url: string) => {
      const { statusCode, body } = await request(url, { dispatcher });
      ok({ status: statusCode });
      return body;
    };
    return {
      json: async (url) => await (await get(url)).json(),
      bytes: async (url) => await (await get(url)).bytes(),
      stream: get,
      close: () => dispatcher.close(),
    };
  },

  "undici fetch": async (connections, ca) => {
    const { fetch } = await import("undici");
    const dispatcher = await openAgent(connections, ca);
    return fetchClient(
      (url) => fetch(url, { dispatcher }),
      () => dispatcher.close(),
    );
  },

  got: async (connections, ca) => {
    const { default: plain } = await import("got");
    const agent = await openNodeAgents(connections, ca);
    const got = plain.extend({ agent });
    return {
      json: async (url) => await got(url).json(),
      // `got(url).buffer()` would first make a text of the bytes.
      bytes: async (url) => await got(url, { responseType: "buffer", resolveBodyOnly: true }),
      stream: (url) => Promise.resolve(got.stream(url)),
      close: () => closeAll(agent),
    };
  },

  axios: async (connections, ca) => {
    const { default: axios } = await import("axios");
    const agent = await openNodeAgents(connections, ca);
    const client = axios.create({ adapter: "http", httpAgent: agent.http, httpsAgent: agent.https });
    return {
      json: async (url) => (await client.get<unknown>(url)).data,
      bytes: async (url) => (await client.get<Buffer>(url, { responseType: "arraybuffer" })).data,
      stream: async (url) => (await client.get<AsyncIterable<Uint8Array>>(url, { responseType: "stream" })).data,
      close: () => closeAll(agent),
    };
  },

  ky: async (connections, ca) => {
    const { install, setGlobalDispatcher } = await import("undici");
    const dispatcher = await openAgent(connections, ca);
    // ky makes a Request of the global class, which has to be of the same undici as its fetch.
    install();
    setGlobalDispatcher(dispatcher);
    const { default: ky } = await import("ky");
    return {
      json: async (url) => await ky(url).json(),
      bytes: async (url) => new Uint8Array(await ky(url).arrayBuffer()),
      stream: async (url) => bodyOf(await ky(url)),
      close: () => dispatcher.close(),
    };
  },

  "node:http": async (connections, ca) => {
    const { request: overTcp } = await import("node:http");
    const { request: overTls } = await import("node:https");
    const agent = await openNodeAgents(connections, ca);
    const get = (url: string): Promise<IncomingMessage> =>
      new Promise((resolve, reject) => {
        const request = url.startsWith("https:")
          ? overTls(url, { agent: agent.https }, resolve)
          : overTcp(url, { agent: agent.http }, resolve);
        request.on("error", reject);
        request.end();
      });
    const bytes = async (url: string): Promise<Buffer> => {
      const response = await get(url);
      ok({ status: response.statusCode });
      return await new Promise((resolve, reject) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => resolve(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks)));
        response.on("error", reject);
      });
    };
    return {
      json: async (url) => JSON.parse((await bytes(url)).toString()) as unknown,
      bytes,
      async stream(url) {
        const response = await get(url);
        ok({ status: response.statusCode });
        return response;
      },
      close: () => closeAll(agent),
    };
  },
};

async function openPool(connections: number, ca: string) {
  const { HttpPool } = await import("@vg/pool-http");
  return new HttpPool({ maxConnsPerHost: connections, maxIdleConnsPerHost: connections, tls: { ca } });
}

async function openAgent(connections: number, ca: string) {
  const { Agent } = await import("undici");
  return new Agent({ connections, pipelining: 1, allowH2: false, connect: { ca } });
}

async function openNodeAgents(connections: number, ca: string) {
  const { Agent: HttpAgent } = await import("node:http");
  const { Agent: HttpsAgent } = await import("node:https");
  const options = { keepAlive: true, maxSockets: connections };
  return { http: new HttpAgent(options), https: new HttpsAgent({ ...options, ca }) };
}

function closeAll(agents: Record<string, NodeAgent>): void {
  for (const agent of Object.values(agents)) agent.destroy();
}

/** What the two fetches, and ky, have in common. */
interface FetchResponse {
  readonly status: number;
  readonly body: ReadableStream<Uint8Array> | null;
  json(): Promise<unknown>;
  arrayBuffer(): Promise<ArrayBuffer>;
}
type Fetch = (url: string) => Promise<FetchResponse>;

function fetchClient(fetch: Fetch, close: () => unknown): HttpClient {
  return {
    json: async (url) => await ok(await fetch(url)).json(),
    bytes: async (url) => new Uint8Array(await ok(await fetch(url)).arrayBuffer()),
    stream: async (url) => bodyOf(ok(await fetch(url))),
    close,
  };
}

function bodyOf({ body }: Pick<FetchResponse, "body">): AsyncIterable<Uint8Array> {
  if (body === null) throw new Error("a response without a body");
  return body;
}

/** Older builds of the pool have no fetch; `hasFetch` tells. */
function fetchOf(pool: object): Fetch {
  return Reflect.get(pool, "fetch") as Fetch;
}

export async function hasFetch(): Promise<boolean> {
  const { HttpPool } = await import("@vg/pool-http");
  await using pool = new HttpPool();
  return typeof fetchOf(pool) === "function";
}

/** Clients that throw for other statuses by themselves don't come here. */
function ok<T extends { readonly status: number | undefined }>(response: T): T {
  if (response.status !== 200) throw new Error(`status ${response.status}`);
  return response;
}
