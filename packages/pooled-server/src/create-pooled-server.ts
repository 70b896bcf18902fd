import type { BaseServer } from "./adapters/adapt-base.ts";
import type { PooledServerConfig } from "./config/options.ts";
import { PooledServer } from "./pooled-server.ts";

/**
 * Wraps a base server with pools, caches, probes, metrics and a lifecycle. Resolves when the first round of health
 * checks is over, whatever its outcome; nothing listens before `listen()`.
 *
 * @typeParam I what the inference cache holds
 * @typeParam E what the embedding cache holds
 * @throws PooledServerConfigError for an option or a base server that cannot be; nothing stays open
 * @throws BaseServerError where the base server does not get ready: a Fastify plugin failed; everything is closed again
 */
export async function createPooledServer<I = unknown, E = unknown>(
  base: BaseServer,
  config: PooledServerConfig = {},
): Promise<PooledServer<I, E>> {
  const server = new PooledServer<I, E>(base, config);
  try {
    await server.ready();
  } catch (error) {
    await server.close();
    throw error;
  }
  await server.checkHealth();
  return server;
}
