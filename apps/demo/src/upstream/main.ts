/**
 * The embedded upstream as a process of its own: `node src/upstream/main.ts --port 9000 --slots 2`.
 *
 * Settings, from the command line or the environment (the command line wins; a key on it would show in `ps`):
 *
 *     --port 0                       EMBEDDED_UPSTREAM_PORT
 *     --slots 4                      EMBEDDED_UPSTREAM_SLOTS
 *     --queue 64                     EMBEDDED_UPSTREAM_QUEUE
 *     --prefill-ms-per-token 0.05    EMBEDDED_UPSTREAM_PREFILL_MS_PER_TOKEN
 *     --decode-ms-per-token 4        EMBEDDED_UPSTREAM_DECODE_MS_PER_TOKEN
 *     --models a,b                   EMBEDDED_UPSTREAM_MODELS
 *     --document PATH (many)         EMBEDDED_UPSTREAM_DOCUMENTS, separated as in PATH; default: the project's pages
 *                                    EMBEDDED_UPSTREAM_API_KEY
 *
 * Forked, it sends `{type: "ready", baseUrl, port}` or `{type: "failed", message}`, obeys the messages of `spawnUpstream`,
 * and ends when the channel to its parent does. SIGINT and SIGTERM are then the parent's business: Ctrl-C and service
 * managers reach the whole process group, and the parent still drains requests into this process.
 */
import { delimiter } from "node:path";
import { parseArgs } from "node:util";
import { projectDocumentPaths, readDocuments } from "./documents.ts";
import { UpstreamConfigError } from "./errors.ts";
import type { UpstreamOptions } from "./options.ts";
import { startUpstream, type UpstreamServer } from "./server.ts";
import type { ChildMessage, ParentMessage } from "./upstream-process.ts";

const forked = process.send !== undefined;

const onSignal = (listener: () => void): void => void process.on("SIGINT", listener).on("SIGTERM", listener);

// From the first moment: a signal to the group must not end a process that its parent still needs.
if (forked) onSignal(() => {});

try {
  const server = await startUpstream(await readSettings());
  obey(server);
  tell({ type: "ready", baseUrl: server.baseUrl, port: server.port });
  if (!forked) {
    console.log(`Embedded n-gram model (${server.systemFingerprint}) at ${server.baseUrl}; not a real LLM.`);
  }
} catch (error) {
  const message = error instanceof Error ? error.message : String(error);
  process.exitCode = 1;
  if (!forked) console.error(message);
  tell({ type: "failed", message });
  if (process.connected) process.disconnect();
}

function obey(server: UpstreamServer): void {
  const stop = async (deadlineMs?: number): Promise<void> => {
    await server.close(deadlineMs === undefined ? {} : { deadlineMs });
    process.exit(0);
  };
  if (!forked) {
    onSignal(() => void stop());
    return;
  }
  // Nobody is left to answer to.
  process.on("disconnect", () => void stop(0));
  process.on("message", (message: ParentMessage) => {
    try {
      if (message.type === "set_fault") {
        server.setFault(message.fault);
        tell({ type: "reply", id: message.id, result: null });
      } else if (message.type === "stats") {
        tell({ type: "reply", id: message.id, result: server.stats() });
      } else {
        void stop(message.deadlineMs);
      }
    } catch (error) {
      if (message.type === "close") throw error;
      tell({ type: "refused", id: message.id, message: error instanceof Error ? error.message : String(error) });
    }
  });
}

/** The parent may be gone by the time a message is sent; "disconnect" then ends this process. */
function tell(message: ChildMessage): void {
  if (process.connected) process.send?.(message, undefined, undefined, () => {});
}

async function readSettings(): Promise<UpstreamOptions> {
  const { values } = parseArgs({
    options: {
      port: { type: "string" },
      slots: { type: "string" },
      queue: { type: "string" },
      "prefill-ms-per-token": { type: "string" },
      "decode-ms-per-token": { type: "string" },
      models: { type: "string" },
      document: { type: "string", multiple: true },
    },
  });
  const paths = values.document ?? text("DOCUMENTS", undefined)?.split(delimiter);
  return withoutUndefined({
    port: number("PORT", values.port),
    slots: number("SLOTS", values.slots),
    queue: number("QUEUE", values.queue),
    prefillMsPerToken: number("PREFILL_MS_PER_TOKEN", values["prefill-ms-per-token"]),
    decodeMsPerToken: number("DECODE_MS_PER_TOKEN", values["decode-ms-per-token"]),
    models: text("MODELS", values.models)?.split(",").filter(Boolean),
    apiKey: text("API_KEY", undefined),
    documents: await readDocuments(paths ?? (await projectDocumentPaths())),
  });
}

/** The setting as given on the command line, else from the environment; `undefined` when it is in neither. */
function text(name: string, given: string | undefined): string | undefined {
  return given ?? (process.env[`EMBEDDED_UPSTREAM_${name}`]?.trim() || undefined);
}

function number(name: string, given: string | undefined): number | undefined {
  const value = text(name, given);
  if (value === undefined) return undefined;
  if (!/^\d+(\.\d+)?$/u.test(value)) {
    throw new UpstreamConfigError(`EMBEDDED_UPSTREAM_${name} must be a number, got ${JSON.stringify(value)}.`);
  }
  return Number(value);
}

function withoutUndefined(options: { [K in keyof UpstreamOptions]: UpstreamOptions[K] | undefined }): UpstreamOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as UpstreamOptions;
}
