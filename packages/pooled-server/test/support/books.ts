import type { AdmissionStats, PooledServer } from "@vg/pooled-server";
import { expect } from "vitest";
import type { TestServer } from "./server.ts";

/** Every place is given back, nobody waits, and every request is over. */
export async function booksAreClosed(server: PooledServer, get: TestServer["get"]): Promise<AdmissionStats> {
  await expect
    .poll(async () => {
      const { in_flight, queue_length } = server.getAdmissionStats();
      const text = await (await get("/metrics")).text();
      return { in_flight, queue_length, active: /^http_server_active_requests (\d+)$/m.exec(text)?.[1] };
    })
    .toEqual({ in_flight: 0, queue_length: 0, active: "0" });
  return server.getAdmissionStats();
}
