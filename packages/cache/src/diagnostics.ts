import { channel } from "node:diagnostics_channel";
import type { Channel } from "node:diagnostics_channel";

/** What is published is in diagnostics-messages.ts. A cache publishes to a channel of `node:diagnostics_channel` only while somebody has subscribed to it. */
export const channels: { readonly miss: Channel; readonly evict: Channel; readonly load: Channel } = {
  miss: channel("vg:cache:miss"),
  evict: channel("vg:cache:evict"),
  load: channel("vg:cache:load"),
};
