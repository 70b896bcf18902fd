import { createConnection } from "node:net";
import { once } from "node:events";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ask, openDemo, withDemo, type TestDemo } from "./support/demo.ts";

let demo: TestDemo;
beforeAll(async () => {
  demo = await openDemo();
});
afterAll(async () => {
  // Whatever it was sent, it is still there.
  expect((await demo.get("/readyz")).status).toBe(200);
  await demo.close();
});

const message = { role: "user", content: "hi" };

test.each([
  ['{"model": ', "The request's body is not valid JSON"],
  ["", "The request has no body"],
  ["[]", "must be a JSON object"],
  ["null", "must be a JSON object"],
])("the body %j is refused with a reason", async (body, reason) => {
  const response = await demo.post("/v2/chat/completions", body);
  expect(response.status).toBe(400);
  const { error } = (await response.json()) as { error: Record<string, string> };
  expect(error).toMatchObject({
    code: "invalid_request",
    type: "api_error",
    trace_id: expect.stringMatching(/^[0-9a-f]{32}$/),
  });
  expect(error["message"]).toContain(reason);
});

test.each([
  [{}, "messages"],
  [{ messages: [] }, "messages"],
  [{ messages: "hi" }, "messages"],
  [{ messages: [null] }, "messages[0]"],
  [{ messages: [{ role: "robot", content: "x" }] }, "messages[0].role"],
  [{ messages: [message, { role: "user", content: 5 }] }, "messages[1].content"],
  [{ messages: [message], max_tokens: -1 }, "max_tokens"],
  [{ messages: [message], max_tokens: 1.5 }, "max_tokens"],
  [{ messages: [message], max_tokens: 1e9 }, "max_tokens"],
  [{ messages: [message], temperature: 2.1 }, "temperature"],
  [{ messages: [message], temperature: "hot" }, "temperature"],
  [{ messages: [message], top_p: -0.1 }, "top_p"],
  [{ messages: [message], top_k: 0 }, "top_k"],
  [{ messages: [message], n: 2 }, "n"],
  [{ messages: [message], stream: "yes" }, "stream"],
  [{ messages: [message], metadata: [] }, "metadata"],
  [{ messages: [message], workflow_id: {} }, "workflow_id"],
  [{ messages: [message], trace_parent: "garbage" }, "trace_parent"],
  [{ messages: [message], trace_parent: `00-${"0".repeat(32)}-${"0".repeat(16)}-01` }, "trace_parent"],
  [{ messages: [message], domain_filter: ["cooking"] }, "domain_filter"],
  [{ messages: [message], model: 7 }, "model"],
])("%j is refused by the field's name", async (body, param) => {
  const response = await demo.post("/v2/chat/completions", body);
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({ error: { code: "invalid_request", param } });
});

test("a body nested too deep is refused, wherever the depth is", async () => {
  const deep = `${"[".repeat(5_000)}${"]".repeat(5_000)}`;
  const response = await demo.post("/v2/chat/completions", `{"messages":[{"role":"user","content":"hi"}],"x":${deep}}`);
  expect(response.status).toBe(400);
  expect(await response.json()).toMatchObject({
    error: { message: "The request's body is nested deeper than 64 levels." },
  });
});

test("an unknown model is refused with the models that there are: 503 in v2, 404 in v1", async () => {
  const v2 = await demo.post("/v2/chat/completions", ask("hi", { model: "gpt-9" }));
  expect(v2.status).toBe(503);
  const { error } = (await v2.json()) as { error: { code: string; message: string } };
  expect(error.code).toBe("model_not_found");
  expect(error.message).toContain("0x5678-SQLAgent");
  const v1 = await demo.post("/v1/chat/completions", ask("hi", { model: "gpt-9" }));
  expect(v1.status).toBe(404);
  expect(await v1.json()).toMatchObject({
    error: { type: "invalid_request_error", param: "model", code: "model_not_found" },
  });
});

test("a body over the limit is 413, announced or not, and the connection ends without a reset before the answer", async () => {
  const big = JSON.stringify(ask("x".repeat(1_100_000)));
  expect((await demo.post("/v2/chat/completions", big)).status).toBe(413);
  const chunked = await fetch(`${demo.url}/v2/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: new Blob([big]).stream(),
    duplex: "half",
  } as RequestInit);
  expect(chunked.status).toBe(413);
  expect(await chunked.json()).toMatchObject({ error: { code: "payload_too_large" } });
});

test("unknown paths and wrong methods are answered in the path's dialect", async () => {
  expect(await (await demo.get("/v2/nothing")).json()).toMatchObject({
    error: { code: "not_found", type: "api_error" },
  });
  expect(await (await demo.get("/v1/nothing")).json()).toMatchObject({
    error: { code: "not_found", type: "invalid_request_error" },
  });
  const wrong = await demo.get("/v2/chat/completions");
  expect([wrong.status, wrong.headers.get("allow")]).toEqual([405, "POST"]);
  expect((await demo.get("/v2/usage?limit=0")).status).toBe(400);
  expect((await demo.get("/v2/usage?limit=abc")).status).toBe(400);
  expect((await demo.get("/v2/usage?workflow_id=%00")).status).toBe(400);
  expect((await demo.get("//evil.example/%zz")).status).toBe(404);
});

test("garbage instead of HTTP is answered with 400 and hurts nobody", async () => {
  const { hostname, port } = new URL(demo.url);
  const socket = createConnection(Number(port), hostname);
  socket.end("\u0016\u0003\u0001 not http\r\n\r\n");
  const [data] = (await once(socket, "data")) as [Buffer];
  expect(data.toString()).toContain("400 Bad Request");
});

test("text that PostgreSQL cannot hold is no reason to lose the row", async () => {
  const body = ask("hi", { max_tokens: 3, workflow_id: "nul", metadata: { user_id: "a\u0000b" } });
  expect((await demo.post("/v2/chat/completions", body)).status).toBe(200);
  const { data } = (await (await demo.get("/v2/usage?workflow_id=nul")).json()) as { data: { user_id: string }[] };
  expect(data).toMatchObject([{ user_id: "ab" }]);
});

test("MAX_BODY_BYTES may be above the server's own limit of bodies", async () => {
  const large = await withDemo({ MAX_BODY_BYTES: String(16 * 1024 * 1024) });
  const body = { model: "no-such-model", messages: [{ role: "user", content: "a".repeat(11 * 1024 * 1024) }] };
  const response = await large.post("/v2/chat/completions", body);
  // Read whole, and refused for what it says.
  expect(await response.json()).toMatchObject({ error: { code: "model_not_found" } });
});
