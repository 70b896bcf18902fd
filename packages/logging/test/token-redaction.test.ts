import { createLogger, LoggerConfigError } from "@vg/logging";
import { captureLogs } from "@vg/logging/testing";
import fc from "fast-check";
import { describe, expect, test } from "vitest";

const message = (text: string, config: Parameters<typeof captureLogs>[0] = {}): string => {
  const { logger, lines } = captureLogs(config);
  logger.info(text, { text });
  expect(lines[0]?.["text"]).toBe(lines[0]?.message);
  return lines[0]?.message ?? "";
};

const alphanumeric = "a1B2c3D4e5F6g7H8i9J0k1L2m3N4o5P6q7R8s9T0u1V2w3X4y5Z6";
const some = (length: number): string => alphanumeric.repeat(2).slice(0, length);
// Put together here, so that no scanner takes this file for a leak.
const TOKENS: Record<string, string> = {
  OpenAI: `sk-${some(48)}`,
  "OpenAI, of a project": `sk-proj-${some(20)}-_${some(30)}`,
  Anthropic: `sk-ant-api03-${some(40)}-${some(10)}AA`,
  Stripe: `sk_live_${some(24)}`,
  "Stripe, restricted": `rk_test_${some(24)}`,
  "Stripe, of a web hook": `whsec_${some(32)}`,
  GitHub: `ghp_${some(36)}`,
  "GitHub, OAuth": `gho_${some(36)}`,
  "GitHub, fine-grained": `github_pat_${some(22)}_${some(40)}`,
  GitLab: `glpat-${some(20)}`,
  npm: `npm_${some(36)}`,
  PyPI: `pypi-AgEIcHlwaS5vcmc${some(40)}`,
  "Hugging Face": ["hf", "aBcDeFgHiJkLmNoPqRsTuVwXyZaBcDeFgH"].join("_"),
  Groq: `gsk_${some(50)}`,
  "Slack, bot": `xoxb-123456789012-123456789012-${some(24)}`,
  "Slack, user": `xoxp-1234567890-${some(24)}`,
  "Slack, app": `xapp-1-A012-${some(24)}`,
  Amazon: ["AKIA", "ABCDEFGH23456789"].join(""),
  "Amazon, temporary": ["ASIA", "ABCDEFGH23456789"].join(""),
  Google: `AIza${some(35)}`,
  "Google, OAuth": `ya29.${some(40)}`,
  SendGrid: `SG.${some(22)}.${some(43)}`,
  Vault: `hvs.${some(24)}`,
  Shopify: `shpat_${"0123456789abcdef".repeat(2)}`,
  "a JSON Web Token": `eyJ${some(17)}.eyJ${some(30)}.${some(43)}`,
  "a JSON Web Token without signature": `eyJ${some(17)}.eyJ${some(30)}.`,
  "an encrypted JSON Web Token": `eyJ${some(17)}.${some(30)}.${some(16)}.${some(50)}.${some(22)}`,
};

describe.each(Object.entries(TOKENS))("the look of a token of %s", (_, token) => {
  test.each([
    (text: string) => text,
    (text: string) => `using ${text}, which failed`,
    (text: string) => `(${text})`,
    (text: string) => `"${text}"`,
    (text: string) => `https://${text}@example.com/a`,
    (text: string) => `/v1/${text}/x`,
    (text: string) => `line\n${text}\nline`,
    (text: string) => JSON.stringify(`x\n${text}`),
    (text: string) => `?q%3D${text}`,
    (text: string) => `${"words and words, ".repeat(20)}${text}`,
  ])("gives it away wherever it stands: %s", (place) => {
    expect(message(place(token))).toBe(place("[redacted]"));
  });

  test("gives it away in errors, their stacks and causes, in lists, names, and on the console", () => {
    const { logger, lines } = captureLogs();
    const error = Object.assign(new Error(`no ${token}`, { cause: new Error(token) }), { body: [token] });
    logger.error("m", error, { list: [token, { deep: token }], map: new Map([[token, 1]]), [token]: 1 });
    logger.child({ token_: token }).info({ a: 1 }, "%s", { token_: token });
    expect(JSON.stringify(lines)).not.toContain(token);
    const texts: string[] = [];
    createLogger({ format: "console", destination: { write: (text) => texts.push(text) } }).error(error);
    expect(texts.join("")).not.toContain(token);
  });

  test("gives it away where the cut of a long text goes through it", () => {
    const shown = message(`${"x ".repeat(20)}${token}`, { maxStringLength: 50 });
    expect(shown).not.toContain(token.slice(0, 10));
  });
});

test.each([
  "The quick brown fox jumps over the lazy dog; then it asks, without a secret, why.",
  "Unexpected token < in JSON at position 0",
  "the task-scheduler-with-a-very-long-name is at risk-assessment-level-3",
  "class sk-estimator-doc-link-fitted sk-toggleable__content-arrow",
  "3f2b8c1e-9d4a-4b7e-8f21-0a1b2c3d4e5f",
  "4bf92f3577b34da6a3ce929d0e0e4736",
  "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
  "commit 83aa197f0d1c2b3a4958677485940a3b2c1d0e9f",
  "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
  "sha512-VuDoAxUXoEgpZHtbZFBzGJuqaJfFXAo8qPAFMaqCGHVIWi5iZ1mRoEZgSQh4nEQeFZbFV7Mj5nEQ==",
  "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "web-7d9f8b6c5d-x2v9q in namespace payments-production-eu-west-1",
  "npm_config_registry_and_other_long_names npm_lifecycle_script",
  "hf_hub_download_with_a_long_function_name(repo)",
  "the cursor eyJpZCI6MTIzNDU2Nzg5MH0 follows",
  "AKIA is how such keys start",
  "arn:aws:s3:::my-bucket/path/to/an/object_with_a_rather_long_name.parquet",
  "at Object.<anonymous> (/srv/node_modules/.pnpm/@scope+package@1.2.3/node_modules/@scope/package/dist/index.js:10:2)",
  "SELECT account_identifier_long FROM organisation_subscriptions WHERE id = $1",
  "2026-11-23T06:13:43.384Z 1.2.3-beta.4+build.5678",
  "design=flat&signal=5 a/b?page=2&sort=signature_date",
  "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0.0.0 Safari/537.36",
])("%j holds no secret, and is left alone", (text) => expect(message(text)).toBe(text));

test.each([
  ["GET /a?X-Amz-Signature=0123abc&b=1", "GET /a?X-Amz-Signature=[redacted]&b=1"],
  [
    "https://acc.blob.core.windows.net/c?sv=1&sig=a%2Bb%3D&se=2",
    "https://acc.blob.core.windows.net/c?sv=1&sig=[redacted]&se=2",
  ],
  ["/cb?otp=123456#x", "/cb?otp=[redacted]#x"],
  ["AccountName=a;AccountKey=abc+/==;Suffix=x", "AccountName=a;AccountKey=[redacted];Suffix=x"],
  ["host=db user=app password=hunter2 dbname=x", "host=db user=app password=[redacted] dbname=x"],
])("the secret parameter of %j is hidden", (text, clean) => expect(message(text)).toBe(clean));

describe("headers as lists", () => {
  const shown = (value: unknown): unknown => {
    const { logger, lines } = captureLogs();
    logger.info("m", { value });
    return lines[0]?.["value"];
  };

  test("of names and values by turns, short and long, have their secrets hidden", () => {
    const raw = ["Host", "h", "Authorization", "tok", "X-Api-Key", "k", "Set-Cookie", "sid=1"];
    const clean = ["Host", "h", "Authorization", "[redacted]", "X-Api-Key", "[redacted]", "Set-Cookie", "[redacted]"];
    const filler = Array.from({ length: 20 }, () => ["Accept", "text/html"]).flat();
    expect(shown(raw)).toEqual(clean);
    expect(shown([...raw, ...filler])).toEqual([...clean, ...filler]);
    expect(shown({ rawHeaders: raw })).toEqual({ rawHeaders: clean });
  });

  test("of entries have theirs hidden", () => {
    expect(
      shown([
        { name: "Authorization", value: "tok" },
        { name: "Accept", value: "a" },
      ]),
    ).toEqual([
      { name: "Authorization", value: "[redacted]" },
      { name: "Accept", value: "a" },
    ]);
    expect(shown({ key: "password", value: "hunter2", type: "text" })).toEqual({
      key: "password",
      value: "[redacted]",
      type: "text",
    });
  });

  test("that are lists of words are left alone", () => {
    expect(shown(["token", "password"])).toEqual(["token", "password"]);
    expect(shown({ name: "latency", value: 5 })).toEqual({ name: "latency", value: 5 });
  });
});

describe("patterns of the user's", () => {
  test("are hidden in messages, values, names and errors, besides what is hidden anyway", () => {
    const { logger, lines } = captureLogs({ redact: { patterns: [/\b\d{3}-\d{2}-\d{4}\b/, /CUST\d+/y] } });
    logger.error(new Error("no CUST42 here"), "of 078-05-1120 and 219-09-9999", {
      "CUST7 id": ["CUST8"],
      password: "p",
    });
    expect(lines[0]).toMatchObject({
      message: "of [redacted] and [redacted]",
      "[redacted] id": ["[redacted]"],
      password: "[redacted]",
    });
    expect(JSON.stringify(lines)).not.toContain("CUST");
  });

  test("see to it without the built-in ones too", () => {
    expect(message("a1 password=x", { redact: { text: false, patterns: [/a\d/] } })).toBe("[redacted] password=x");
  });

  test.each([[["a"]], [/a/], [[/a*/]], [[/(?:)/]]])(
    "must be regular expressions that match something: %s",
    (patterns) => {
      expect(() => createLogger({ redact: { patterns: patterns as RegExp[] } })).toThrow(LoggerConfigError);
    },
  );
});

test("no text that has a token is taken for plain, whatever stands around it", () => {
  const around = fc.string({ unit: fc.constantFrom(...Array.from(" .,:/=-_abcxyz0189\\\"'(@%")), maxLength: 30 });
  fc.assert(
    fc.property(fc.constantFrom(...Object.values(TOKENS)), around, around, (token, before, after) => {
      // Glued to a letter, a digit or a dash it is some other word.
      const text = `${before} ${token} ${after}`;
      expect(message(text)).not.toContain(token);
    }),
    { numRuns: 500 },
  );
});
