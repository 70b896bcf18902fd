import { request } from "node:http";
import { expect, test } from "vitest";
import { ask, withDemo, type TestDemo } from "./support/demo.ts";

test("with a key, only who has it gets in, nobody else fills the database, and guessing is limited", async () => {
  const demo = await withDemo({ API_KEY: "sk-good", RATE_LIMIT_PER_SECOND: "5" }, { clock: { now: () => 0 } });
  const status = async (headers: Record<string, string>) =>
    (await demo.post("/v2/chat/completions", ask("hi", { max_tokens: 2 }), headers)).status;
  const guesses = [];
  for (let i = 0; i < 7; i++) guesses.push(await status({ "x-api-key": `guess-${i}` }));
  expect(guesses).toEqual([401, 401, 401, 401, 401, 429, 429]);
  expect(await status({ authorization: "Bearer sk-good" })).toBe(200);
  expect(await status({ "x-api-key": "sk-good" })).toBe(200);
  const usage = await demo.get("/v2/usage", { authorization: "Bearer sk-good" });
  expect(((await usage.json()) as { totals: object }).totals).toMatchObject({ requests: 2 });
  const refused = await demo.get("/v2/models", { authorization: "Bearer sk-bad" });
  expect([refused.status, refused.headers.get("www-authenticate")]).toEqual([429, null]);
});

test("without a key, a web page or a bent name gets nothing", async () => {
  const demo = await withDemo();
  expect(await statusOf(demo, {})).toBe(200);
  expect(await statusOf(demo, { host: "localhost:8080" })).toBe(200);
  expect(await statusOf(demo, { host: "evil.example" })).toBe(403);
  expect(await statusOf(demo, { origin: "http://evil.example" })).toBe(403);
  expect(await statusOf(demo, { origin: "null" })).toBe(403);
  expect(await statusOf(demo, { origin: "http://127.0.0.1:3000" })).toBe(200);
});

test("a target with an origin before the path, as proxies send it, is the same route", async () => {
  const demo = await withDemo();
  expect(await statusOf(demo, {}, `${demo.url}/v2/models`)).toBe(200);
  expect(await statusOf(demo, {}, `${demo.url}/livez`)).toBe(200);
});

/** fetch forbids these headers and this form of the target; a socket does not. */
function statusOf(demo: TestDemo, headers: Record<string, string>, path: string = "/v2/models"): Promise<number> {
  const { hostname, port } = new URL(demo.url);
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path, headers }, (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    sent.on("error", reject).end();
  });
}
