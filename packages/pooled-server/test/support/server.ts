import { once } from "node:events";
import { createServer, type AddressInfo } from "node:net";
import { captureLogs } from "@vg/logging/testing";
import { createPooledServer, type BaseServer, type PooledServer, type PooledServerConfig } from "@vg/pooled-server";
import { onTestFinished } from "vitest";

export interface TestServer {
  server: PooledServer;
  url: string;
  logs: ReturnType<typeof captureLogs>;
  get(path: string, headers?: Record<string, string>): Promise<Response>;
}

/** A server on a free port whose log is captured; closed when the test ends. No rate limit unless the test sets one. */
export async function listen(base: BaseServer, config: PooledServerConfig = {}): Promise<TestServer> {
  const logs = captureLogs();
  const server = await createPooledServer(base, {
    logger: logs.logger,
    rateLimitPerSecond: 0,
    shutdownTimeoutMs: 2_000,
    ...config,
  });
  onTestFinished(async () => void (await server.close()));
  const { url } = await server.listen(0);
  return { server, url, logs, get: (path, headers = {}) => fetch(`${url}${path}`, { headers }) };
}

/** A port that nobody listens on, most likely. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  await once(server.close(), "close");
  return port;
}

/** A promise that a test resolves by hand. */
export function gate<T = void>(): { opened: Promise<T>; open: (value: T) => void } {
  let open!: (value: T) => void;
  const opened = new Promise<T>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}
