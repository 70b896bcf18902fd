import { captureLogs } from "@vg/logging/testing";
import { describe, expect, test } from "vitest";

const message = (text: string, config: Parameters<typeof captureLogs>[0] = {}): string => {
  const { logger, lines } = captureLogs(config);
  logger.info(text, { text });
  expect(lines[0]?.["text"]).toBe(lines[0]?.message);
  return lines[0]?.message ?? "";
};

describe("keys", () => {
  test.each([
    ["RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,AAAA\n\nMIISECRET"],
    ["ENCRYPTED PRIVATE KEY", "MIISECRET"],
    ["PGP PRIVATE KEY BLOCK", "Comment: a-b\n\nMIISECRET"],
  ])("the body of a %s is hidden whole", (kind, body) => {
    expect(message(`-----BEGIN ${kind}-----\n${body}\n-----END ${kind}-----`)).toBe(
      `-----BEGIN ${kind}-----[redacted]-----END ${kind}-----`,
    );
  });
});

describe("a password in a URL", () => {
  test.each([
    ["postgres://u:pa/ss@h/db", "postgres://u:[redacted]@h/db"],
    ["postgres://u:p@ss/w@h/db", "postgres://u:[redacted]@h/db"],
    ["postgres://u:p@ss/w?or#d@h:5432/db rest", "postgres://u:[redacted]@h:5432/db rest"],
    ["postgres://u:1/2@h/db", "postgres://u:[redacted]@h/db"],
    ["https://u:pa/ss@h/", "https://u:[redacted]@h/"],
    ['postgres://u:p"w@h/db', "postgres://u:[redacted]@h/db"],
    ['["amqp://a:b@c","amqp://d:e@f"]', '["amqp://a:[redacted]@c","amqp://d:[redacted]@f"]'],
    ["http://proxy:8080/?to=ftp://u:p@h", "http://proxy:8080/?to=ftp://u:[redacted]@h"],
    ["smtp://bob@example.com:hunter2@smtp.example.com", "smtp://bob@example.com:[redacted]@smtp.example.com"],
    ["smtp://bob@example.com:12345@h:25", "smtp://bob@example.com:[redacted]@h:25"],
    ["https://bob@example.com:pw@h/x", "https://bob@example.com:[redacted]@h/x"],
  ])("%j is hidden to the last @", (text, clean) => expect(message(text)).toBe(clean));

  test.each([
    "http://localhost:4873/@scope/package",
    "https://example.com:8080?mail=a@b.c",
    "smtp://bob@example.com:25",
    "postgres://bob@h:5432/db?mail=a@b.c",
    "file:///srv/node_modules/.pnpm/pino@10.4.0/index.js:10:2",
    "http://[::1]:8080/@me",
    "mail a@b.c, see https://h:1, bye",
  ])("%j has none", (text) => expect(message(text)).toBe(text));

  test("of more than the part of a long text that is looked at is hidden", () => {
    const text = `${"y".repeat(100)} postgres://u:${"P".repeat(30_000)}@h`;
    const shown = message(text, { maxStringLength: 128 });
    expect(shown).not.toContain("PPP");
    expect(shown).toMatch(/postgres:\/\/u:\[redacted\]…\[30116 characters\]$/);
  });

  test("is hidden where other secrets made the text so short that its cut end is shown", () => {
    const text = `password="${"p".repeat(4000)}" ${"x".repeat(90)} postgres://u:${"P".repeat(300)}@h`;
    const shown = message(text, { maxStringLength: 128 });
    expect(shown).not.toContain("PPP");
    expect(shown).toContain("characters]");
  });
});

describe("JSON in text", () => {
  const nested = (value: unknown, times: number): string => {
    let text = JSON.stringify(value);
    for (let i = 1; i < times; i++) text = JSON.stringify(text);
    return text;
  };
  const parsed = (text: string, times: number): unknown => {
    let value: unknown = text;
    for (let i = 0; i < times; i++) value = JSON.parse(value as string);
    return value;
  };

  test.each([1, 2, 3])("that was encoded %d times has its secrets hidden and is still JSON", (times) => {
    const body = {
      user: 'a "b" \\',
      password: 'hun"te\\r2',
      token: 12345,
      client_secret: { a: ['s"]3', "s4"] },
      authorization: "s5",
      cookie: ["s6=1", "s7"],
      "set-cookie": true,
      apiKey: null,
      end: "seen",
    };
    expect(parsed(message(nested(body, times)), times)).toEqual({
      user: 'a "b" \\',
      password: "[redacted]",
      token: "[redacted]",
      client_secret: "[redacted]",
      authorization: "[redacted]",
      cookie: "[redacted]",
      "set-cookie": "[redacted]",
      apiKey: null,
      end: "seen",
    });
  });

  test("that is cut, or in single quotes, has them hidden too", () => {
    expect(message('{"a":1,"password":"hunt')).toBe('{"a":1,"password":"[redacted]"');
    expect(message('{"a":1,"secret":["x",{"y":"z')).toBe('{"a":1,"secret":"[redacted]"');
    expect(message("{'password': 'hunter2', 'a': 1}")).toBe("{'password': '[redacted]', 'a': 1}");
  });
});

describe("name: value", () => {
  test.each([
    ["X-Api-Key: sk-1", "X-Api-Key: [redacted]"],
    ["Cookie: sid=1; b=2\r\nHost: h", "Cookie: [redacted]\r\nHost: h"],
    ["set-cookie: sid=1", "set-cookie: [redacted]"],
    ["Authorization: token ghp_abcdef", "Authorization: token [redacted]"],
    ["Proxy-Authorization: Digest username=u, response=r", "Proxy-Authorization: Digest [redacted]"],
    ["curl -H 'Authorization: sk-1' https://h", "curl -H 'Authorization: [redacted]' https://h"],
    ["login with password: hunter2 failed", "login with password: [redacted] failed"],
    ["{ user: 'u', password: 'hunt er2' }", "{ user: 'u', password: [redacted] }"],
    ["password : hunter2", "password : [redacted]"],
    ["invalid token: eyJhbGciOi1", "invalid token: [redacted]"],
    ["x-auth-token: abc", "x-auth-token: [redacted]"],
    ["password='never closed", "password=[redacted]"],
    ["password='hun\\'ter2' b=1", "password=[redacted] b=1"],
    ["password='hunter2\\", "password=[redacted]"],
  ])("%j is hidden", (text, clean) => expect(message(text)).toBe(clean));

  test.each([
    "Unexpected token: } in JSON",
    "Unexpected token: identifier",
    "tokens: 5",
    "The secretary: Ms A",
    "key: value",
  ])("%j is left alone", (text) => expect(message(text)).toBe(text));
});

test("hostile texts take a time that grows with them and no faster", () => {
  // Each of these makes a careless pattern, or loop, try every pair of places.
  for (const piece of [
    "@://a:",
    "://a:@",
    '://a:"',
    "://:@ ",
    "password:",
    "password: '",
    "password='\\'",
    "cookie:'\"",
    'password":[',
    'password":{"',
    "password\\",
    'password\\\\\\":',
    "token:a",
    "cookie\t",
    "authorization:token ",
    "-----BEGIN A",
    "---- BEGIN PRIVATE KEY ----",
    "d ",
    "'",
    "cookie=a;",
    'cookie=a="',
    "cookie=a=b; ",
    "; a",
    "secret:[",
    "secret:['",
    "secret=> ",
    "password :=",
    "'password' => ",
    "secret={'\\",
    "://a@",
    "://a@b:",
    "hooks.slack.com/services/",
  ]) {
    const { logger, lines } = captureLogs({ maxStringLength: 1_000_000, maxLineBytes: 8_000_000 });
    logger.info(piece.repeat(200_000 / piece.length));
    logger.info(piece + piece.slice(-1).repeat(200_000));
    expect(lines).toHaveLength(2);
  }
});

test.each([
  ["Authorization=Bearer s3cr3tvalue99", "Authorization=[redacted]"],
  ["authorization = Basic dXNlcjpwYXNzd29yZA==", "authorization = [redacted]"],
  ["token=Bearer s3cr3tvalue99", "token=[redacted]"],
  ["x-api-key: Bearer s3cr3tvalue99", "x-api-key: [redacted]"],
  ['Cookie: theme="dark"; session=abcdef1234567890', "Cookie: [redacted]"],
  ['Set-Cookie: sid="s3cr3tvalue99"; Path=/', "Set-Cookie: [redacted]"],
  ['Authorization: Digest username="bob", response="6629fae4"', "Authorization: Digest [redacted]"],
])("what follows a scheme or a quoted part of a credential is not shown: %s", (text, expected) => {
  expect(message(text)).toBe(expected);
});

describe("lists, objects and several cookies after a name", () => {
  test.each([
    ["cookie=a=1; sid=s3cr3t", "cookie=[redacted]"],
    ["set-cookie = sid=s3cr3t; Path=/; HttpOnly", "set-cookie = [redacted]; HttpOnly"],
    ['cookie=theme="dark"; sid="s3cr3t" status=200', "cookie=[redacted] status=200"],
    ["cookie=s3cr3t status=200", "cookie=[redacted] status=200"],
    ["GET /x?cookie=s3cr3t&page=2", "GET /x?cookie=[redacted]&page=2"],
    ["{ cookie: [ 'a=1', 'sid=s3cr3t' ], user: 'bob' }", "{ cookie: [redacted], user: 'bob' }"],
    ["{ authorization: [ 'Bearer s3cr3t' ], user: 'bob' }", "{ authorization: [redacted], user: 'bob' }"],
    ["{ secret: [ 'it\\'s ]', \"]\" ], a: 1 }", "{ secret: [redacted], a: 1 }"],
    ['secret: [ "hunter2" ]', "secret: [redacted]"],
    ['password: {"a":"hunter2"} b', "password: [redacted] b"],
    ["password={a:{b:'hunter2'}} b", "password=[redacted] b"],
    ["token=[hunter2", "token=[redacted]"],
    ['password := "hunter2"', "password := [redacted]"],
    ["password := hunter2 b", "password := [redacted] b"],
    ["Map(1) { 'password' => 'hunter2' }", "Map(1) { 'password' => '[redacted]' }"],
    ['{:password=>"hunter2", :a=>1}', "{:password=>[redacted], :a=>1}"],
    ["password=[ab]hunter2 b=1", "password=[redacted] b=1"],
    ["{'authorization': Bearer s3cr3t, 'a': 1}", "{'authorization': '[redacted]', 'a': 1}"],
    ["password=[redacted] b=1", "password=[redacted] b=1"],
  ])("%j is hidden", (text, clean) => expect(message(text)).toBe(clean));

  test("in text that is in JSON, the JSON goes on behind it", () => {
    const body = { text: `{ cookie: [ "a=1", "sid=s3cr3t" ] }`, end: "seen" };
    const shown = JSON.parse(message(JSON.stringify(body))) as unknown;
    expect(shown).toEqual({ text: "{ cookie: [redacted] }", end: "seen" });
  });

  test.each(["Unexpected token: { in JSON", "Unexpected token: [ in JSON at 4", "tokens: [1, 2]"])(
    "%j is left alone",
    (text) => expect(message(text)).toBe(text),
  );
});

describe("names that are secret as fields are so in text, where a value is assigned or in JSON", () => {
  test.each(["otp", "jwt", "cvv", "CVC", "ssn", "credit_card", "cardNumber", "credentials", "webhookSigningKey"])(
    "%s",
    (name) => {
      expect(message(`sent ${name}=123456 on`)).toBe(`sent ${name}=[redacted] on`);
      expect(message(`{"${name}":"123456","a":1}`)).toBe(`{"${name}":"[redacted]","a":1}`);
      expect(message(`{\\"${name}\\":123456}`)).toBe(`{\\"${name}\\":\\"[redacted]\\"}`);
    },
  );

  test.each(["top=5 laptop=6 hotp=1", "cvs=1 discard=7", '{"option":"x","slot":3}'])("%j has none", (text) =>
    expect(message(text)).toBe(text),
  );
});

test("a replacement of one's own is put there as well", () => {
  expect(message("secret: ['hunter2'], a", { redact: { replacement: "[" } })).toBe("secret: [, a");
  const redact = { replacement: "***" };
  expect(message("{ cookie: [ 'a=1' ] } and cookie=a; sid=s3cr3t", { redact })).not.toMatch(/a=1|s3cr3t/);
  expect(message("password: { a: 'hunter2' } b: 1", { redact })).toBe("password: *** b: 1");
});

test("the address of a Slack webhook is hidden", () => {
  const text = "POST https://hooks.slack.com/services/T00000000/B00000000/XXXXXXXXXXXXXXXXXXXXXXXX failed";
  expect(message(text)).toBe("POST https://[redacted] failed");
});

test("the mark of what can't be read keeps its bracket", () => {
  const { logger, lines } = captureLogs();
  logger.info("m", {
    get a() {
      throw new Error("password=hunter2");
    },
  });
  expect(lines[0]).toMatchObject({ a: "[unreadable: password=[redacted]]" });
});
