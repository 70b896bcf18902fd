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
import { createServer } from "node:http";
import { getHeapStatistics } from "node:v8";
import type { LRUCache } from "@vg/cache";
import type { Logger } from "@vg/logging";
import type { DbPool } from "@vg/pool-db";
import type { HttpPool } from "@vg/pool-http";
import { adaptBase, type BaseServer } from "./adapters/adapt-base.ts";
import type { Adapter, UpgradeListener } from "./adapters/adapter.ts";
import { Upgrades } from "./adapters/upgrades.ts";
import { Advisor } from "./advice/advisor.ts";
import { logFinding, type Finding } from "./advice/finding.ts";
import type { Sample } from "./advice/sample.ts";
import { Admission } from "./admission/admission.ts";
import type { AdmissionStats } from "./admission/admission-stats.ts";
import { serverSettings } from "./admission/server-settings.ts";
import { checkedFunction, checkPort } from "./config/check-arguments.ts";
import { checkConfig, type CheckedConfig } from "./config/check-config.ts";
import type { PooledServerConfig } from "./config/options.ts";
import type { Inference, InferenceCaches } from "./inference/inference.ts";
import { Closers, type Closer } from "./lifecycle/closers.ts";
import { nameWhatKeepsProcess } from "./lifecycle/leftovers.ts";
import { Lifecycle, type LifecycleState, type StateListener } from "./lifecycle/lifecycle.ts";
import { Listening, type ListenAddress } from "./lifecycle/listening.ts";
import type { ShutdownReport } from "./lifecycle/shutdown.ts";
import { onTerminationSignal } from "./lifecycle/signals.ts";
import type { MetricsRegistry } from "./metrics/registry.ts";
import {
  databaseCheck,
  makeAccessLog,
  makeCache,
  makeDbPool,
  makeHttpPool,
  makeInference,
  makeLogger,
  makeMetrics,
} from "./parts.ts";
import { createEndpoints } from "./probes/endpoints.ts";
import type { CheckResult, HealthCheck } from "./probes/background-check.ts";
import { followChecks } from "./probes/follow-checks.ts";
import { HealthChecks } from "./probes/health-checks.ts";
import { healthDocument, type HealthDocument, type PoolStats } from "./probes/health-document.ts";
import type { NodeRequestContext } from "./request/request-context.ts";
import { RequestPipeline } from "./request-pipeline.ts";
import { registerServerMetrics } from "./server-metrics/server-metrics.ts";
import { ServerEnd } from "./server-end.ts";
import { shutdownPhases } from "./shutdown-phases.ts";

/** Seconds; OpenTelemetry's advice for HTTP, and more for the answers of models. */
const DURATION_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 30, 60, 120];

/** Fixed when the process starts. */
const HEAP_LIMIT_MB = getHeapStatistics().heap_size_limit / 1024 / 1024;

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
  /** Answers completions and embeddings from the two caches, from calls in flight, or by a call of yours. */
  readonly inference: Inference;
  /** What `/metrics` shows; add families of your own. */
  readonly metrics: MetricsRegistry;

  readonly #base: Adapter;
  readonly #upgrades: Upgrades;
  readonly #config: CheckedConfig;
  readonly #lifecycle: Lifecycle;
  readonly #checks: HealthChecks;
  readonly #pipeline: RequestPipeline;
  readonly #admission: Admission<NodeRequestContext>;
  readonly #advisor: Advisor;
  readonly #listening: Listening;
  readonly #closers: Closers;
  readonly #runtimeMetrics: { stop(): void };
  readonly #end: ServerEnd;
  readonly #startedAt: number;
  #releaseSignals: () => void = () => undefined;
  #followingChecks = false;

  constructor(base: BaseServer, config: PooledServerConfig = {}) {
    this.#base = adaptBase(base);
    this.#config = checkConfig(config);
    const { clock } = this.#config;
    this.#startedAt = clock.now();
    this.logger = this.#config.logger ?? makeLogger(this.#config);
    this.#lifecycle = new Lifecycle(this.#config.serviceName, (error) =>
      this.logger.error("A listener of onStateChange failed", error),
    );
    this.#closers = new Closers(clock);
    this.metrics = makeMetrics(this.#config, this.logger);
    this.dbPool = makeDbPool(this.#config, this.logger);
    this.httpPool = makeHttpPool(this.#config, this.logger);
    this.inferenceCache = makeCache("inference", this.#config);
    this.embeddingCache = makeCache("embedding", this.#config);
    // What the service keeps there itself is of its own types; `inference` knows its values when it sees them.
    const caches: unknown = { completions: this.inferenceCache, embeddings: this.embeddingCache };
    this.inference = makeInference(caches as InferenceCaches, this.#config, this.metrics);
    const { admission: options, clients, identify } = this.#config;
    this.#admission = new Admission({
      options,
      clients,
      identify,
      logger: this.logger,
      clock,
      routeOf: (context) => (context.route ??= this.#base.routeOf?.(context.request)),
      giveUp: (context, fault) => this.#pipeline.giveUp(context, fault),
    });

    this.#checks = new HealthChecks({
      intervalMs: this.#config.healthIntervalMs,
      onResult: (name, result, previous) => this.#onCheckResult(name, result, previous),
      clock,
      random: Math.random,
    });
    if (this.dbPool !== undefined) this.#checks.add("database", databaseCheck(this.dbPool, this.#config.dbCritical));

    const served = {
      logger: this.logger,
      accessLog: makeAccessLog(this.#config, this.logger),
      requestTimeoutMs: this.#config.requestTimeoutMs,
      clock,
      admission: this.#admission,
      renderProblem: this.#config.renderProblem,
    };
    this.#pipeline = new RequestPipeline({
      ...served,
      base: this.#base,
      endpoints: createEndpoints({
        lifecycle: this.#lifecycle,
        checks: this.#checks,
        health: () => this.getHealth(),
        metrics: this.metrics,
        onError: (error) => this.logger.error("An answer to a scrape failed", error),
      }),
      draining: () => this.#end.refusing,
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
      activeRequests: () => this.#pipeline.active.size,
      state: () => this.state,
      checks: () => this.#checks.results(),
      admission: this.#admission,
      logStats: () => this.logger.getStats(),
      database: this.dbPool && {
        pool: this.dbPool,
        maxIdle: this.#config.dbMaxIdleConns,
        minIdle: this.#config.dbPool.minIdleConns ?? 0,
      },
      databaseOperations: this.#config.dbOperationMetrics,
      httpPool: this.httpPool,
      caches: { inference: this.inferenceCache, embedding: this.embeddingCache },
    });
    this.#advisor = new Advisor({
      intervalMs: this.#config.adviceIntervalMs,
      windowMs: this.#config.adviceWindowMs,
      sample: () => this.#sample(),
      onChange: (finding, change) => logFinding(this.logger, finding, change),
      onError: (error) => this.logger.error("The figures for advice cannot be had", error),
    });
    const http = createServer(serverSettings(options), (request, response) => this.#pipeline.handle(request, response));
    this.#admission.attach(http);
    this.#listening = new Listening(
      http,
      () => this.#admission.guard.sockets(),
      (error) => this.logger.error("The HTTP server reported an error", error),
    );
    this.#upgrades = new Upgrades(http, {
      ...served,
      refusing: () => this.#end.refusing,
      onAnswer: (context, status) => this.#pipeline.upgradeAnswered(context, status),
    });
    this.#end = new ServerEnd({
      clock,
      shutdownTimeoutMs: this.#config.shutdownTimeoutMs,
      shutdownDelayMs: this.#config.shutdownDelayMs,
      lifecycle: this.#lifecycle,
      logger: this.logger,
      ownsLogger: this.#config.logger === undefined,
      listens: () => this.#listening.active,
      prepare: () => {
        this.#checks.stop();
        this.#pipeline.endConnections();
      },
      phases: () =>
        shutdownPhases({
          active: this.#pipeline.active,
          listening: this.#listening,
          upgrades: this.#upgrades,
          closers: this.#closers,
          httpPool: this.httpPool,
          dbPool: this.dbPool,
          caches: [this.inferenceCache, this.embeddingCache, this.#admission],
        }),
      stop: () => {
        this.#runtimeMetrics.stop();
        this.#advisor.stop();
        this.#releaseSignals();
      },
    });
    // Registered first, it is closed after all that the service registers.
    const { close } = this.#base;
    if (close !== undefined) this.#closers.add("base server", close);
    this.#lifecycle.onChange((state, previous, reason) =>
      this.logger.info("Lifecycle", reason === undefined ? { state, previous } : { state, previous, reason }),
    );
  }

  get state(): LifecycleState {
    return this.#lifecycle.state;
  }

  /**
   * Calls `listener` at every change of state, in order; the result takes it off. What it throws or rejects with is
   * logged. `node:diagnostics_channel` has the same as `vg:pooled-server:state`.
   */
  onStateChange(listener: StateListener): () => void {
    return this.#lifecycle.onChange(checkedFunction("onStateChange()", listener));
  }

  /**
   * Adds a dependency to the health checks; while the server listens it is run at once, and counts from its first
   * result on. The result takes it off again.
   * @throws PooledServerConfigError for options that cannot be, and for a name that is taken
   */
  addHealthCheck(name: string, check: HealthCheck): () => void {
    return this.#checks.add(name, check);
  }

  /** Runs every health check now, beside the background rounds. */
  async checkHealth(): Promise<void> {
    await this.#checks.runAll();
  }

  /**
   * Registers something to close when the requests have ended and the pools are still open: writers that flush into
   * the database, workers that use the HTTP pool. Called in the reverse order of registration; the result takes it off.
   *
   * @throws LifecycleError where all of them have been closed already
   */
  onClose(name: string, close: Closer): () => void {
    return this.#closers.add(name, checkedFunction(`onClose(${JSON.stringify(name)})`, close));
  }

  /**
   * Takes upgrades (WebSocket): the listener gets the socket, and everything that happens on it is its own. Without a
   * listener, and without one that the base server brings (Fastify's plugins), an upgrade is an ordinary request, which
   * a WebSocket client takes for a refusal.
   *
   * Several listeners are all called, as those of node:http are, inside a request's context: its `draining` aborts when
   * the server drains, its `signal` when the socket is closed. An upgrade counts as a request with the status that is
   * written, and has its line in the access log when its connection ends. It is held by the client's rate and by
   * `maxUpgradedConnections`. Upgrades that come while the server drains get 503; sockets that are open when the requests
   * have ended are cut.
   */
  onUpgrade(listener: UpgradeListener): void {
    this.#upgrades.add(checkedFunction("onUpgrade()", listener));
  }

  /**
   * Resolves when the base server is loaded: a Fastify instance's plugins; others are from the start.
   * `createPooledServer` and `listen()` await it.
   *
   * @throws BaseServerError where one fails
   */
  async ready(): Promise<void> {
    await this.#base.ready?.();
    for (const listener of this.#base.upgradeListeners?.() ?? []) this.#upgrades.add(listener);
  }

  /**
   * Listens, and is ready (or degraded) from then on. Resolves after the first round of health checks, or when `close()`
   * ended that early.
   *
   * @param port 0 picks a free one
   * @param host default 127.0.0.1; "0.0.0.0" or "::" opens it to the network
   * @returns where it listens
   * @throws ListenError where it cannot, naming the port; `listen` may then be tried again
   * @throws LifecycleError after `close()`, and where it listens already
   * @throws BaseServerError where the base server does not get ready
   */
  async listen(port: number, host: string = "127.0.0.1"): Promise<ListenAddress> {
    checkPort(port);
    await this.ready();
    const address = await this.#listening.bind(port, host);
    if (this.#config.handleSignals && !this.#end.begun) {
      this.#releaseSignals = onTerminationSignal((signal) => void this.#closeOnSignal(signal));
    }
    this.#advisor.start();
    await this.#checks.start();
    this.#followingChecks = true;
    followChecks(this.#lifecycle, this.#checks);
    return address;
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

  /** What admission does: places, waits, refusals, rates, and what clients did wrong. */
  getAdmissionStats(): AdmissionStats {
    return this.#admission.getStats();
  }

  /**
   * What the figures of the last minutes say could be better, with the figures, the option to change and what to do;
   * warnings first. A finding appears when it holds for a while, and goes when it does not; both are logged.
   */
  advise(): readonly Finding[] {
    return this.#advisor.findings;
  }

  /** The document that `/v2/health` shows. */
  getHealth(): HealthDocument {
    const { serviceName: name, serviceVersion: version, clock } = this.#config;
    return healthDocument({
      state: this.state,
      name,
      version,
      uptimeMs: clock.now() - this.#startedAt,
      requests: this.#pipeline,
      limitsRate: this.#admission.limiter !== undefined,
      shedsLoad: this.#admission.gate.limit !== Infinity,
      checks: this.#checks.results(),
      pools: this.getPoolStats(),
      findings: this.advise(),
    });
  }

  /**
   * Closes everything in order, under one deadline that counts from this call: `/readyz` turns to 503; for
   * `shutdownDelayMs` everything is still served, each answer as the last of its connection; then nothing new is
   * accepted; requests end, or are told to; then what `onClose` registered, the HTTP pool, the database pool, the caches;
   * last, the log is flushed. What did not end in time is in the report and in the log.
   *
   * Never rejects. Idempotent: every call gets the same promise. A later call may bring the deadline forward.
   *
   * @param options.deadlineMs default: `shutdownTimeoutMs` at the first call
   */
  close(options: { deadlineMs?: number } = {}): Promise<ShutdownReport> {
    return this.#end.begin(options);
  }

  /** `close()` without waiting for anything: what is under way is aborted and cut. */
  destroy(): Promise<ShutdownReport> {
    return this.close({ deadlineMs: 0 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #closeOnSignal(signal: NodeJS.Signals): Promise<void> {
    this.logger.info("Closing on a signal", { signal });
    const { clean } = await this.close();
    if (!clean) process.exitCode ??= 1;
    nameWhatKeepsProcess((handles) =>
      this.logger.warn("The server is closed, but something else keeps the process alive", { handles }),
    );
  }

  #onCheckResult(name: string, { status, critical, output }: CheckResult, previous: CheckResult): void {
    if (status === "fail" && previous.status !== "fail") {
      this.logger.warn("A health check fails", { check: name, critical, output });
    }
    if (status === "pass" && previous.status === "fail") {
      this.logger.info("A health check passes again", { check: name, critical });
    }
    if (this.#followingChecks) followChecks(this.#lifecycle, this.#checks);
  }

  #sample(): Sample {
    return {
      atMs: this.#config.clock.now(),
      db: this.dbPool?.getStats(),
      http: this.httpPool.getStats(),
      caches: {
        inference_cache: this.inferenceCache.getStats(),
        embedding_cache: this.embeddingCache.getStats(),
      },
      heapLimitMb: HEAP_LIMIT_MB,
    };
  }
}

function stats(part: { getStats(): object }): Readonly<Record<string, unknown>> {
  return part.getStats() as Readonly<Record<string, unknown>>;
}
