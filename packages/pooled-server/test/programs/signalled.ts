/**
 * A service as a process of its own, for tests that send it signals. What it does is in the words of its arguments:
 * `hang` keeps an interval, so that the process cannot end by itself, and lets time run twenty times as fast; `deaf` has a closer that never ends; `unhandled`
 * leaves the signals alone. `/slow` answers when it is told to over standard input, `/stuck` never.
 */
import { once } from "node:events";
import { createPooledServer } from "@vg/pooled-server";

const words = new Set(process.argv.slice(2));
if (words.has("hang")) {
  const { setTimeout: plain } = globalThis;
  const hasty: (...args: Parameters<typeof plain>) => NodeJS.Timeout = (work, ms = 0, ...args) =>
    plain(work, ms / 20, ...args);
  Object.assign(globalThis, { setTimeout: hasty });
}
const server = await createPooledServer(
  async (request, response) => {
    if (request.url === "/stuck") return;
    if (request.url === "/slow") await once(process.stdin, "data");
    response.end("served");
  },
  {
    serviceName: "signalled",
    shutdownTimeoutMs: words.has("deaf") ? 500 : 10_000,
    handleSignals: !words.has("unhandled"),
    rateLimitPerSecond: 0,
  },
);
if (words.has("hang")) setInterval(() => undefined, 1_000);
if (words.has("deaf")) server.onClose("deaf", () => new Promise(() => undefined));
process.stdin.unref();
const { url } = await server.listen(0);
console.log(`listens on ${url}`);
