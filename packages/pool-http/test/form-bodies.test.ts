import { FormData as UndiciFormData } from "undici";
import { expect, test } from "vitest";
import { HttpPool } from "../src/index.ts";
import { echoServer, type Echo } from "./support/echo-server.ts";
import { rejection } from "./support/fault-server.ts";

/** What a server that reads the form finds in it. */
async function received(pool: HttpPool, url: string, form: FormData): Promise<[string, unknown][]> {
  const echo = await (await pool.post(url, form)).json<Echo>();
  expect(Number(echo.headers["content-length"])).toBe(Buffer.byteLength(echo.body));
  const type = echo.headers["content-type"] as string;
  return [...(await new Response(echo.body, { headers: { "content-type": type } }).formData()).entries()];
}

test("a form goes out as multipart/form-data, with its length", async () => {
  await using server = await echoServer();
  await using pool = new HttpPool();
  const form = new FormData();
  form.append("a", "1");
  form.append("a", "two\nlines");
  form.append('hé "quoted"\r\n', "x");
  form.append("file", new File(["content"], 'na"me.txt', { type: "text/csv" }));
  form.append("blob", new Blob(["bytes"]));
  const fields = await received(pool, server.url, form);
  expect(fields.slice(0, 3)).toEqual([
    ["a", "1"],
    ["a", "two\r\nlines"],
    ['hé "quoted"\r\n', "x"],
  ]);
  const [, file] = fields[3] as [string, File];
  expect([file.name, file.type, await file.text()]).toEqual(['na"me.txt', "text/csv", "content"]);
  const [, blob] = fields[4] as [string, File];
  expect([blob.name, blob.type, await blob.text()]).toEqual(["blob", "application/octet-stream", "bytes"]);
});

test("undici's own FormData and an empty form are forms, too", async () => {
  await using server = await echoServer();
  await using pool = new HttpPool();
  const form = new UndiciFormData();
  form.set("a", "b");
  expect(await received(pool, server.url, form as never)).toEqual([["a", "b"]]);
  const empty = await (await pool.post(server.url, new FormData())).json<Echo>();
  expect(empty.body).toMatch(/^--vg-form-[-0-9a-f]+--\r\n$/);
});

test("a form is sent again where the request may be", async () => {
  let asked = 0;
  await using server = await echoServer((_request, response) => {
    if (asked++ > 0) return false;
    response.writeHead(503).end();
    return true;
  });
  await using pool = new HttpPool({ retryBaseMs: 1 });
  const form = new FormData();
  form.set("a", "b");
  expect((await pool.put(server.url, form)).status).toBe(200);
  expect(pool.getStats().retry_count).toBe(1);
});

test("a form's field that is neither text nor a Blob is refused", async () => {
  await using pool = new HttpPool();
  const form = { [Symbol.toStringTag]: "FormData", entries: () => [["a", 5]].values() };
  expect((await rejection(pool.post("http://127.0.0.1:1", form))).message).toContain("a form's field must be");
});
