import { expect, test } from "vitest";
import { ask, readEvents, withDemo } from "./support/demo.ts";

test("what is still active at the end of a shutdown gets a proper end: a 503, or an error as the stream's last event", async () => {
  const demo = await withDemo({ EMBEDDED_UPSTREAM_SLOTS: "1" }, { shutdownTimeoutMs: 500 });
  await demo.embedded.model?.process.setFault({ kind: "hang" });
  const whole = demo.post("/v2/chat/completions", ask("One", { max_tokens: 900 }));
  await expect.poll(() => demo.server.inferenceCache.getStats().loads_in_flight).toBe(1);
  const report = await demo.close();
  expect(report.stuck).toEqual(["requests: POST /v2/chat/completions was aborted"]);
  const answer = await whole;
  expect([answer.status, answer.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await answer.json()).toMatchObject({ error: { code: "service_unavailable" } });
});

test("a stream that is cut by a shutdown says so in its last event", async () => {
  const demo = await withDemo({}, { shutdownTimeoutMs: 500 });
  const stream = await demo.post(
    "/v1/chat/completions",
    ask("Say much", { stream: true, max_tokens: 4000, stop: ["\u0001"], temperature: 2 }),
  );
  const events = readEvents(stream);
  const closing = demo.close();
  const last = (await events).at(-1) as string;
  await closing;
  // A short answer may have come to its end by itself within the deadline.
  if (last !== "[DONE]") expect(JSON.parse(last)).toMatchObject({ error: { code: "service_unavailable" } });
});
