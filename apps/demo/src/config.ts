import { readEnvironment } from "@vg/internal";
import { pooledServerConfigFromEnv, type PooledServerConfig } from "@vg/pooled-server";
import { MODELS } from "./models/catalogue.ts";

/** A setting of the demo that cannot be; the message names the variable and the remedy. */
export class DemoConfigError extends Error {
  override readonly name = "DemoConfigError";
  readonly code = "ERR_VG_DEMO_CONFIG";
}

export interface DemoConfig {
  host: string;
  port: number;
  /** What clients must present; anything but loopback requires it. */
  apiKey: string | undefined;
  /** `undefined`: the embedded model. */
  upstreamBaseUrl: string | undefined;
  upstreamApiKey: string | undefined;
  /** The upstream's model by our id, or for all of them under "*". */
  upstreamModels: Readonly<Record<string, string>>;
  /** Where the embedded database keeps its data; `undefined`: in a temporary folder that goes at the end. */
  dataDir: string | undefined;
  maxBodyBytes: number;
  server: PooledServerConfig;
}

const LOOPBACK = new Set(["127.0.0.1", "localhost", "::1"]);

/** @throws DemoConfigError, PooledServerConfigError for what cannot be */
export function demoConfigFromEnv(env: Record<string, string | undefined> = process.env): DemoConfig {
  const fail = (message: string): DemoConfigError => new DemoConfigError(message);
  const read = readEnvironment(env, fail);
  const host = read.text("HOST") ?? "127.0.0.1";
  const apiKey = read.text("API_KEY");
  if (!LOOPBACK.has(host) && apiKey === undefined) {
    throw fail(`HOST=${host} opens the service to the network: set API_KEY too, or leave HOST at 127.0.0.1.`);
  }
  return {
    host,
    port: read.integer("PORT", { max: 65_535 }) ?? 8080,
    apiKey,
    upstreamBaseUrl: upstreamUrl(read.text("UPSTREAM_BASE_URL"), fail),
    upstreamApiKey: read.text("UPSTREAM_API_KEY"),
    upstreamModels: upstreamModels(read.text("UPSTREAM_MODEL"), fail),
    dataDir: read.text("DEMO_DATA_DIR"),
    maxBodyBytes: read.integer("MAX_BODY_BYTES", { min: 1_024, max: 1_073_741_824 }) ?? 1_048_576,
    server: pooledServerConfigFromEnv(env),
  };
}

function upstreamUrl(text: string | undefined, fail: (message: string) => Error): string | undefined {
  if (text === undefined) return undefined;
  const url = URL.parse(text);
  if (url === null || !["http:", "https:"].includes(url.protocol)) {
    throw fail("UPSTREAM_BASE_URL must be an http(s) URL such as http://127.0.0.1:11434/v1.");
  }
  if (url.username !== "" || url.password !== "" || url.search !== "" || url.hash !== "") {
    throw fail("UPSTREAM_BASE_URL must hold no user, password, query or fragment; a key goes into UPSTREAM_API_KEY.");
  }
  return text;
}

/** `llama3`, or `general=llama3,0x5678-SQLAgent=sqlcoder`. */
function upstreamModels(text: string | undefined, fail: (message: string) => Error): Record<string, string> {
  if (text === undefined) return {};
  if (!text.includes("=")) return { "*": text };
  const models: Record<string, string> = {};
  for (const pair of text.split(",")) {
    // The first "=" ends the id: a model's name may hold one.
    const [, id = "", model = ""] = /^\s*([^=]*?)\s*=\s*(.*?)\s*$/.exec(pair) ?? [];
    const known = id === "*" || MODELS.some((candidate) => candidate.id === id);
    if (!known || model === "") {
      const ids = MODELS.map((candidate) => candidate.id).join(", ");
      throw fail(`UPSTREAM_MODEL must be a model's name, or pairs like general=llama3,*=llama3 with ids of ${ids}.`);
    }
    models[id] = model;
  }
  return models;
}
