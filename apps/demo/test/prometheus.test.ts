import { execFileSync } from "node:child_process";
import { hasTool, startPrometheus } from "@vg/internal/prometheus";
import { describe, expect, onTestFinished, test } from "vitest";
import { ask, withDemo } from "./support/demo.ts";

describe.skipIf(!hasTool("prometheus"))("a real Prometheus (skipped where it is not on the PATH)", () => {
  test("scrapes the demo and answers what it did", { timeout: 120_000 }, async () => {
    const { url, post } = await withDemo();
    for (let i = 0; i < 3; i++) expect((await post("/v2/chat/completions", ask("What is an index?"))).status).toBe(200);

    const prometheus = await startPrometheus(new URL(url).host);
    onTestFinished(() => prometheus.stop());
    const of = async (expression: string): Promise<number[]> =>
      (await prometheus.query(expression)).map(({ value }) => value);
    const requests = 'sum(http_server_request_duration_seconds_count{http_route="/v2/chat/completions"})';
    await expect.poll(() => of(requests), { timeout: 20_000 }).toEqual([3]);
    expect(await of("up")).toEqual([1]);
    expect(await of('vg_server_state{state="ready"}')).toEqual([1]);
    expect(await of('sum(http_client_requests_total{result="success"}) > bool 0')).toEqual([1]);
    // The rows of usage are written a moment later.
    await expect.poll(() => of("sum(db_client_connection_acquired_total) > bool 0")).toEqual([1]);
    expect(await of("sum(db_client_connections) <= bool sum(db_client_connection_max)")).toEqual([1]);
  });
});

describe.skipIf(!hasTool("promtool"))("promtool (skipped where it is not on the PATH)", { timeout: 120_000 }, () => {
  test("check metrics finds nothing to say about the demo after work of every kind", async () => {
    const { url, post } = await withDemo();
    await (await post("/v2/chat/completions", ask("What is an index?"))).text();
    await (await post("/v2/chat/completions", ask("What is an index?", { stream: true }))).text();
    await (await post("/v2/chat/completions", { ...ask("And that?"), model: "none of ours" })).text();
    await (await post("/v2/embeddings", { model: "auto", input: ["a", "b"] })).text();
    const input = await (await fetch(`${url}/metrics`)).text();
    expect(input).toContain("gen_ai_client_token_usage_count{");
    expect(input).toContain("gen_ai_server_time_to_first_token_seconds_count{");
    // Throws on any finding: 1 is a parse error, 3 is lint.
    expect(execFileSync("promtool", ["check", "metrics"], { input, encoding: "utf8" })).toBe("");
  });
});
