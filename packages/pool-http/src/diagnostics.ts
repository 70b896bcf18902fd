import { channel, type Channel } from "node:diagnostics_channel";

type Subject =
  | "requestStart"
  | "requestEnd"
  | "requestError"
  | "queue"
  | "attempt"
  | "retry"
  | "connect"
  | "remove"
  | "leak";

/**
 * What is published is in diagnostics-messages.ts. A pool publishes to a channel of `node:diagnostics_channel` only
 * while somebody has subscribed to it, and makes no message otherwise.
 */
export const channels: Readonly<Record<Subject, Channel>> = {
  requestStart: channel("vg:pool-http:request:start"),
  requestEnd: channel("vg:pool-http:request:end"),
  requestError: channel("vg:pool-http:request:error"),
  queue: channel("vg:pool-http:queue"),
  attempt: channel("vg:pool-http:attempt"),
  retry: channel("vg:pool-http:retry"),
  connect: channel("vg:pool-http:connect"),
  remove: channel("vg:pool-http:remove"),
  leak: channel("vg:pool-http:leak"),
};
