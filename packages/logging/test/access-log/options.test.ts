import { accessLog, type AccessLogOptions } from "@vg/logging/access-log";
import { LoggerConfigError, withContext } from "@vg/logging";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { resolveConfig } from "../../src/config.ts";
import { ClientAddresses } from "../../src/access-log/client-address.ts";
import { pathOf, QueryScrubber } from "../../src/access-log/target.ts";
import { createRedactor } from "../../src/line/redact.ts";
import { lineStream } from "./line-stream.ts";
import { ask, KINDS, start } from "./servers.ts";

const [plain] = KINDS as [(typeof KINDS)[number]];

test.each<[AccessLogOptions, RegExp]>([
  [{ query: "some" as "off" }, /query must be one of "scrub", "off", "full", got "some"/],
  [{ trustedProxies: ["10.0.0.0/33"] }, /trustedProxies has "10\.0\.0\.0\/33", which is neither/],
  [{ trustedProxies: ["proxy.local"] }, /trustedProxies has "proxy\.local"/],
  [{ requestHeaders: ["a b"] }, /requestHeaders has "a b", which is no name of a header/],
  [{ requestIdHeader: "" }, /requestIdHeader must be the name of a header, or false/],
  [{ maxPathLength: 1 }, /maxPathLength must be a whole number from 16 to 65536/],
  [{ skip: true as never }, /skip must be a function/],
  [{ skp: () => true } as never, /unknown option "skp"\. Did you mean skip\?/],
])("%o is refused", (options, message) => {
  const { logger } = lineStream();
  expect(() => accessLog(logger, options)).toThrow(message);
  expect(() => accessLog(logger, options)).toThrow(LoggerConfigError);
});

test("what is no logger of ours is refused", () => {
  expect(() => accessLog(lineStream().logger.pino as never)).toThrow(/logger must be a logger of createLogger/);
});

test("headers are shown by name, and secret ones are hidden all the same", async () => {
  const options = {
    requestHeaders: ["Authorization", "Cookie", "x-tenant", "x-missing"],
    responseHeaders: ["set-cookie"],
  };
  await using running = await start(plain, options);
  running.server.prependListener("request", (_request, response) => response.setHeader("set-cookie", ["sid=s3cr3t"]));
  await ask(running, "/users/1", {
    headers: { authorization: "Bearer s3cr3t", cookie: "a=s3cr3t", "x-tenant": "acme" },
  });
  const [line] = await running.log.requests(1);
  expect(line).toMatchObject({
    request_headers: { authorization: "[redacted]", cookie: "[redacted]", "x-tenant": "acme" },
    response_headers: { "set-cookie": "[redacted]" },
  });
  await using open = await start(plain, options, {}, { redact: false });
  await ask(open, "/users/1", { headers: { authorization: "Bearer s3cr3t" } });
  expect((await open.log.requests(1))[0]).toMatchObject({ request_headers: { authorization: "Bearer s3cr3t" } });
});

test("the query can be left out, or be shown whole; path and query are bounded", async () => {
  await using off = await start(plain, { query: "off" });
  await ask(off, "/users/1?a=1");
  expect((await off.log.requests(1))[0]).not.toHaveProperty("query");
  await using full = await start(plain, { query: "full", maxPathLength: 16 });
  await ask(full, `/users/1?otp=123&b=${"x".repeat(50)}`);
  await ask(full, `/users/${"y".repeat(50)}`);
  const [first, second] = await full.log.requests(2);
  expect(first?.["query"]).toBe("otp=[redacted]&b…");
  expect(second?.["path"]).toBe("/users/yyyyyyyyy…");
});

test("levels and fields can be one's own, and a function that throws costs nothing but itself", async () => {
  await using running = await start(plain, {
    level: ({ path, statusCode }) => {
      if (path === "/users/bad") throw new Error("no level");
      return path === "/users/quiet" ? "silent" : statusCode === 404 ? "info" : "warn";
    },
    fields: ({ path, request }) => {
      if (path === "/users/bad") throw new Error("no fields");
      return { path: "other", tenant: typeof request };
    },
  });
  for (const path of ["/users/quiet", "/users/1", "/none", "/users/bad", "/users/bad"]) await ask(running, path);
  const lines = await running.log.requests(4);
  expect(lines.map((line) => line["level"])).toEqual(["warn", "info", "info", "info"]);
  expect(lines[0]).toMatchObject({ path: "/users/1", "field.path": "other", tenant: "object" });
  expect(
    running.log.lines.filter((line) => String(line["message"]).startsWith("accessLog: the function")),
  ).toHaveLength(2);
});

test("a field has its name where the line says nothing under it; the line's own is hidden where its name is a secret's", async () => {
  const fields = () => ({ route: "mine", method: "mine" });
  await using running = await start(plain, { fields }, {}, { redact: { keys: ["user_agent", "path"] } });
  await ask(running, "/users/1", { headers: { "user-agent": "suite/1" } });
  const [line] = await running.log.requests(1);
  expect(line).toMatchObject({
    method: "GET",
    path: "[redacted]",
    user_agent: "[redacted]",
    route: "mine",
    "field.method": "mine",
  });
});

test("fields of a context around the server give way to the line's own, and are there otherwise", async () => {
  const running = await withContext({ method: "forged", shard: 7 }, () => start(plain));
  await using _ = running;
  await ask(running, "/users/1");
  const [line] = await running.log.requests(1);
  expect(line).toMatchObject({ method: "GET", shard: 7, "field.method": "forged" });
  expect(line).toHaveProperty("request_id");
});

describe("the client's address", () => {
  const headers = (value: string) => ({ "x-forwarded-for": value, forwarded: value });
  const fail = (message: string) => new Error(message);

  test("is the peer's, unless that is a configured proxy", () => {
    const nobody = new ClientAddresses([], "x-forwarded-for", fail);
    expect(nobody.of("::ffff:10.0.0.1", headers("6.6.6.6"))).toBe("10.0.0.1");
    const proxies = new ClientAddresses(["10.0.0.0/8", "::1"], "x-forwarded-for", fail);
    expect(proxies.of("9.9.9.9", headers("6.6.6.6"))).toBe("9.9.9.9");
    expect(proxies.of("10.1.1.1", headers("6.6.6.6, 7.7.7.7, 10.2.2.2"))).toBe("7.7.7.7");
    expect(proxies.of("::1", headers("junk, <script>"))).toBe("::1");
    expect(proxies.of(undefined, headers("6.6.6.6"))).toBeUndefined();
  });

  test.each([
    ["6.6.6.6:4711", "6.6.6.6"],
    ["[2001:db8::1]:4711", "2001:db8::1"],
    ["[2001:DB8::1]", "2001:db8::1"],
    ["::FFFF:6.6.6.6", "6.6.6.6"],
    ["6.6.6.6:4711, 10.2.2.2:80", "6.6.6.6"],
    ["6.6.6.6:port", "10.1.1.1"],
  ])("is read from X-Forwarded-For with a port, with brackets and in upper case: %s", (value, address) => {
    const proxies = new ClientAddresses(["10.0.0.0/8"], "x-forwarded-for", fail);
    expect(proxies.of("10.1.1.1", headers(value))).toBe(address);
  });

  test("is read from Forwarded where that is configured", () => {
    const proxies = new ClientAddresses(["10.0.0.0/8"], "forwarded", fail);
    expect(proxies.of("10.1.1.1", headers('for=6.6.6.6, for="7.7.7.7:80";proto=https'))).toBe("7.7.7.7");
    expect(proxies.of("10.1.1.1", headers('for="[2001:db8::1]:4711"'))).toBe("2001:db8::1");
    expect(proxies.of("10.1.1.1", headers('For="[2001:DB8::1]"'))).toBe("2001:db8::1");
    expect(proxies.of("10.1.1.1", headers("for=_hidden"))).toBe("10.1.1.1");
  });
});

describe("a query", () => {
  const scrubber = new QueryScrubber(createRedactor(resolveConfig({}).redact));
  test.each([
    ["a=1&b=&c", "a=1&b=&c"],
    ["api%5Fkey=x1&API-KEY=x2&user[password]=x3", "api%5Fkey=[redacted]&API-KEY=[redacted]&user[password]=[redacted]"],
    ["next=https%3A%2F%2Fu%3Apw%40h%2F&q=a+b", "next=[redacted]&q=a+b"],
    ["q=%zz%20password%3Dhunter2", "q=[redacted]"],
    ["&&=&token=", "&&=&token="],
  ])("%s is shown as %s", (query, shown) => {
    expect(scrubber.scrub(query, 1000)).toBe(shown);
  });

  test("never shows the value of a secret name, wherever it is cut", () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.webQueryParameters(), fc.constantFrom("token", "Api_Key", "jwt"))),
        fc.nat(200),
        (parts, max) => {
          const query = parts.map(([other, name]) => `${other}&${name}=SECRETVALUE`).join("&");
          return !/=SEC/.test(scrubber.scrub(query, max));
        },
      ),
    );
  });

  test("a path has neither the query nor what a client puts before it", () => {
    expect(["/a?b", "*", "http://u:p@h/a?b", "http://h", "db:5432"].map(pathOf)).toEqual([
      "/a",
      "*",
      "/a",
      "/",
      "db:5432",
    ]);
  });
});

test.each(["sig", "X-Amz-Signature", "client_assertion"])(
  "%s is a secret of a query also as its first parameter",
  async (name) => {
    await using running = await start(plain, {});
    await ask(running, `/users/1?${name}=S3CR3T&page=2`);
    expect((await running.log.requests(1))[0]?.["query"]).toBe(`${name}=[redacted]&page=2`);
  },
);

test("no half of a secret stays where a path, a header or the user agent is cut", async () => {
  await using running = await start(plain, { requestHeaders: ["x-target"] });
  const secret = "postgres://u:hunter2hunter2@db/x";
  const headers = { "user-agent": `${"a".repeat(238)} ${secret}`, "x-target": `${"a".repeat(1000)} ${secret}` };
  await ask(running, `/users/${"a".repeat(996)}${secret}`, { headers });
  expect(JSON.stringify(await running.log.requests(1))).not.toContain("hunt");
});

test("a level that throws leaves the usual one", async () => {
  const level = (): never => {
    throw new Error("no level");
  };
  await using running = await start(plain, { level });
  await ask(running, "/nowhere");
  expect((await running.log.requests(1))[0]).toMatchObject({ status_code: 404, level: "warn" });
});

test("a level that is none is warned of once, without a caller in this package, and the usual one holds", async () => {
  await using running = await start(plain, { level: () => "loud" as never });
  for (let i = 0; i < 2; i++) await ask(running, "/nowhere");
  expect((await running.log.requests(2))[1]).toMatchObject({ status_code: 404, level: "warn" });
  const warnings = running.log.lines.filter((line) => String(line["message"]).includes("option level gave no level"));
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).not.toHaveProperty("caller");
});

test("an async function is refused where an answer is needed at once", () => {
  const { logger } = lineStream();
  for (const option of ["level", "skip", "fields", "generateRequestId"]) {
    const options = { [option]: async () => Promise.resolve() } as AccessLogOptions;
    expect(() => accessLog(logger, options)).toThrow(new RegExp(`${option} must be a function that answers at once`));
  }
});

test("a promise from a function is no answer: it is warned of once, and its rejection ends nothing", async () => {
  const rejections: unknown[] = [];
  const onRejection = (reason: unknown): void => void rejections.push(reason);
  process.on("unhandledRejection", onRejection);
  try {
    const later = (): never => Promise.reject(new Error("later")) as never;
    await using running = await start(plain, { skip: later, fields: later, level: later, generateRequestId: later });
    for (let i = 0; i < 2; i++) await ask(running, "/nowhere");
    const lines = await running.log.requests(2);
    expect(lines[1]).toMatchObject({
      status_code: 404,
      level: "warn",
      request_id: expect.stringMatching(/^[\w-]{36}$/),
    });
    expect(Object.keys(lines[1] as object)).not.toContain("fields");
    const warnings = running.log.lines.filter((line) => String(line["message"]).includes("gave a promise"));
    expect(warnings).toHaveLength(4);
    await new Promise(setImmediate);
    expect(rejections).toEqual([]);
  } finally {
    process.off("unhandledRejection", onRejection);
  }
});
