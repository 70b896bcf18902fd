import type { HttpConnectMessage, HttpRemoveMessage } from "../diagnostics-messages.ts";
import { channels } from "../diagnostics.ts";
import type { StatsRecorder } from "../stats.ts";
import type { ConnectionWatcher } from "../transport/connection-watcher.ts";

/** Tells of a pool's connections: its statistics and `node:diagnostics_channel`. */
export function connectionReports(pool: string, recorder: StatsRecorder): ConnectionWatcher {
  return {
    connected(origin, { times }) {
      recorder.connected(origin, times);
      if (!channels.connect.hasSubscribers) return;
      const { connectMs, tlsMs } = times;
      const durationMs = connectMs + tlsMs;
      const message: HttpConnectMessage = { pool, origin, durationMs, connectMs, tlsMs, errorCode: undefined };
      channels.connect.publish(message);
    },
    failed(origin, { code }, durationMs) {
      recorder.connectFailed(origin);
      if (!channels.connect.hasSubscribers) return;
      const message: HttpConnectMessage = { pool, origin, durationMs, connectMs: 0, tlsMs: 0, errorCode: code };
      channels.connect.publish(message);
    },
    closed(origin, { served }, reason) {
      recorder.closed[reason]++;
      if (!channels.remove.hasSubscribers) return;
      const message: HttpRemoveMessage = { pool, origin, reason, served };
      channels.remove.publish(message);
    },
  };
}
