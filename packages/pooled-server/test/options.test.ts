import { createPooledServer } from "@vg/pooled-server";
import { expect, test } from "vitest";
import { listen } from "./support/server.ts";

test("a low ceiling of concurrency, or a short time for a request, needs no second option", async () => {
  const { server } = await listen((_request, response) => response.end(), {
    concurrencyCeiling: 10,
    receiveTimeoutMs: 2_000,
  });
  expect(server.getAdmissionStats().limit).toBe(10);
});

test("what was asked for above such a limit is refused with the value that was given", async () => {
  const base = (): void => undefined;
  await expect(createPooledServer(base, { concurrencyCeiling: 10, minConcurrency: 11 })).rejects.toThrow(
    "minConcurrency must be at most concurrencyCeiling (10), got 11",
  );
  await expect(createPooledServer(base, { receiveTimeoutMs: 5_000, headersTimeoutMs: 6_000 })).rejects.toThrow(
    "headersTimeoutMs must be at most receiveTimeoutMs (5000), got 6000",
  );
});

test("a port from the environment is refused as the text that it is", async () => {
  const { server } = await listen((_request, response) => response.end());
  await expect(server.listen("8080" as never)).rejects.toThrow('got "8080". Make a number of it');
});

test.each([
  [{ trustedProxies: true }, "trustedProxies must be an array of addresses and CIDR ranges"],
  [{ trustedProxies: "10.0.0.0/8" }, 'got "10.0.0.0/8"'],
  [{ httpPool: { timeoutMs: 5 } }, "httpPool.timeoutMs is the server's option httpTimeoutMs; set that instead."],
  [{ dbPool: { dsn: "x" } }, "dbPool.dsn is the server's option postgresDsn; set that instead."],
  [{ dbCritical: true, postgresDsn: undefined }, "there is no database: postgresDsn is not set (POSTGRES_DSN)"],
])("%o is refused in words, and not ignored", async (config, words) => {
  await expect(createPooledServer(() => undefined, config as never)).rejects.toMatchObject({
    code: "ERR_VG_SERVER_CONFIG",
    message: expect.stringContaining(words),
  });
});

test("what is to be called later, and is no function, is refused where it is given", async () => {
  const { server } = await listen((_request, response) => response.end());
  expect(() => server.onClose("writer", undefined as never)).toThrow(
    'onClose("writer") takes a function, got undefined',
  );
  expect(() => server.onUpgrade({} as never)).toThrow("onUpgrade() takes a function, got an object");
  expect(() => server.onStateChange("ready" as never)).toThrow('onStateChange() takes a function, got "ready"');
});
