/**
 * PooledServer puts one server in front of a base server and gives it what a service needs around it: a logger, a
 * database pool, an HTTP pool, two caches, probes, metrics and one lifecycle.
 *
 *   node:http ─► RequestPipeline ─► base server ─► server.dbPool, server.httpPool, server.inferenceCache …
 *                    │
 *                    └► /livez /readyz /startupz /v2/health /metrics
 *
 * Invariants
 * - It starts whatever its dependencies do. A dependency that fails is a failed health check: the server is degraded,
 *   goes on serving what it can, and is ready again when the check passes. Nothing needs a restart.
 * - Everything that it opened it closes, in the order in which requests need it, under one deadline.
 * - A probe never waits for a dependency.
 */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import { LRUCache } from "@vg/cache";
import type { FlushReport, Logger } from "@vg/logging";
import type { DbPool } from "@vg/pool-db";
import type { HttpPool } from "@vg/pool-http";
import { RateLimiter } from "./admission/rate-limiter.ts";
import { adaptBase, type BaseServer } from "./adapters/node-http.ts";
import { checkConfig, type CheckedConfig } from "./config/check-config.ts";
import type { PooledServerConfig } from "./config/options.ts";
import { LifecycleError, ListenError, PooledServerConfigError } from "./errors.ts";
import { Lifecycle, type LifecycleState } from "./lifecycle/lifecycle.ts";
import { runShutdown, type ShutdownReport, type ShutdownStep } from "./lifecycle/shutdown.ts";
import { onTerminationSignal } from "./lifecycle/signals.ts";
import type { MetricsRegistry } from "./metrics/registry.ts";
import { databaseCheck, makeDbPool, makeHttpPool, makeLogger, makeMetrics } from "./parts.ts";
import { createEndpoints } from "./probes/endpoints.ts";
import { HealthChecks, type HealthCheck } from "./probes/health-checks.ts";
import { uptimeText, type HealthDocument, type PoolStats } from "./probes/health-document.ts";
import { RequestPipeline } from "./request/request-pipeline.ts";
import { registerServerMetrics } from "./server-metrics/server-metrics.ts";

/** Seconds; OpenTelemetry's advice for HTTP, and more for the answers of models. */
const DURATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 120];

/** How long a request whose connection was cut may take to be over. */
const CUT_MS = 100;

const INFERENCE_CLEANUP_MS = 5 * 60_000;
const EMBEDDING_CLEANUP_MS = 10 * 60_000;

/**
 * Wraps a base server with pools, caches, probes, metrics and a lifecycle. Resolves when the first round of health
 * checks is over, whatever its outcome; nothing listens before `listen()`.
 *
 * @typeParam I what the inference cache holds
 * @typeParam E what the embedding cache holds
 * @throws PooledServerConfigError for an option that cannot be; nothing stays open
 */
export async function createPooledServer<I = unknown, E = unknown>(
  base: BaseServer,
  config: PooledServerConfig = {},
): Promise<PooledServer<I, E>> {
  const server = new PooledServer<I, E>(base, config);
  await server.checkHealth();
  return server;
}

/** Made by `createPooledServer`. */
export class PooledServer<I = unknown, E = unknown> implements AsyncDisposable {
  readonly logger: Logger;
  /** `undefined` where no `postgresDsn` is configured. */
  readonly dbPool: DbPool | undefined;
  readonly httpPool: HttpPool;
  /** Completions by canonical key; 1,000 entries for an hour unless configured. */
  readonly inferenceCache: LRUCache<string, I>;
  /** Embeddings by canonical key; 500 entries for a day unless configured. */
  readonly embeddingCache: LRUCache<string, E>;
  /** What `/metrics` shows; add families of your own. */
  readonly metrics: MetricsRegistry;

  readonly #config: CheckedConfig;
  readonly #lifecycle: Lifecycle = new Lifecycle((error) =>
    this.logger.error("A listener of onStateChange failed", error),
  );
  readonly #checks: HealthChecks;
  readonly #pipeline: RequestPipeline;
  readonly #limiter: RateLimiter | undefined;
  readonly #server: Server;
  readonly #closers: { name: string; close: (deadlineMs: number) => unknown }[] = [];
  readonly #runtimeMetrics: { stop(): void };
  readonly #startedAt: number;
  #releaseSignals: () => void = () => undefined;
  #refusing = false;
  #listening = false;
  #closing: Promise<ShutdownReport> | undefined;

  constructor(base: BaseServer, config: PooledServerConfig = {}) {
    const handler = adaptBase(base);
    this.#config = checkConfig(config);
    const { clock } = this.#config;
    this.#startedAt = clock.now();
    this.logger = this.#config.logger ?? makeLogger(this.#config);
    this.metrics = makeMetrics(this.#config, this.logger);
    this.dbPool = makeDbPool(this.#config, this.logger);
    this.httpPool = makeHttpPool(this.#config, this.logger);
    const { inferenceCache, embeddingCache } = this.#config;
    this.inferenceCache = new LRUCache({
      name: "inference",
      ...inferenceCache,
      cleanupIntervalMs: INFERENCE_CLEANUP_MS,
      clock,
    });
    this.embeddingCache = new LRUCache({
      name: "embedding",
      ...embeddingCache,
      cleanupIntervalMs: EMBEDDING_CLEANUP_MS,
      clock,
    });
    const perSecond = this.#config.rateLimitPerSecond;
    this.#limiter = perSecond === 0 ? undefined : new RateLimiter(perSecond, clock);

    this.#checks = new HealthChecks({
      intervalMs: this.#config.healthIntervalMs,
      onChange: () => this.#followChecks(),
      clock,
    });
    if (this.dbPool !== undefined) this.#checks.add("database", databaseCheck(this.dbPool, this.#config.dbCritical));

    this.#pipeline = new RequestPipeline({
      base: handler,
      endpoints: createEndpoints({
        state: () => this.state,
        ready: () => this.#lifecycle.serving && this.#checks.criticalPass,
        serving: () => this.#lifecycle.serving,
        health: () => this.getHealth(),
        metrics: this.metrics,
        onError: (error) => this.logger.error("An answer to a scrape failed", error),
      }),
      logger: this.logger,
      clock,
      draining: () => this.#refusing,
      limiter: this.#limiter,
      clients: this.#config.clients,
      identify: this.#config.identify,
      renderProblem: this.#config.renderProblem,
      duration: this.metrics.histogram({
        name: "http_server_request_duration_seconds",
        help: "Duration of requests, probes excluded.",
        buckets: DURATION_BUCKETS,
        labelNames: ["http_request_method", "http_route", "http_response_status_code"],
      }),
    });
    this.#runtimeMetrics = registerServerMetrics(this.metrics, {
      serviceName: this.#config.serviceName,
      serviceVersion: this.#config.serviceVersion,
      activeRequests: () => this.#pipeline.active,
      state: () => this.state,
      checks: () => this.#checks.results(),
      logStats: () => this.logger.getStats(),
      database: this.dbPool && {
        pool: this.dbPool,
        maxIdle: this.#config.dbMaxIdleConns,
        minIdle: this.#config.dbPool.minIdleConns ?? 0,
      },
      httpPool: this.httpPool,
      caches: { inference: this.inferenceCache, embedding: this.embeddingCache },
    });
    this.#server = createServer((request, response) => this.#pipeline.handle(request, response));
    this.#lifecycle.onChange((state, previous) => this.logger.info("Lifecycle", { state, previous }));
  }

  get state(): LifecycleState {
    return this.#lifecycle.state;
  }

  /** Calls `listener` at every change of state. */
  onStateChange(listener: (state: LifecycleState, previous: LifecycleState) => void): void {
    this.#lifecycle.onChange(listener);
  }

  /** Adds a dependency to the health checks. It counts from the next round on. */
  addHealthCheck(name: string, check: HealthCheck): void {
    this.#checks.add(name, check);
  }

  /** Runs every health check now, beside the background rounds. */
  async checkHealth(): Promise<void> {
    await this.#checks.runAll();
  }

  /**
   * Registers something to close when the requests have ended and the pools are still open: writers that flush into
   * the database, workers that use the HTTP pool. Called in the reverse order of registration.
   *
   * @param close may be async; gets the milliseconds that it may take, and the shutdown goes on without it after that.
   *   Strings that it returns say what was lost, for the report and the log.
   */
  onClose(name: string, close: (deadlineMs: number) => unknown): void {
    this.#closers.unshift({ name, close });
  }

  /**
   * Listens, and is ready (or degraded) from then on.
   *
   * @param port 0 picks a free one
   * @param host default 127.0.0.1; "0.0.0.0" or "::" opens it to the network
   * @returns where it listens
   * @throws ListenError where it cannot, naming the port; `listen` may then be tried again
   * @throws LifecycleError after `close()`, and where it listens already
   */
  async listen(port: number, host: string = "127.0.0.1"): Promise<{ host: string; port: number; url: string }> {
    if (!Number.isInteger(port) || port < 0 || port > 65_535) {
      throw new PooledServerConfigError(`PooledServer: port must be a whole number from 0 to 65535, got ${port}`);
    }
    if (this.#closing !== undefined) throw new LifecycleError("listen() after close(): make a new server instead");
    if (this.#listening) throw new LifecycleError("The server listens already");
    this.#listening = true;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#server.once("error", reject);
        this.#server.listen(port, host, () => {
          this.#server.off("error", reject);
          this.#server.on("error", (error) => this.logger.error("The HTTP server reported an error", error));
          resolve();
        });
      });
    } catch (error) {
      this.#listening = false;
      throw new ListenError(host, port, error as NodeJS.ErrnoException);
    }
    if (this.#config.handleSignals) {
      this.#releaseSignals = onTerminationSignal((signal) => {
        this.logger.info("Closing on a signal", { signal });
        void this.close();
      });
    }
    await this.#checks.start();
    const address = this.#server.address() as AddressInfo;
    const shown = address.family === "IPv6" ? `[${address.address}]` : address.address;
    return { host: address.address, port: address.port, url: `http://${shown}:${address.port}` };
  }

  /** The statistics of the pools and caches, by the names that `/v2/health` has for them. */
  getPoolStats(): PoolStats {
    return Object.freeze({
      ...(this.dbPool === undefined ? {} : { db_pool: stats(this.dbPool) }),
      http_pool: stats(this.httpPool),
      inference_cache: stats(this.inferenceCache),
      embedding_cache: stats(this.embeddingCache),
    });
  }

  /** The document that `/v2/health` shows. */
  getHealth(): HealthDocument {
    const uptimeSeconds = (this.#config.clock.now() - this.#startedAt) / 1000;
    const { requestCount, errorCount } = this.#pipeline;
    const { serviceName: name, serviceVersion: version } = this.#config;
    return {
      status: this.state === "ready" ? "ok" : this.state,
      version,
      timestamp: new Date().toISOString(),
      service: { name, version, uptime: uptimeText(uptimeSeconds) },
      metrics: { requests_total: requestCount },
      features: this.#features(),
      profiler: {
        uptime_seconds: Math.round(uptimeSeconds * 1000) / 1000,
        request_count: requestCount,
        error_count: errorCount,
        error_rate: requestCount === 0 ? 0 : errorCount / requestCount,
        latency: this.#pipeline.latency(),
      },
      checks: this.#checks.results(),
      pools: this.getPoolStats(),
    };
  }

  /**
   * Closes everything in order, under one deadline (`shutdownTimeoutMs`): `/readyz` turns to 503; after
   * `shutdownDelayMs` nothing new is accepted; requests end, or their signals abort; then what `onClose` registered,
   * the HTTP pool, the database pool, the caches; last, the log is flushed. Idempotent: every call gets the same
   * promise, which never rejects. What did not end in time is in the report and in the log.
   */
  close(): Promise<ShutdownReport> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #close(): Promise<ShutdownReport> {
    this.#lifecycle.to("draining");
    this.#checks.stop();
    const { shutdownDelayMs, shutdownTimeoutMs, clock } = this.#config;
    if (shutdownDelayMs > 0 && this.#listening) await delay(shutdownDelayMs);
    this.#refusing = true;
    const report = await runShutdown(this.#closingSteps(), shutdownTimeoutMs - shutdownDelayMs, clock);
    this.#runtimeMetrics.stop();
    this.#releaseSignals();
    this.#lifecycle.to("closed");
    const { clean, duration_ms, stuck } = report;
    if (clean) this.logger.info("Closed", { duration_ms });
    else this.logger.warn("Closed, but not everything ended by itself", { duration_ms, stuck });
    if (this.#config.logger === undefined) await this.logger.close();
    else await this.logger.flush();
    return report;
  }

  #closingSteps(): ShutdownStep[] {
    return [
      { name: "requests", share: 0.6, run: (deadlineMs) => this.#endRequests(deadlineMs) },
      ...this.#closers.map(({ name, close }) => ({
        name,
        share: 0.5,
        run: async (deadlineMs: number) => {
          const lost = await close(deadlineMs);
          return Array.isArray(lost) ? lost.map(String) : undefined;
        },
      })),
      {
        name: "http pool",
        share: 0.5,
        run: async (deadlineMs) => (await this.httpPool.close({ deadlineMs })).killed_requests,
      },
      {
        name: "database pool",
        share: 0.9,
        run: async (deadlineMs) => {
          const report = await this.dbPool?.close({ deadlineMs });
          return report?.killed.map(
            (held) => `connection ${held.process_id} was held for ${Math.round(held.held_ms)} ms`,
          );
        },
      },
      {
        name: "caches",
        share: 1,
        run: () => {
          this.inferenceCache.close();
          this.embeddingCache.close();
          this.#limiter?.close();
        },
      },
      {
        name: "log",
        share: 1,
        run: async (deadlineMs) => {
          // A logger of the user's may be one that gives no report.
          const report = (await this.logger.flush({ deadlineMs })) as FlushReport | undefined;
          const left = report?.lines_left ?? 0;
          return left > 0 ? [`${left} log lines were not taken by their destination`] : undefined;
        },
      },
    ];
  }

  /** Waits for the active requests, aborts what is left near the deadline, and cuts what ignores that. */
  async #endRequests(deadlineMs: number): Promise<string[]> {
    const closed = new Promise<void>((resolve) => {
      if (this.#listening) this.#server.close(() => resolve());
      else resolve();
    });
    this.#server.closeIdleConnections();
    let cut: string[] = [];
    if (!(await this.#pipeline.idle(deadlineMs * 0.8))) {
      cut = this.#pipeline.abortActive(new LifecycleError("The server is shutting down"));
      await this.#pipeline.idle(deadlineMs * 0.2);
    }
    this.#server.closeAllConnections();
    await closed;
    // The books of what was cut are closed a moment after its connection: its log line, its usage row.
    await this.#pipeline.idle(CUT_MS);
    return cut.map((request) => `${request} was aborted`);
  }

  #followChecks(): void {
    if (!this.#listening || this.#closing !== undefined) return;
    this.#lifecycle.to(this.#checks.allPass ? "ready" : "degraded");
  }

  #features(): string[] {
    return [
      "structured_logging",
      "inference_cache",
      "embedding_cache",
      "http_pool",
      ...(this.dbPool === undefined ? [] : ["db_pool"]),
      ...(this.#limiter === undefined ? [] : ["rate_limit"]),
      "metrics",
    ];
  }
}

function stats(part: { getStats(): object }): Readonly<Record<string, unknown>> {
  return part.getStats() as Readonly<Record<string, unknown>>;
}
