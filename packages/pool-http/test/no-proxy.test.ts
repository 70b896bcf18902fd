/** The environment's rules: which origin goes through which proxy. */
import { expect, test } from "vitest";
import { parseNoProxy, parseProxy, proxyFromEnvironment } from "../src/transport/proxy.ts";

const bad = (name: string) => new Error(name);
const proxyOf = (env: Record<string, string>, url: string) => proxyFromEnvironment(env, bad)(new URL(url))?.url.host;

test.each<[Record<string, string>, string, string | undefined]>([
  [{}, "http://a.test", undefined],
  [{ HTTP_PROXY: "http://p:1" }, "http://a.test", "p:1"],
  [{ HTTP_PROXY: "http://p:1" }, "https://a.test", undefined],
  [{ HTTPS_PROXY: "http://p:1" }, "https://a.test", "p:1"],
  [{ HTTPS_PROXY: "http://p:1", https_proxy: "http://q:2" }, "https://a.test", "q:2"],
  [{ HTTPS_PROXY: "http://p:1", https_proxy: " " }, "https://a.test", "p:1"],
  [{ ALL_PROXY: "p:1" }, "https://a.test", "p:1"],
  [{ ALL_PROXY: "p:1", HTTP_PROXY: "q:2" }, "http://a.test", "q:2"],
  [{ HTTP_PROXY: "http://p:1", REQUEST_METHOD: "GET" }, "http://a.test", undefined],
  [{ http_proxy: "http://p:1", REQUEST_METHOD: "GET" }, "http://a.test", "p:1"],
  [{ HTTP_PROXY: "http://p:1", NO_PROXY: "*" }, "http://a.test", undefined],
  [{ HTTP_PROXY: "http://p:1" }, "http://localhost:8080", undefined],
  [{ HTTP_PROXY: "http://p:1" }, "http://api.localhost", undefined],
  [{ HTTP_PROXY: "http://p:1" }, "http://127.1.2.3", undefined],
  [{ HTTP_PROXY: "http://p:1" }, "http://[::1]:80", undefined],
])("%o sends %s through %s", (env, url, expected) => {
  expect(proxyOf(env, url)).toBe(expected);
});

test.each<[string, string, boolean]>([
  ["example.com", "http://example.com", true],
  ["example.com", "http://www.example.com", true],
  ["example.com", "http://badexample.com", false],
  ["EXAMPLE.com", "http://example.COM", true],
  ["example.com.", "http://example.com", true],
  ["example.com", "http://example.com.", true],
  [".example.com", "http://www.example.com", true],
  [".example.com", "http://example.com", false],
  ["*.example.com", "http://www.example.com", true],
  ["*.example.com", "http://example.com", false],
  ["example.com:8080", "http://example.com:8080", true],
  ["example.com:8080", "http://example.com", false],
  ["example.com:80", "http://example.com", true],
  ["example.com:443", "https://example.com", true],
  ["a.test, b.test c.test", "http://b.test", true],
  ["a.test, b.test c.test", "http://c.test", true],
  ["10.0.0.0/8", "http://10.20.30.40", true],
  ["10.0.0.0/8", "http://11.0.0.1", false],
  ["10.0.0.0/8", "http://ten.test", false],
  ["10.1.2.3", "http://10.1.2.3", true],
  ["10.1.2.3:81", "http://10.1.2.3:80", false],
  ["10.1.2.3", "http://110.1.2.3", false],
  ["fd00::/8", "http://[fd12::1]", true],
  ["fe80::1", "http://[fe80:0::1]", true],
  ["[fe80::1]:81", "http://[fe80::1]:81", true],
  ["[fe80::1]:81", "http://[fe80::1]", false],
  ["10.0.0.0/99", "http://10.0.0.1", false],
  [",,", "http://a.test", false],
])("NO_PROXY=%s and %s: %s", (text, url, excluded) => {
  expect(parseNoProxy(text)(new URL(url))).toBe(excluded);
});

test("a proxy's URL loses its user and password, which become a header", () => {
  const proxy = parseProxy("http://us%40er:p%3Ass@proxy.test:3128/path?query");
  expect(proxy?.url.href).toBe("http://proxy.test:3128/");
  expect(proxy?.authorization).toBe(`Basic ${Buffer.from("us@er:p:ss").toString("base64")}`);
  expect(parseProxy("proxy.test")?.url.href).toBe("http://proxy.test/");
  expect(parseProxy("https://proxy.test")?.authorization).toBeUndefined();
  for (const text of ["", "socks5://p:1", "http://", "file:///etc"])
    expect([text, parseProxy(text)]).toEqual([text, undefined]);
});
