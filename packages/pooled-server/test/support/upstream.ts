import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { onTestFinished } from "vitest";

/** A server that is called, on a free port, until the test ends. */
export async function startUpstream(listener: RequestListener): Promise<string> {
  const upstream = createServer(listener);
  await once(upstream.listen(0, "127.0.0.1"), "listening");
  onTestFinished(() => {
    upstream.close();
    upstream.closeAllConnections();
  });
  return `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
}
