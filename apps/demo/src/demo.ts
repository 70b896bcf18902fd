/**
 * VaultGemma LocalAI, put together: the database and the model that it brings where none is configured, the pooled
 * server, the gateway in it. What is started last is stopped first.
 */
import { randomBytes } from "node:crypto";
import { startEmbeddedPostgres, type EmbeddedPostgres } from "@vg/internal/embedded-postgres";
import { createLogger, type Logger } from "@vg/logging";
import { createPooledServer, type Problem, type ShutdownReport } from "@vg/pooled-server";
import type { IncomingMessage } from "node:http";
import type { DemoConfig } from "./config.ts";
import { dialectOf, errorDocument } from "./gateway/api-error.ts";
import type { GatewayParts, GatewayServer } from "./gateway/call.ts";
import { ChatService } from "./gateway/chat-service.ts";
import type { Completion } from "./gateway/completion.ts";
import { EmbeddingService } from "./gateway/embedding-service.ts";
import { createGateway } from "./gateway/gateway.ts";
import { Upstream } from "./gateway/upstream.ts";
import { spawnUpstream, type UpstreamProcess } from "./upstream/index.ts";
import { UsageWriter } from "./usage/usage-writer.ts";

export const SERVICE = { name: "vaultgemma-localai", version: "2.2.0" } as const;

/** Made for this start: whoever else is on this machine gets nothing from the embedded model. */
const EMBEDDED_KEY = randomBytes(24).toString("base64url");
/** By then nobody uses it any more. */
const UPSTREAM_CLOSE_MS = 500;

export interface Demo {
  readonly url: string;
  readonly server: GatewayServer;
  readonly usage: UsageWriter | undefined;
  readonly upstream: { readonly baseUrl: string; readonly embedded: boolean };
  readonly database: "embedded" | "configured" | "none";
  /** The embedded parts, for tests that break them. */
  readonly embedded: { postgres: EmbeddedPostgres | undefined; upstream: UpstreamProcess | undefined };
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
    const [postgres, model] = await startEmbeddedParts(config, logger, started);
    const baseUrl = config.upstreamBaseUrl ?? (model as UpstreamProcess).baseUrl;
    const { server, usage } = await startServer(config, logger, postgres?.dsn, baseUrl);
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
      upstream: { baseUrl, embedded: model !== undefined },
      database: postgres !== undefined ? "embedded" : server.dbPool === undefined ? "none" : "configured",
      embedded: { postgres, upstream: model },
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
): Promise<[EmbeddedPostgres | undefined, UpstreamProcess | undefined]> {
  const postgres =
    config.server.postgresDsn === undefined
      ? startEmbeddedPostgres({
          database: "localai",
          ...(config.dataDir === undefined ? {} : { dataDir: config.dataDir }),
        }).then((server) => {
          started.push(() => server.stop());
          return server;
        })
      : Promise.resolve(undefined);
  const model =
    config.upstreamBaseUrl === undefined
      ? spawnUpstream({ apiKey: EMBEDDED_KEY }).then((upstream) => {
          let stopping = false;
          started.push(() => {
            stopping = true;
            return upstream.close({ deadlineMs: UPSTREAM_CLOSE_MS });
          });
          void upstream.exited.then((how) => {
            if (!stopping) logger.error("The embedded model ended by itself; restart the service", how);
          });
          return upstream;
        })
      : Promise.resolve(undefined);
  const [database, upstream] = await Promise.allSettled([postgres, model]);
  if (upstream.status === "rejected") throw upstream.reason;
  if (database.status === "rejected") {
    // The service is of use without usage rows; it says so and goes on.
    logger.error("The embedded database could not be started; usage is not recorded", database.reason);
    return [undefined, upstream.value];
  }
  return [database.value, upstream.value];
}

async function startServer(
  config: DemoConfig,
  logger: Logger,
  embeddedDsn: string | undefined,
  baseUrl: string,
): Promise<{ server: GatewayServer; usage: UsageWriter | undefined }> {
  const { logLevel: _level, logFormat: _format, logTimeFormat: _time, ...serverConfig } = config.server;
  const postgresDsn = serverConfig.postgresDsn ?? embeddedDsn;
  let parts: GatewayParts | undefined;
  const server: GatewayServer = await createPooledServer<Completion, readonly number[]>(
    createGateway(() => parts as GatewayParts),
    {
      ...serverConfig,
      ...(postgresDsn === undefined ? {} : { postgresDsn }),
      logger,
      serviceName: SERVICE.name,
      serviceVersion: SERVICE.version,
      renderProblem: renderInDialect,
    },
  );
  const { dbPool, httpPool } = server;
  const usage = dbPool === undefined ? undefined : new UsageWriter(dbPool, logger);
  const embedded = config.upstreamBaseUrl === undefined;
  const apiKey = embedded ? EMBEDDED_KEY : config.upstreamApiKey;
  const models = embedded ? {} : config.upstreamModels;
  const upstream = new Upstream({ baseUrl, apiKey, models, httpPool, embedded });
  parts = {
    server,
    chat: new ChatService(server.inferenceCache, upstream),
    embeddings: new EmbeddingService(server.embeddingCache, upstream),
    usage,
    backendType: upstream.backendType,
    apiKey: config.apiKey,
    maxBodyBytes: config.maxBodyBytes,
  };
  server.addHealthCheck("upstream", { run: ({ signal }) => upstream.check(signal), timeoutMs: 3_000 });
  if (usage !== undefined) {
    server.onClose("usage rows", (deadlineMs) => usage.close(deadlineMs));
    registerUsageMetrics(server, usage);
  }
  return { server, usage };
}

function registerUsageMetrics(server: GatewayServer, usage: UsageWriter): void {
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

function makeLogger({ server: { logLevel: level, logFormat: format, logTimeFormat: timeFormat } }: DemoConfig): Logger {
  return createLogger({ level, format, timeFormat });
}
