import { appendFile, mkdtemp, rm, writeFile } from "node:fs/promises";
import { openAsBlob } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { HttpPool, HttpRequestError } from "../src/index.ts";
import { reply, startFaultServer } from "../src/testing.ts";
import { rejection } from "./support/fault-server.ts";

test.each(["http", "h2c"] as const)(
  "a Blob whose file has changed is the caller's error, and not the network's: %s",
  async (protocol) => {
    const folder = await mkdtemp(join(tmpdir(), "blob-"));
    try {
      const path = join(folder, "file");
      await writeFile(path, "content");
      const blob = await openAsBlob(path);
      await appendFile(path, "more");
      await using server = await startFaultServer({ protocol, requests: reply(200) });
      await using pool = new HttpPool({ http2: protocol === "h2c" ? "on" : "off", retryBaseMs: 1 });
      const error = await rejection<HttpRequestError>(pool.put(server.url, blob));
      expect(error).toBeInstanceOf(HttpRequestError);
      expect(error.message).toContain("Blob");
      expect(error.cause).toMatchObject({ name: "NotReadableError" });
      expect(error.attempts).toHaveLength(1);
      const form = new FormData();
      form.set("file", blob);
      expect(await rejection(pool.put(server.url, form))).toBeInstanceOf(HttpRequestError);
    } finally {
      await rm(folder, { recursive: true });
    }
  },
);
