import { startEmbeddedPostgres, type EmbeddedPostgres } from "@vg/internal/embedded-postgres";
import { captureLogs } from "@vg/logging/testing";
import { DbPool } from "@vg/pool-db";
import { afterAll, onTestFinished } from "vitest";
import { demoConfigFromEnv, type DemoConfig } from "../../src/config.ts";
import { startDemo, type Demo } from "../../src/demo.ts";

export interface TestDemo extends Demo {
  logs: ReturnType<typeof captureLogs>;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  get(path: string, headers?: Record<string, string>): Promise<Response>;
}

/** Of the demos of one file. To start a PostgreSQL takes longer than most of what is tested here. */
let postgres: Promise<EmbeddedPostgres> | undefined;
let databases = 0;
afterAll(async () => {
  await (await postgres)?.stop();
});

/** An empty database of one's own. */
async function freshDatabase(): Promise<string> {
  postgres ??= startEmbeddedPostgres();
  const { dsn } = await postgres;
  const name = `demo_${++databases}`;
  const pool = new DbPool({ name: "test", dsn, maxOpenConns: 1 });
  await pool.exec(`CREATE DATABASE ${name}`);
  await pool.close();
  return Object.assign(new URL(dsn), { pathname: `/${name}` }).href;
}

/**
 * The whole service on a free port, its log captured, without a rate limit unless the test sets one, and with an empty
 * database. With `{ POSTGRES_DSN: "" }` it brings its own.
 */
export async function openDemo(env: Record<string, string> = {}, server: DemoConfig["server"] = {}): Promise<TestDemo> {
  const logs = captureLogs({ level: "debug" });
  const { POSTGRES_DSN = await freshDatabase() } = env;
  const config = demoConfigFromEnv({ PORT: "0", RATE_LIMIT_PER_SECOND: "0", ...env, POSTGRES_DSN });
  const demo = await startDemo({
    ...config,
    server: { ...config.server, shutdownTimeoutMs: 3_000, healthIntervalMs: 200, ...server, logger: logs.logger },
  });
  return {
    ...demo,
    logs,
    post: (path, body, headers = {}) =>
      fetch(`${demo.url}${path}`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: typeof body === "string" ? body : JSON.stringify(body),
      }),
    get: (path, headers = {}) => fetch(`${demo.url}${path}`, { headers }),
  };
}

/** As `openDemo`, closed at the end of the test. */
export async function withDemo(env: Record<string, string> = {}, server: DemoConfig["server"] = {}): Promise<TestDemo> {
  const demo = await openDemo(env, server);
  onTestFinished(async () => void (await demo.close()));
  return demo;
}

export const ask = (content: string, more: object = {}): object => ({
  model: "auto",
  messages: [{ role: "user", content }],
  ...more,
});

/** The data of every event of a stream, in order. */
export async function readEvents(response: Response): Promise<string[]> {
  const text = await response.text();
  return text
    .split("\n\n")
    .filter((event) => event !== "")
    .map((event) => event.replace(/^data: /, ""));
}
