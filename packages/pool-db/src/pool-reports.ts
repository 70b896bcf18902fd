import type { EventEmitter } from "node:events";
import type pg from "pg";
import { callerStack } from "./call-site.ts";
import type {
  DbAcquireMessage,
  DbConnectMessage,
  DbLeakMessage,
  DbReleaseMessage,
  DbRemoveMessage,
  DbTimeoutMessage,
} from "./diagnostics-messages.ts";
import { channels } from "./diagnostics.ts";
import { describeError } from "./errors.ts";
import type { ResolvedOptions } from "./options.ts";
import type { PoolLog } from "./pool-log.ts";
import type { PoolListener } from "./pool/resource.ts";
import { keepProcessAlive, processIdOf } from "./protocol/pg-client.ts";

/** Tells of what happens to a pool's connections: its logger, its pg.Pool events, and `node:diagnostics_channel`. */
export function poolReports(
  emitter: EventEmitter,
  { name: pool, allowExitOnIdle }: ResolvedOptions,
  log: PoolLog,
): PoolListener<pg.Client> {
  const acquired = (client: pg.Client, waitedMs: number): void => {
    if (allowExitOnIdle) keepProcessAlive(client, true);
    emitter.emit("acquire", client);
    if (!channels.acquire.hasSubscribers) return;
    const message: DbAcquireMessage = { pool, processId: processIdOf(client), waitedMs };
    channels.acquire.publish(message);
  };
  const released = (client: pg.Client, discard: unknown, heldMs: number): void => {
    if (allowExitOnIdle) keepProcessAlive(client, false);
    emitter.emit("release", discard, client);
    if (!channels.release.hasSubscribers) return;
    const message: DbReleaseMessage = { pool, processId: processIdOf(client), heldMs, discard };
    channels.release.publish(message);
  };
  return {
    created(client, durationMs) {
      log.dialed();
      if (!channels.connect.hasSubscribers) return;
      const message: DbConnectMessage = { pool, processId: processIdOf(client), durationMs, error: undefined };
      channels.connect.publish(message);
    },
    createFailed(error, durationMs) {
      log.dialFailed(error);
      if (!channels.connect.hasSubscribers) return;
      const message: DbConnectMessage = { pool, processId: undefined, durationMs, error };
      channels.connect.publish(message);
    },
    get acquired() {
      return allowExitOnIdle || emitter.listenerCount("acquire") > 0 || channels.acquire.hasSubscribers
        ? acquired
        : undefined;
    },
    get released() {
      return allowExitOnIdle || emitter.listenerCount("release") > 0 || channels.release.hasSubscribers
        ? released
        : undefined;
    },
    removed(client, reason) {
      log.closed(processIdOf(client), reason);
      emitter.emit("remove", client);
      if (!channels.remove.hasSubscribers) return;
      const message: DbRemoveMessage = { pool, processId: processIdOf(client), reason };
      channels.remove.publish(message);
    },
    idleLost(client, error) {
      log.warn("an idle connection was lost", { process_id: processIdOf(client), error: describeError(error) });
      // EventEmitter throws an "error" that nobody listens to; a connection that the server closed is no such case.
      if (emitter.listenerCount("error") > 0) emitter.emit("error", Object.assign(error, { client }), client);
    },
    lentLost(client, error, heldMs) {
      const process_id = processIdOf(client);
      log.warn("a connection was lost while it was in use", {
        process_id,
        held_ms: heldMs,
        error: describeError(error),
      });
    },
    refused(error) {
      log.oftenWarned("an acquire was refused", error);
    },
    timedOut(error, waitedMs) {
      log.oftenWarned("an acquire timed out", error);
      if (!channels.timeout.hasSubscribers) return;
      const message: DbTimeoutMessage = { pool, waitedMs };
      channels.timeout.publish(message);
    },
    leaked(client, site, heldMs) {
      const process_id = processIdOf(client);
      const acquiredAt = callerStack(site);
      log.warn("a connection has been held for longer than leakDetectionThresholdMs", {
        held_ms: heldMs,
        process_id,
        acquired_at: acquiredAt,
      });
      if (!channels.leak.hasSubscribers) return;
      const message: DbLeakMessage = { pool, processId: process_id, heldMs, acquiredAt };
      channels.leak.publish(message);
    },
    leakReturned(client, ended, heldMs) {
      const how = ended ? "had ended before it was released" : "was returned after all";
      log.info(`a connection that was reported as leaked ${how}`, {
        held_ms: heldMs,
        process_id: processIdOf(client),
      });
    },
  };
}
