/**
 * VaultGemma LocalAI, put together: the database and the model that it brings where none is configured, the pooled
 * server, the gateway in it. What is started last is stopped first.
 */
import { createLogger, type Logger } from "@vg/logging";
import { HttpPool } from "@vg/pool-http";
import { createPooledServer, DEFAULTS, type PooledServer, type Problem, type ShutdownReport } from "@vg/pooled-server";
import type { IncomingMessage } from "node:http";
import { DemoConfigError, type DemoConfig } from "./config.ts";
import { startDatabase, startModel, type EmbeddedDatabase, type EmbeddedModel } from "./embedded-parts.ts";
import { KeyCheck } from "./gateway/access.ts";
import { dialectOf, errorDocument } from "./gateway/api-error.ts";
import type { GatewayParts } from "./gateway/call.ts";
import { ChatService } from "./gateway/chat-service.ts";
import { EmbeddingService } from "./gateway/embedding-service.ts";
import { createGateway } from "./gateway/gateway.ts";
import { Upstream } from "./gateway/upstream.ts";
import { UsageWriter } from "./usage/usage-writer.ts";

export const SERVICE = { name: "vaultgemma-localai", version: "2.2.0" } as const;

/** What the caches may hold at most: the content is the clients' and the model server's to choose. */
const INFERENCE_CACHE_BYTES = 256 * 1024 * 1024;
const EMBEDDING_CACHE_BYTES = 64 * 1024 * 1024;
/** A check of the model server has a connection of its own: that all the others are in use does not make it ill. */
const CHECK_POOL = {
  name: "upstream-check",
  maxConnsPerHost: 1,
  maxIdleConnsPerHost: 1,
  maxIdleConns: 1,
  maxRedirects: 0,
} as const;

export interface Demo {
  readonly url: string;
  readonly server: PooledServer;
  readonly usage: UsageWriter | undefined;
  readonly upstream: { readonly baseUrl: string; readonly embedded: boolean };
  readonly database: "embedded" | "configured" | "none";
  /** The embedded parts, for tests that break them. */
  readonly embedded: { readonly database: EmbeddedDatabase | undefined; readonly model: EmbeddedModel | undefined };
  /** Drains and stops everything; idempotent. */
  close(): Promise<ShutdownReport>;
}

/** Starts the whole service. When it fails, what it had started is stopped again. */
export async function startDemo(config: DemoConfig): Promise<Demo> {
  const logger = config.server.logger ?? makeLogger(config);
  const started: (() => Promise<unknown>)[] = [];
  const stopAll = async (): Promise<void> => {
    for (const stop of started.splice(0).toReversed()) await stop();
  };
  try {
    const { database, model } = await startEmbeddedParts(config, logger, started);
    const { server, usage, upstreamUrl } = await startServer(config, logger, { database, model });
    let report: ShutdownReport | undefined;
    started.push(async () => {
      report = await server.close();
    });
    const { url } = await server.listen(config.port, config.host);
    let closing: Promise<ShutdownReport> | undefined;
    return {
      url,
      server,
      usage,
      upstream: { baseUrl: upstreamUrl, embedded: model !== undefined },
      database: database !== undefined ? "embedded" : server.dbPool === undefined ? "none" : "configured",
      embedded: { database, model },
      close: () => (closing ??= stopAll().then(() => report as ShutdownReport)),
    };
  } catch (error) {
    await stopAll();
    throw error;
  }
}

/** Both at once: neither needs the other. What one has started is stopped where the other fails. */
async function startEmbeddedParts(
  config: DemoConfig,
  logger: Logger,
  started: (() => Promise<unknown>)[],
): Promise<EmbeddedParts> {
  const noted = <T extends { stop(): Promise<void> }>(part: T): T => {
    started.push(() => part.stop());
    return part;
  };
  const { postgresDsn } = config.server;
  const [database, model] = await Promise.allSettled([
    postgresDsn === undefined ? startDatabase(config.dataDir, logger).then(noted) : undefined,
    config.upstreamBaseUrl === undefined ? startModel(logger).then(noted) : undefined,
  ]);
  if (model.status === "rejected") throw model.reason;
  if (database.status === "fulfilled") return { database: database.value, model: model.value };
  if (config.dataDir !== undefined) {
    const { message } = database.reason as Error;
    throw new DemoConfigError(`DEMO_DATA_DIR=${config.dataDir}: ${message}`, { cause: database.reason });
  }
  // The service is of use without usage rows; it says so and goes on.
  logger.error("The embedded database could not be started; usage is not recorded", database.reason);
  return { database: undefined, model: model.value };
}

interface EmbeddedParts {
  database: EmbeddedDatabase | undefined;
  model: EmbeddedModel | undefined;
}

async function startServer(
  config: DemoConfig,
  logger: Logger,
  { database, model }: EmbeddedParts,
): Promise<{ server: PooledServer; usage: UsageWriter | undefined; upstreamUrl: string }> {
  const {
    logLevel: _level,
    logLevels: _levels,
    logFormat: _format,
    logTimeFormat: _time,
    logCaller: _caller,
    ...serverConfig
  } = config.server;
  const postgresDsn = serverConfig.postgresDsn ?? database?.dsn;
  const keys = new KeyCheck(config.apiKey);
  let parts: GatewayParts | undefined;
  const server = await createPooledServer(
    createGateway(() => parts as GatewayParts),
    {
      // A demo shows its cache at work: every whole answer is kept, also one that another throw of the dice would make
      // another one, that was cut at the request's own limit, or that calls a tool.
      inferenceCacheMode: "always",
      inference: { alsoStore: ["length", "tool_calls"] },
      inferenceCacheMaxBytes: INFERENCE_CACHE_BYTES,
      // The gateway has a limit of its own, and its own words for it.
      maxBodyBytes: Math.max(config.maxBodyBytes, DEFAULTS.maxBodyBytes),
      embeddingCacheMaxBytes: EMBEDDING_CACHE_BYTES,
      ...serverConfig,
      ...(postgresDsn === undefined ? {} : { postgresDsn }),
      logger,
      serviceName: SERVICE.name,
      serviceVersion: SERVICE.version,
      renderProblem: renderInDialect,
      // Only a key that was checked is a name; everybody else is known by the address.
      identify: (request) => (keys.isValid(request) ? "key" : undefined),
    },
  );
  const { dbPool, httpPool } = server;
  const usage = dbPool === undefined ? undefined : new UsageWriter(dbPool, logger);
  const upstreamUrl = config.upstreamBaseUrl ?? (model as EmbeddedModel).baseUrl;
  const checkPool = new HttpPool(CHECK_POOL);
  server.onClose("upstream check", () => checkPool.destroy());
  const upstream = new Upstream({
    baseUrl: upstreamUrl,
    apiKey: model === undefined ? config.upstreamApiKey : model.apiKey,
    models: model === undefined ? config.upstreamModels : {},
    httpPool,
    checkPool,
    embedded: model !== undefined,
  });
  parts = {
    server,
    chat: new ChatService(server.inference, upstream),
    embeddings: new EmbeddingService(server.inference, upstream),
    usage,
    backendType: upstream.backendType,
    keys,
    maxBodyBytes: config.maxBodyBytes,
  };
  server.addHealthCheck("upstream", { run: ({ signal }) => upstream.check(signal), timeoutMs: 3_000 });
  if (usage !== undefined) {
    server.onClose("usage rows", (deadlineMs) => usage.close(deadlineMs));
    registerUsageMetrics(server, usage);
  }
  return { server, usage, upstreamUrl };
}

function registerUsageMetrics(server: PooledServer, usage: UsageWriter): void {
  server.metrics.collect(() => {
    const { queued, written, lost } = usage.getStats();
    return [
      {
        name: "vg_usage_rows_queued",
        help: "Usage rows waiting for the database.",
        type: "gauge",
        samples: [{ value: queued }],
      },
      {
        name: "vg_usage_rows_written_total",
        help: "Usage rows written.",
        type: "counter",
        samples: [{ value: written }],
      },
      { name: "vg_usage_rows_lost_total", help: "Usage rows lost.", type: "counter", samples: [{ value: lost }] },
    ];
  });
}

function renderInDialect(problem: Problem, request: IncomingMessage): unknown {
  return errorDocument(dialectOf(request.url ?? "/"), problem);
}

function makeLogger({ server }: DemoConfig): Logger {
  const {
    logLevel: level,
    logLevels: levels,
    logFormat: format,
    logTimeFormat: timeFormat,
    logCaller: caller,
  } = server;
  return createLogger({ level, levels, format, timeFormat, caller });
}
