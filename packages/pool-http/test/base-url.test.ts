/** Nothing leaves baseUrl, whatever it is spelled like: checked against the request that arrives, and the one that must not. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";
import { faultServer, rejection, reply } from "./support/fault-server.ts";

const lookup: NonNullable<NonNullable<ConstructorParameters<typeof HttpPool>[0]>["lookup"]> = (_host, _options, done) =>
  done(null, [{ address: "127.0.0.1", family: 4 }]);

test.each([
  "//evil.test",
  "//evil.test/v1/x",
  "\\\\evil.test",
  "/\\evil.test",
  "\\/evil.test",
  "http://evil.test",
  "HTTP://evil.test/v1/",
  "http:\\\\evil.test",
  "http:/\\evil.test",
  "http://api.test@evil.test/v1/",
  "http://api.test:80@evil.test/v1/",
  "http://api.test.evil.test/v1/",
  "http://api.test\\@evil.test/v1/",
  "javascript:alert(1)",
  "file:///etc/passwd",
  "data:text/plain,x",
  "..",
  "../",
  "../admin",
  "/../admin",
  "x/../../admin",
  "./../admin",
  ".\\..\\admin",
  "..\\admin",
  "%2e%2e/admin",
  "%2E%2E/admin",
  ".%2e/admin",
  "%2e%2e%2fadmin",
  "..%2fadmin",
  "..%2Fadmin",
  "..%5cadmin",
  "x/..%2f..%2fadmin",
  "x%2f..%2f..%2fadmin",
  "%252e%252e/admin",
  "%252e%252e%252fadmin",
  "..%252fadmin",
  "%25252e%25252e%25252fadmin",
  "..;/admin",
  "..;x=1/admin",
  "..%3b/admin",
  "..%00/admin",
  "..%09/admin",
  "..%ff/admin",
  "..%ff%00admin",
  ".%c2%ad./admin",
  "..%c0%afadmin",
  "..%C0%AFadmin",
  "..%25c0%25afadmin",
  "..%c1%9cadmin",
  "..%e0%80%afadmin",
  "..%f0%80%80%afadmin",
  "%c0%ae%c0%ae/admin",
  "%e0%80%ae./admin",
  "..%c0%a52fadmin",
  "..%u002fadmin",
  "%u002e%u002e%u005cadmin",
  "..%ef%bc%8fadmin",
  "\uff0e\uff0e/admin",
  "\u2025/admin",
  "..%e2%88%95admin",
  "\ufe52\u2024/admin",
  "\ufe30/admin",
  "%%32%65%%32%65/admin",
  `..%${"25".repeat(5000)}2fadmin`,
  `..${"%".repeat(12)}${"3".repeat(11)}2fadmin`,
  ".\t./admin",
  ".\n./admin",
  "\t../admin",
  "\r\n../admin",
  "/\t/../../admin",
  "http://api.test/v2/",
  "http://api.test:81/v1/x",
  "https://api.test/v1/x",
  "http://api.test/v1/../admin",
  "http://api.test/v1evil/x",
])("%j is refused before anything is sent", async (url) => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool({ baseUrl: `http://api.test:${server.port}/v1`, lookup });
  const aimed = url.replace(/api\.test(?=[/\\])/, `api.test:${server.port}`);
  const error = await rejection(pool.get(aimed));
  expect(error).toMatchObject({ code: "ERR_VG_HTTP_REQUEST" });
  expect(error.message).toContain("the URL leaves baseUrl");
  expect([server.requests.length, pool.getStats().open_connections]).toEqual([0, 0]);
});

test("whoever only meant a name with slashes in it is told that its dots are the reason", async () => {
  await using pool = new HttpPool({ baseUrl: "http://127.0.0.1:1/v1" });
  const messageOf = async (url: string): Promise<string> => (await rejection(pool.get(url))).message;
  expect(await messageOf(`files/${encodeURIComponent("a/../b")}`)).toContain(
    'an escaped or disguised ".." in its path',
  );
  expect(await messageOf("../admin")).not.toContain("disguised");
});

test.each<[string, string]>([
  ["models", "/v1/models"],
  ["/models", "/v1/models"],
  ["", "/v1/"],
  ["/a:b", "/v1/a:b"],
  ["./x", "/v1/x"],
  ["x/../y", "/v1/y"],
  ["x?next=../../admin&u=//evil.test", "/v1/x?next=../../admin&u=//evil.test"],
  ["x#/../../admin", "/v1/x"],
  ["..x", "/v1/..x"],
  ["x..", "/v1/x.."],
  ["...", "/v1/..."],
  ["a..b/c", "/v1/a..b/c"],
  ["a%2fb", "/v1/a%2fb"],
  ["a;b=1/c", "/v1/a;b=1/c"],
  ["100%25", "/v1/100%25"],
  [`%${"25".repeat(5000)}`, `/v1/%${"25".repeat(5000)}`],
  ["..%EC%95%88", "/v1/..%EC%95%88"],
  ["%EC%95%88..%EC%95%88/%EC%95%88.x", "/v1/%EC%95%88..%EC%95%88/%EC%95%88.x"],
  ["a%c0%afb", "/v1/a%c0%afb"],
  ["%", "/v1/%"],
  ["\tx\n", "/v1/x"],
  ["h\nttp://evil.test", "/v1/http://evil.test"],
  [" //evil.test", "/v1/%20//evil.test"],
  ["@evil.test", "/v1/@evil.test"],
  [":80@evil.test", "/v1/:80@evil.test"],
])("%j goes to %s", async (url, path) => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool({ baseUrl: `${server.url}/v1` });
  await pool.get(url);
  expect(server.requests[0]?.line).toBe(`GET ${path} HTTP/1.1`);
});

test.each([
  "//evil.test/v1/",
  "/admin",
  "..%2fadmin",
  "..%c0%afadmin",
  "..;/admin",
  "\\\\evil.test",
  "http:\\\\evil.test",
  "%252e%252e/x",
])("a redirect to %j does not leave it either", async (location) => {
  await using server = await faultServer((socket) => socket.write(reply(302, "", { location })));
  await using pool = new HttpPool({ baseUrl: `${server.url}/v1/`, lookup });
  expect(await rejection(pool.get("x/"))).toMatchObject({ code: "ERR_VG_HTTP_REDIRECT" });
  expect(server.requests.length).toBe(1);
});

test("whatever is put together of dots, slashes and escapes: it is refused, or arrives inside", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200)));
  await using pool = new HttpPool({ baseUrl: `${server.url}/v1/in`, lookup, maxRedirects: 0 });
  const plain = [".", "..", "/", "\\", "//", ";", "?", "#", "@", ":", "\t", "\n", "\r", " ", "%", "x", "evil.test"];
  const escaped = ["%2e", "%2E", "%2f", "%5c", "%25", "%252e", "%00", "%3b", "%c0", "%c0%af", "%c0%ae"];
  const part = fc.constantFrom(...plain, ...escaped, "http:", "https:", "file:", "127.0.0.1");
  await fc.assert(
    fc.asyncProperty(fc.array(part, { maxLength: 9 }), async (parts) => {
      server.requests.length = 0;
      const answer = await pool.get(parts.join("")).then(
        ({ status }) => status,
        (error: { code: string }) => error.code,
      );
      if (answer !== 200) {
        expect([answer, server.requests.length]).toEqual(["ERR_VG_HTTP_REQUEST", 0]);
        return;
      }
      const path = /^GET ([^ ?]*)/.exec(server.requests[0]?.line ?? "")?.[1] ?? "";
      // However often a server decodes, and whatever it takes for a separator.
      let read = path;
      for (let i = 0; i < 4; i++) {
        read = read.replace(/%25|%2e|%2f|%5c/gi, (escape) => decodeURIComponent(escape));
        read = read.replace(/%c0%af/gi, "/").replace(/%c0%ae/gi, ".");
      }
      const segments: string[] = [];
      for (const segment of read.split(/[/\\]/)) {
        const name = segment.replace(/(?:;|%3b|%00).*$/i, "").replaceAll(/%c0/gi, "");
        if (name === "..") segments.pop();
        else if (name !== "." && name !== "") segments.push(name);
      }
      expect(segments.slice(0, 2)).toEqual(["v1", "in"]);
    }),
    { numRuns: 500 },
  );
});
