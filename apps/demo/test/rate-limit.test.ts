import { expect, test } from "vitest";
import { ask, withDemo } from "./support/demo.ts";

test("a client over its rate gets 429 in the path's dialect, and may come back when it was told to", async () => {
  let now = 1_000_000;
  const demo = await withDemo({ RATE_LIMIT_PER_SECOND: "2" }, { clock: { now: () => now } });
  const send = (path: string) => demo.post(path, ask("Hi", { max_tokens: 2 }));
  expect((await send("/v2/chat/completions")).status).toBe(200);
  expect((await demo.get("/v2/models")).status).toBe(200);
  const v2 = await send("/v2/chat/completions");
  expect([v2.status, v2.headers.get("retry-after")]).toEqual([429, "1"]);
  expect(await v2.json()).toMatchObject({ error: { code: "rate_limit_exceeded", type: "api_error", retry_after: 1 } });
  const v1 = await send("/v1/chat/completions");
  expect(await v1.json()).toMatchObject({
    error: { code: "rate_limit_exceeded", type: "rate_limit_error", param: null },
  });
  expect((await demo.get("/v2/health")).status).toBe(200);
  now += 1_000;
  expect((await send("/v2/chat/completions")).status).toBe(200);
});

test("without a limit nobody is refused", async () => {
  const demo = await withDemo({ RATE_LIMIT_PER_SECOND: "0" });
  const statuses = await Promise.all(Array.from({ length: 40 }, async () => (await demo.get("/v2/models")).status));
  expect(new Set(statuses)).toEqual(new Set([200]));
});
