import assert from "node:assert/strict";
import { test } from "node:test";
import { bestHitRate } from "../guide/demo.ts";
import { verdict } from "../guide/latency.ts";
import { demoEnvironment } from "../guide/demo-process.ts";

void test("the demo gets none of the user's settings, but what any program needs", () => {
  const own = { PATH: "/bin", HOME: "/home/me", TMPDIR: "/tmp", LANG: "C", LC_ALL: "C", TZ: "UTC" };
  const settings = {
    UPSTREAM_BASE_URL: "https://api.example.com/v1",
    UPSTREAM_API_KEY: "paid-for",
    UPSTREAM_MODEL: "dear",
    POSTGRES_DSN: "postgres://db.example.com/kept",
    DB_MAX_OPEN_CONNS: "1",
    HTTP_TIMEOUT_SECONDS: "1",
    INFERENCE_CACHE_CAPACITY: "1",
    EMBEDDING_CACHE_TTL_HOURS: "1",
    DEMO_DATA_DIR: "/home/me/kept",
    API_KEY: "key",
    MAX_BODY_BYTES: "1024",
    LOG_FORMAT: "console",
    NODE_OPTIONS: "--conditions=@vg/source",
    HTTP_PROXY: "http://proxy.example.com",
    HOST: "0.0.0.0",
    PORT: "8080",
    RATE_LIMIT_PER_SECOND: "10",
  };
  assert.deepEqual(demoEnvironment({ ...own, ...settings }), {
    ...own,
    HOST: "127.0.0.1",
    PORT: "0",
    RATE_LIMIT_PER_SECOND: "0",
    LOG_LEVEL: "warn",
  });
});

void test("the more prompts there are to draw from, the less any cache can hit", () => {
  const rates = [50, 150, 500, 1500].map((prompts) => bestHitRate(1000, prompts));
  assert.deepEqual(
    rates.toSorted((a, b) => b - a),
    rates,
  );
  assert.equal(bestHitRate(1000, 1), 0.999);
  // All of the 50 come in 1000 draws: 50 misses and no more.
  assert.equal(rates[0], 0.95);
});

void test("a gain is held against its bar, with what the guide claims beside", () => {
  assert.equal(verdict(-0.8, -0.8, "-40 %"), "The bar: -80 %, where the guide says -40 %: met, with -80.0 %.");
  assert.match(verdict(-0.79, -0.8, "-40 %"), /missed, with -79\.0 %/);
});
