import { channel } from "node:diagnostics_channel";
import type { Channel } from "node:diagnostics_channel";
import type { LifecycleState } from "./lifecycle.ts";

/** Published to `vg:pooled-server:state` at every change of a server's state. */
export interface ServerStateMessage {
  /** The server's `serviceName`. */
  readonly server: string;
  readonly state: LifecycleState;
  readonly previous: LifecycleState;
  /** Why, where there is more to say than that somebody asked for it: "failing: database". */
  readonly reason: string | undefined;
}

const state: Channel = channel("vg:pooled-server:state");

export function publishState(message: ServerStateMessage): void {
  if (state.hasSubscribers) state.publish(message);
}
