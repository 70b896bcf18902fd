/**
 * The parts that the demo brings where none are configured: a PostgreSQL and a model server, each in processes of its
 * own that Ctrl-C does not reach. One that ends by itself is started again.
 */
import { randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { startEmbeddedPostgres, type EmbeddedPostgres } from "@vg/internal/embedded-postgres";
import type { Logger } from "@vg/logging";
import { spawnUpstream, type UpstreamProcess } from "./upstream/index.ts";

/** By the time that the model is stopped nobody uses it any more. */
const MODEL_CLOSE_MS = 500;
const RESTART_MS = { first: 1_000, last: 30_000 };

/** A part that runs in a process of its own. */
interface Part {
  exited(): Promise<unknown>;
  restart(): Promise<void>;
  stop(): Promise<void>;
}

export interface EmbeddedDatabase {
  readonly dsn: string;
  readonly postgres: EmbeddedPostgres;
  stop(): Promise<void>;
}

/** @param dataDir keeps the data there; otherwise it goes with the server */
export async function startDatabase(dataDir: string | undefined, logger: Logger): Promise<EmbeddedDatabase> {
  const postgres = await startEmbeddedPostgres({ database: "localai", ...(dataDir === undefined ? {} : { dataDir }) });
  return { dsn: postgres.dsn, postgres, stop: keepRunning("database", postgres, logger) };
}

export interface EmbeddedModel {
  readonly baseUrl: string;
  readonly apiKey: string;
  /** The process that runs now. */
  readonly process: UpstreamProcess;
  stop(): Promise<void>;
}

export async function startModel(logger: Logger): Promise<EmbeddedModel> {
  // Made for this start: whoever else is on this machine gets nothing from it.
  const apiKey = randomBytes(24).toString("base64url");
  let process = await spawnUpstream({ apiKey });
  const { baseUrl, port } = process;
  const part: Part = {
    exited: () => process.exited,
    // On the same port: the gateway knows no other.
    restart: async () => {
      process = await spawnUpstream({ apiKey, port });
    },
    stop: () => process.close({ deadlineMs: MODEL_CLOSE_MS }),
  };
  const stop = keepRunning("model", part, logger);
  return {
    baseUrl,
    apiKey,
    get process() {
      return process;
    },
    stop,
  };
}

/** Starts the part again whenever it ends by itself. Returns what stops it for good. */
function keepRunning(name: string, part: Part, logger: Logger): () => Promise<void> {
  const stopping = new AbortController();
  const { signal } = stopping;
  const watch = async (): Promise<void> => {
    for (;;) {
      await part.exited();
      for (let waitMs = RESTART_MS.first; !signal.aborted; waitMs = Math.min(RESTART_MS.last, waitMs * 2)) {
        logger.error(`The embedded ${name} ended by itself; it is started again`, { in_ms: waitMs });
        await delay(waitMs, undefined, { signal, ref: false }).catch(() => undefined);
        if (signal.aborted) break;
        try {
          await part.restart();
          logger.info(`The embedded ${name} runs again`);
          break;
        } catch (error) {
          logger.error(`The embedded ${name} could not be started again`, error);
        }
      }
      if (signal.aborted) return;
    }
  };
  const watching = watch();
  return async () => {
    stopping.abort();
    await part.stop();
    await watching;
    // A restart that was under way when it was told to stop has left a process behind.
    await part.stop();
  };
}
