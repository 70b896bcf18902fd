import { DEFAULTS, pooledServerConfigFromEnv, PooledServerConfigError } from "@vg/pooled-server";
import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";

test("the guide's whole environment reference is read", () => {
  const config = pooledServerConfigFromEnv({
    LOG_LEVEL: "debug,db=trace",
    LOG_FORMAT: "console",
    LOG_TIME_FORMAT: "unix",
    LOG_CALLER: "off",
    POSTGRES_DSN: "postgres://user:pass@localhost:5432/db",
    DB_MAX_OPEN_CONNS: "50",
    DB_MAX_IDLE_CONNS: "10",
    HTTP_MAX_IDLE_CONNS: "200",
    HTTP_TIMEOUT_SECONDS: "2.5",
    INFERENCE_CACHE_CAPACITY: "2000",
    INFERENCE_CACHE_TTL_HOURS: "0.5",
    HTTP_MAX_CONNS_PER_HOST: "40",
    EMBEDDING_CACHE_CAPACITY: "600",
    EMBEDDING_CACHE_TTL_HOURS: "1000",
    RATE_LIMIT_PER_SECOND: "0",
  });
  expect(config).toEqual({
    logLevel: "debug",
    logFormat: "console",
    logTimeFormat: "unix",
    logLevels: { db: "trace" },
    logCaller: "off",
    postgresDsn: "postgres://user:pass@localhost:5432/db",
    dbMaxOpenConns: 50,
    dbMaxIdleConns: 10,
    httpMaxIdleConns: 200,
    httpMaxConnsPerHost: 40,
    httpTimeoutMs: 2_500,
    inferenceCacheCapacity: 2_000,
    inferenceCacheTtlMs: 1_800_000,
    embeddingCacheCapacity: 600,
    embeddingCacheTtlMs: 3_600_000_000,
    rateLimitPerSecond: 0,
  });
});

test("unset and blank variables leave every default", () => {
  const config = pooledServerConfigFromEnv({ POSTGRES_DSN: " ", DB_MAX_OPEN_CONNS: "" });
  const { logLevel, logFormat, logTimeFormat, logCaller, ...rest } = config;
  expect(rest).toEqual({});
  expect({ logLevel, logFormat, logTimeFormat, logCaller }).toEqual({
    logLevel: DEFAULTS.logLevel,
    logFormat: DEFAULTS.logFormat,
    logTimeFormat: DEFAULTS.logTimeFormat,
    logCaller: DEFAULTS.logCaller,
  });
});

test.each([
  ["DB_MAX_OPEN_CONNS", "-5", 'DB_MAX_OPEN_CONNS must be a whole number from 1 to 100000, got "-5"'],
  ["DB_MAX_OPEN_CONNS", "ten", 'got "ten"'],
  ["HTTP_TIMEOUT_SECONDS", "0", "HTTP_TIMEOUT_SECONDS must be a number of seconds above 0"],
  ["INFERENCE_CACHE_TTL_HOURS", "1h", "INFERENCE_CACHE_TTL_HOURS must be a number of hours above 0"],
  ["INFERENCE_CACHE_CAPACITY", "1.5", "INFERENCE_CACHE_CAPACITY must be a whole number from 1 to 8388608"],
  ["DB_MAX_IDLE_CONNS", "26", "DB_MAX_IDLE_CONNS must be a whole number from 0 to 25"],
  ["HTTP_TIMEOUT_SECONDS", "0.0001", "HTTP_TIMEOUT_SECONDS must be at least 0.001 seconds"],
  ["RATE_LIMIT_PER_SECOND", "-1", "RATE_LIMIT_PER_SECOND must be a whole number from 0"],
])("%s=%s is refused by name", (name, value, message) => {
  expect(() => pooledServerConfigFromEnv({ [name]: value })).toThrow(PooledServerConfigError);
  expect(() => pooledServerConfigFromEnv({ [name]: value })).toThrow(message);
});

test("a bad LOG_ variable is one warning line that names it, and the default holds", () => {
  const script = `
    import { pooledServerConfigFromEnv } from "@vg/pooled-server";
    console.error(pooledServerConfigFromEnv().logLevel);
  `;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ["--conditions=@vg/source", "--input-type=module", "-e", script],
    { cwd: import.meta.dirname, env: { PATH: process.env["PATH"], LOG_LEVEL: "loud" }, encoding: "utf8" },
  );
  expect(stderr).toBe("info\n");
  const lines = stdout.trim().split("\n");
  expect(lines).toHaveLength(1);
  expect(JSON.parse(lines[0] as string)).toMatchObject({
    level: "warn",
    message: expect.stringMatching(/^LOG_LEVEL is "loud", which is not known: using the default, "info"/),
  });
});
