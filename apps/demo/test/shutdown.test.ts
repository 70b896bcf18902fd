import { expect, onTestFinished, test, vi } from "vitest";
import { ask, readEvents, withDemo } from "./support/demo.ts";

test("what is still active at the end of a shutdown gets a proper end: a 503, or an error as the stream's last event", async () => {
  const demo = await withDemo({}, { shutdownTimeoutMs: 500 });
  await demo.embedded.model?.process.setFault({ kind: "hang" });
  const whole = demo.post("/v2/chat/completions", ask("One", { max_tokens: 900 }));
  await expect.poll(() => demo.server.inferenceCache.getStats().loads_in_flight).toBe(1);
  const report = await demo.close();
  expect(report.stuck).toEqual([
    expect.stringMatching(/^requests: POST \/v2\/chat\/completions \(\d+ ms\) was aborted$/),
  ]);
  const answer = await whole;
  expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await answer.json()).toMatchObject({ error: { code: "service_unavailable" } });
});

test("a stream that a shutdown cannot wait for says so in its last event, ends as every stream does, and is not stuck", async () => {
  // So slow that even a short answer outlives the shutdown: how long it is, depends on the documents that the model has learned.
  // The model's process inherits this one's environment.
  vi.stubEnv("EMBEDDED_UPSTREAM_DECODE_MS_PER_TOKEN", "1000");
  onTestFinished(() => void vi.unstubAllEnvs());
  const demo = await withDemo({}, { shutdownTimeoutMs: 1_000 });
  const stream = await demo.post(
    "/v1/chat/completions",
    ask("What is a connection pool?", { stream: true, max_tokens: 4000, temperature: 0 }),
  );
  const events = readEvents(stream);
  expect(await demo.close()).toMatchObject({ clean: true, stuck: [] });
  const [error, done] = (await events).slice(-2);
  expect(JSON.parse(error as string)).toMatchObject({
    error: { type: "server_shutdown", code: "service_unavailable" },
  });
  expect(done).toBe("[DONE]");
});
