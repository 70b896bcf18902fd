import { channel } from "node:diagnostics_channel";
import type { Channel } from "node:diagnostics_channel";

type Subject = "acquire" | "release" | "connect" | "remove" | "timeout" | "leak" | "query";

/** What is published is in diagnostics-messages.ts. A pool publishes to a channel of `node:diagnostics_channel` only while somebody has subscribed to it. */
export const channels: Readonly<Record<Subject, Channel>> = {
  acquire: channel("vg:pool-db:acquire"),
  release: channel("vg:pool-db:release"),
  connect: channel("vg:pool-db:connect"),
  remove: channel("vg:pool-db:remove"),
  timeout: channel("vg:pool-db:timeout"),
  leak: channel("vg:pool-db:leak"),
  query: channel("vg:pool-db:query"),
};
