import { expect, test } from "vitest";
import { listen } from "../support/server.ts";

test("the server advises by what its parts do, in /v2/health and in the log, until it is well again", async () => {
  const { server, get, logs } = await listen((_request, response) => response.end("ok"), {
    adviceIntervalMs: 20,
    adviceWindowMs: 400,
  });
  expect(server.advise()).toEqual([]);
  let asked = 0;
  const asks = setInterval(() => {
    for (let i = 0; i < 100; i++) server.inferenceCache.get(`key ${asked++}`);
  }, 10);
  await expect
    .poll(() => server.advise(), { timeout: 10_000 })
    .toMatchObject([{ id: "cache_hit_rate", severity: "warn", subject: "inference_cache", evidence: { hit_rate: 0 } }]);
  const health = (await (await get("/v2/health")).json()) as { findings: object[] };
  expect(health.findings).toMatchObject([{ id: "cache_hit_rate", setting: "inferenceCacheTtlMs" }]);
  expect(logs.find({ message: "Finding" })).toMatchObject({
    level: "warn",
    finding: "cache_hit_rate",
    subject: "inference_cache",
    setting: "inferenceCacheTtlMs",
  });
  clearInterval(asks);
  await expect.poll(() => server.advise(), { timeout: 10_000 }).toEqual([]);
  expect(logs.find({ message: "Finding cleared" })).toMatchObject({ level: "info", finding: "cache_hit_rate" });
  expect(logs.lines.filter(({ message }) => message === "Finding")).toHaveLength(1);
});

test("without an interval nothing is looked at", async () => {
  const { server } = await listen((_request, response) => response.end("ok"), { adviceIntervalMs: 0 });
  expect(server.advise()).toEqual([]);
});
