import { expect, test } from "vitest";
import { HttpPool, HttpPoolConfigError, httpPoolOptionsFromEnv, type HttpPoolOptions } from "../src/index.ts";

test.each<[object, string]>([
  [{ maxIdleConns: -1 }, "maxIdleConns must be a whole number of at least 0, got -1"],
  [{ maxConnsPerHost: 0 }, "maxConnsPerHost must be a whole number from 1"],
  [{ timeoutMs: 0 }, "give a large number instead"],
  [{ timeoutMs: "30s" }, 'timeoutMs must be a number of milliseconds from 1 to 2147483647, got "30s"'],
  [{ maxIdleConn: 5 }, 'unknown option "maxIdleConn". Did you mean maxIdleConns?'],
  [{ retryBaseMs: 100, retryCapMs: 50 }, "cannot be below retryBaseMs (100)"],
  [{ attemptTimeoutMs: 31_000 }, "attemptTimeoutMs must be at most timeoutMs (30000)"],
  [{ queueTimeoutMs: 31_000 }, "queueTimeoutMs must be at most timeoutMs (30000)"],
  [{ maxTotalConns: 5, maxConnsPerHost: 6 }, "maxTotalConns must be at least maxConnsPerHost (6)"],
  [{ maxTotalConns: 5, maxIdleConns: 6 }, "maxIdleConns must be at most maxTotalConns (5), got 6"],
  [{ maxConnsPerHost: 5, maxIdleConnsPerHost: 6 }, "maxIdleConnsPerHost must be at most maxConnsPerHost (5), got 6"],
  [{ leakThresholdMs: -1 }, "leakThresholdMs must be a number of milliseconds from 0"],
  [{ retryBudget: 0.2 }, "retryBudget must be { ratio, minPerSecond } or false, got 0.2"],
  [{ retryBudget: { ratio: -1 } }, "HttpPool retryBudget: ratio must be a number from 0 to 100, got -1"],
  [{ retryBudget: { perSecond: 1 } }, 'HttpPool retryBudget: unknown option "perSecond"'],
  [{ retryOn: "always" }, 'retryOn must be one of "safe", "rejected"'],
  [{ baseUrl: "/v1" }, "baseUrl must be an absolute http or https URL"],
  [{ baseUrl: "https://a.example/?key=1" }, "no query and no fragment"],
  [{ headers: { "bad name": "x" } }, "headers must be valid HTTP headers"],
  [{ headers: { authorization: "a\nb" } }, "authorization"],
  [{ tls: { cert: "-----BEGIN CERTIFICATE-----" } }, "cert and key belong together"],
  [{ tls: { cert: "/etc/ssl/client.pem", key: "/etc/ssl/client.key" } }, "pass its content, not its path"],
  [{ tls: { cert: "-----BEGIN X-----", key: "-----BEGIN X-----" } }, "cert cannot be used"],
  [{ tls: { ca: 5 } }, "Read the file and pass its content"],
  [{ tls: { minVersion: "TLSv1" } }, 'minVersion must be one of "TLSv1.2", "TLSv1.3"'],
  [{ tls: { rejectUnauthorized: false } }, 'unknown option "rejectUnauthorized"'],
  [{ maxConnLifetimeMs: 0 }, "maxConnLifetimeMs must be a number of milliseconds from 1"],
  [{ maxTotalConns: 30, maxIdleConns: 31 }, "maxIdleConns must be at most maxTotalConns (30), got 31"],
  [{ maxConnsPerHost: 5, maxIdleConnsPerHost: 6 }, "maxIdleConnsPerHost must be at most maxConnsPerHost (5), got 6"],
  [{ maxTotalConns: 5, maxIdleConnsPerHost: 6 }, "maxIdleConnsPerHost must be at most maxTotalConns (5), got 6"],
  [{ maxIdleConnsPerHost: 21 }, "maxIdleConnsPerHost must be at most maxConnsPerHost (20), got 21"],
  [{ http2: true }, 'http2 must be one of "off", "auto", "on", got true'],
  [{ maxStreamsPerConn: 0 }, "maxStreamsPerConn must be a whole number from 1 to 1000"],
  [{ proxy: "socks5://proxy.test" }, "the URL of an http or https proxy"],
  [{ tls: { ca: "-----BEGIN X-----", extraCa: "-----BEGIN X-----" } }, "Give one of them"],
  [{ clock: {} }, "clock must be an object with now()"],
  [{ logger: { warn() {} } }, "logger must be an object with debug(), info(), warn(), error()"],
])("%o is refused with a remedy", (options, message) => {
  expect(() => new HttpPool(options as HttpPoolOptions)).toThrow(message);
  expect(() => new HttpPool(options as HttpPoolOptions)).toThrow(HttpPoolConfigError);
});

test.each<HttpPoolOptions>([
  { maxConnsPerHost: 5 },
  { maxTotalConns: 5 },
  { maxTotalConns: 5, maxIdleConns: 5, maxConnsPerHost: 5, maxIdleConnsPerHost: 5 },
  { maxIdleConns: 0, maxIdleConnsPerHost: 0 },
  { maxIdleConns: 5, maxIdleConnsPerHost: 10 },
])("%o contradicts nothing: defaults give way", (options) => {
  new HttpPool(options).destroy();
});

test("a header's value is in no message", () => {
  expect(() => new HttpPool({ headers: { authorization: "hunter2\n" } })).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining("hunter2") }),
  );
});

test("the environment sets what the guide names", () => {
  expect(httpPoolOptionsFromEnv({ HTTP_MAX_IDLE_CONNS: "50", HTTP_TIMEOUT_SECONDS: "1.5" })).toEqual({
    maxIdleConns: 50,
    timeoutMs: 1500,
  });
  expect(httpPoolOptionsFromEnv({ HTTP_MAX_IDLE_CONNS: " " })).toEqual({});
});

test.each([
  [{ HTTP_MAX_IDLE_CONNS: "many" }, "HTTP_MAX_IDLE_CONNS must be a whole number"],
  [{ HTTP_TIMEOUT_SECONDS: "0" }, "HTTP_TIMEOUT_SECONDS must be a number of seconds above 0"],
])("garbage in the environment %o is refused", (env, message) => {
  expect(() => httpPoolOptionsFromEnv(env)).toThrow(HttpPoolConfigError);
  expect(() => httpPoolOptionsFromEnv(env)).toThrow(message);
});

test("a text where TLS options or headers belong is refused without being shown: it may be a key", () => {
  const secret = "-----BEGIN PRIVATE KEY-----abc";
  for (const options of [{ tls: secret }, { headers: secret }]) {
    const make = (): HttpPool => new HttpPool(options as unknown as HttpPoolOptions);
    expect(make).toThrow(HttpPoolConfigError);
    expect(make).not.toThrow("PRIVATE");
  }
});
