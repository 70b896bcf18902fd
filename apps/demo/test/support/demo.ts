import { captureLogs } from "@vg/logging/testing";
import { onTestFinished } from "vitest";
import { demoConfigFromEnv, type DemoConfig } from "../../src/config.ts";
import { startDemo, type Demo } from "../../src/demo.ts";

export interface TestDemo extends Demo {
  logs: ReturnType<typeof captureLogs>;
  post(path: string, body: unknown, headers?: Record<string, string>): Promise<Response>;
  get(path: string, headers?: Record<string, string>): Promise<Response>;
}

/** The whole service on a free port, its log captured, without a rate limit unless the test sets one. */
export async function openDemo(env: Record<string, string> = {}, server: DemoConfig["server"] = {}): Promise<TestDemo> {
  const logs = captureLogs({ level: "debug" });
  const config = demoConfigFromEnv({ PORT: "0", RATE_LIMIT_PER_SECOND: "0", ...env });
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
