import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { HttpPool, HttpProtocolError } from "../src/index.ts";
import { faultServer, rejection, reply } from "./support/fault-server.ts";

const digest = (algorithm: string, text = "body"): string =>
  `${algorithm}-${createHash(algorithm).update(text).digest("base64")}`;
const urlSafe = (text: string): string => text.replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");

test.each([
  ["a digest that fits", digest("sha256")],
  ["one of several", `${digest("sha384", "other")} ${digest("sha384")}`],
  ["only the strongest counts", `${digest("sha256", "other")} ${digest("sha512")}`],
  ["in base64url", `sha512-${urlSafe(digest("sha512").slice(7))}`],
  ["an algorithm that nobody knows says nothing", "md5-abc garbage"],
])("integrity: %s", async (_name, integrity) => {
  await using server = await faultServer((socket) => socket.write(reply(200, "body")));
  await using pool = new HttpPool();
  const response = await pool.fetch(server.url, { integrity });
  expect(await response.text()).toBe("body");
  expect(await (await pool.fetch(new Request(server.url, { integrity }))).text()).toBe("body");
});

test("a body that does not fit is a TypeError, and nothing of it is handed out", async () => {
  await using server = await faultServer((socket) => socket.write(reply(200, "body")));
  await using pool = new HttpPool();
  for (const integrity of [
    digest("sha256", "other"),
    `${digest("sha256")} ${digest("sha512", "other")}`,
    "sha256-é",
    `${digest("sha256")} sha512-é`,
  ]) {
    const error = await rejection(pool.fetch(server.url, { integrity }));
    expect(error).toBeInstanceOf(TypeError);
    expect(error.cause).toBeInstanceOf(HttpProtocolError);
    expect((error.cause as Error).message).toContain("not the one that integrity names");
  }
  expect(pool.getStats()).toMatchObject({ in_flight: 0 });
});
