import { captureLogs } from "@vg/logging/testing";
import { describe, expect, test } from "vitest";

const shown = (fields: object, config: Parameters<typeof captureLogs>[0] = {}): Record<string, unknown> => {
  const { logger, lines } = captureLogs(config);
  logger.info("m", fields);
  return lines[0] as Record<string, unknown>;
};

describe("names", () => {
  test.each([
    "password",
    "PASSWORD",
    "passwd",
    "secret",
    "token",
    "Authorization",
    "cookie",
    "Set-Cookie",
    "set_cookie",
    "api_key",
    "apikey",
    "apiKey",
    "x-api-key",
    "X-API-Key",
    "access_token",
    "refreshToken",
    "client_secret",
    "private_key",
    "proxy-authorization",
    "dbPassword",
    "STRIPE_API_KEY",
    "aws_secret_access_key",
    "GITHUB_TOKEN",
    "HTTP_AUTHORIZATION",
    "http_cookie",
    "x-vault-token",
    "dbPwd",
    "webhookSigningKey",
    "awsCredentials",
    "passwords",
  ])("%s is hidden, at the top, deep down, in lists, maps and carried fields", (name) => {
    const deep = { a: [{ b: { [name]: "hunter2" } }], map: new Map([[name, "hunter2"]]), [name]: "hunter2" };
    expect(shown(deep)).toMatchObject({
      a: [{ b: { [name]: "[redacted]" } }],
      map: { [name]: "[redacted]" },
      [name]: "[redacted]",
    });
    const { logger, lines } = captureLogs();
    logger
      .child(deep)
      .pino.child(deep)
      .info({ [name]: ["hunter2"] }, "m");
    expect(JSON.stringify(lines)).not.toContain("hunter2");
  });

  test.each(["tokens_used", "max_tokens", "user", "key", "session_id", "author", "secretary"])(
    "%s is shown",
    (name) => {
      expect(shown({ [name]: "value" })).toMatchObject({ [name]: "value" });
    },
  );

  test("that hold nothing show that they hold nothing", () => {
    expect(shown({ password: null, token: undefined })).toMatchObject({ password: null });
  });

  test("can be added and taken off the list", () => {
    const redact = { keys: ["email"], allow: ["token"], replacement: "***" };
    expect(shown({ E_mail: "a@b", token: "t", password: "p" }, { redact })).toMatchObject({
      E_mail: "***",
      token: "t",
      password: "***",
    });
  });
});

describe("text", () => {
  test.each([
    ["postgres://user:pa:ss@localhost:5432/db", "postgres://user:[redacted]@localhost:5432/db"],
    ["redis://:p@ss@host/0 and amqp://a:b@c", "redis://:[redacted]@host/0 and amqp://a:[redacted]@c"],
    ["GET /x?api_key=abc&q=1&access_token=d", "GET /x?api_key=[redacted]&q=1&access_token=[redacted]"],
    ["host=db user=app password='p w' dbname=x", "host=db user=app password=[redacted] dbname=x"],
    ['{"user":"u","password":"p\\"w","n":1}', '{"user":"u","password":"[redacted]","n":1}'],
    ['"{\\"client_secret\\":\\"abc\\"}"', '"{\\"client_secret\\":\\"[redacted]\\"}"'],
    ["Authorization: Bearer eyJhbGciOi.abc-def_1", "Authorization: Bearer [redacted]"],
    ["basic dXNlcjpwYXNz", "basic [redacted]"],
    [
      "-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----",
      "-----BEGIN RSA PRIVATE KEY-----[redacted]-----END RSA PRIVATE KEY-----",
    ],
  ])("%j has its secret hidden, as a field and as the message", (text, clean) => {
    const { logger, lines } = captureLogs();
    logger.info(text, { text });
    expect(lines[0]).toMatchObject({ message: clean, text: clean });
  });

  test.each([
    "https://example.com:8080/users/a@b.c",
    "basic settings apply",
    "Unexpected token: } in JSON",
    "a=b tokens=5",
  ])("%j is left alone", (text) => expect(shown({ text })).toMatchObject({ text }));

  test("is left alone where only names are to be hidden", () => {
    expect(shown({ text: "password=x", password: "x" }, { redact: { text: false } })).toMatchObject({
      text: "password=x",
      password: "[redacted]",
    });
  });

  test("hides a secret that the cut of a long text would have split", () => {
    const text = `${"x".repeat(40)}postgres://u:${"hunter2".repeat(10)}@h/db`;
    expect(JSON.stringify(shown({ text }, { maxStringLength: 64 }))).not.toContain("hunter");
  });

  test("takes a time that grows with the text and no faster", () => {
    // Each of these makes a careless pattern try every pair of places.
    for (const piece of [
      "://a:",
      "token=",
      "secret ",
      "a-a-",
      "Bearer ",
      '"password":"',
      "-----BEGIN PRIVATE KEY-----",
      '\\"',
      "x=' ",
    ]) {
      const { logger, lines } = captureLogs({ maxStringLength: 1_000_000, maxLineBytes: 8_000_000 });
      logger.info(piece.repeat(200_000 / piece.length));
      expect(lines).toHaveLength(1);
    }
  });
});

test("nothing is hidden with redact: false", () => {
  const fields = { password: "p", text: "postgres://u:p@h/db" };
  expect(shown(fields, { redact: false })).toMatchObject(fields);
});

describe("pairs", () => {
  const headers = { authorization: "tok", "x-api-key": "sk", accept: "text/html" };
  const clean = { authorization: "[redacted]", "x-api-key": "[redacted]", accept: "text/html" };

  test("in a list have the value of a secret name hidden", () => {
    expect(shown({ h: Object.entries(headers) })).toMatchObject({ h: Object.entries(clean) });
  });

  test("of a map with a key that is no text, likewise", () => {
    const map = new Map<unknown, unknown>([
      ["password", "x"],
      [1, 2],
    ]);
    expect(shown({ map })).toMatchObject({
      map: [
        ["password", "[redacted]"],
        [1, 2],
      ],
    });
  });

  test("of Headers and URLSearchParams are shown by name, and redacted", () => {
    const h = new Headers(headers);
    h.append("set-cookie", "sid=1");
    const params = new URLSearchParams("token=abc&a=1&a=2");
    expect(shown({ h, params })).toMatchObject({
      h: { ...clean, "set-cookie": "[redacted]" },
      params: { token: "[redacted]", a: ["1", "2"] },
    });
    expect(shown(new Headers(headers))).toMatchObject({ fields: clean });
  });

  test("that are only words stay words", () => {
    expect(shown({ scopes: ["token", "password"] })).toMatchObject({ scopes: ["token", "password"] });
  });
});

describe("names that hold secrets themselves", () => {
  test("are cleaned, and stay apart where they then look alike", () => {
    const names = { "postgres://u:hunter2@h": 1, "postgres://u:hunter3@h": 2, "postgres://u:[redacted]@h": 3 };
    const clean = {
      "postgres://u:[redacted]@h#2": 1,
      "postgres://u:[redacted]@h#3": 2,
      "postgres://u:[redacted]@h": 3,
    };
    expect(shown({ ...names, deep: names, map: new Map(Object.entries(names)) })).toMatchObject({
      ...clean,
      deep: clean,
      map: clean,
    });
  });
});

test("the getter of a secret that throws the secret does not show it", () => {
  const evil = {
    get password(): string {
      throw new Error("hunter2");
    },
    get other(): string {
      throw new Error("why");
    },
  };
  expect(shown(evil)).toMatchObject({ password: "[redacted]", other: "[unreadable: why]" });
  expect(
    shown({ evil, error: Object.defineProperties(new Error("e"), Object.getOwnPropertyDescriptors(evil)) }),
  ).toMatchObject({
    evil: { password: "[redacted]", other: "[unreadable: why]" },
    error: { password: "[redacted]" },
  });
});

test.each(["%o", "%O", "%j", "%s", ""])(
  "an object that fills %j in a message has its secrets hidden",
  (placeholder) => {
    const { logger, lines } = captureLogs();
    const secret = { password: "hunter2", a: 1 };
    logger.info({ x: 1 }, `b ${placeholder}`, secret);
    logger.pino.info({ x: 1 }, `b ${placeholder}`, secret);
    expect(JSON.stringify(lines)).not.toContain("hunter2");
    expect(lines[0]?.message).toMatch(/^b +\{"password":"\[redacted\]","a":1\}$/);
  },
);
