import { expect, test } from "vitest";
import { listen } from "../support/server.ts";

const NAMES = [
  "ratelimit-policy",
  "ratelimit",
  "x-ratelimit-limit-requests",
  "x-ratelimit-remaining-requests",
  "x-ratelimit-reset-requests",
];
const rateHeaders = ({ headers }: Response): (string | null)[] => NAMES.map((name) => headers.get(name));

test("every answer says what is left of the client's rate, the refusal too", async () => {
  let now = 0;
  const { get, server } = await listen((_request, response) => response.end("ok"), {
    rateLimitPerSecond: 2,
    clock: { now: () => now },
  });
  expect(rateHeaders(await get("/"))).toEqual(['"default";q=2;w=1', '"default";r=1;t=1', "2", "1", "500ms"]);
  expect(rateHeaders(await get("/"))).toEqual(['"default";q=2;w=1', '"default";r=0;t=1', "2", "0", "1s"]);
  const refused = await get("/");
  expect(refused.status).toBe(429);
  expect(refused.headers.get("retry-after")).toBe("1");
  expect(rateHeaders(refused)).toEqual(['"default";q=2;w=1', '"default";r=0;t=1', "2", "0", "1s"]);
  expect(await refused.json()).toMatchObject({ error: { code: "rate_limit_exceeded", retry_after: 1 } });
  now += 250;
  expect(rateHeaders(await get("/"))).toEqual(['"default";q=2;w=1', '"default";r=0;t=1', "2", "0", "750ms"]);
  expect((await get("/livez")).headers.get("ratelimit")).toBeNull();
  expect(server.getAdmissionStats()).toMatchObject({ rate_limited_clients: 1, refused_by_reason: { rate_limit: 2 } });
});

test("a slow rate has a long window, and says in whole seconds when to come back", async () => {
  const { get } = await listen((_request, response) => response.end("ok"), {
    rateLimitPerSecond: 0.1,
    clock: { now: () => 0 },
  });
  expect(rateHeaders(await get("/"))).toEqual(['"default";q=1;w=10', '"default";r=0;t=10', "1", "0", "10s"]);
  expect((await get("/")).headers.get("retry-after")).toBe("10");
});

test("the headers can be left out, and are where there is no limit", async () => {
  for (const config of [{ rateLimitPerSecond: 5, rateLimitHeaders: false }, { rateLimitPerSecond: 0 }]) {
    const { get } = await listen((_request, response) => response.end("ok"), config);
    expect(rateHeaders(await get("/"))).toEqual([null, null, null, null, null]);
  }
});
