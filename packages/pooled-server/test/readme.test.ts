import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { pooledServerConfigFromEnv } from "@vg/pooled-server";
import { expect, test } from "vitest";

const readme = readFileSync(new URL("../README.md", import.meta.url), "utf8");

/** What differs from run to run: times, ids, durations. */
const settled = (text: string): string =>
  text
    .replaceAll(/"time":"[^"]+"/g, '"time":"…"')
    .replaceAll(/"(trace_id|span_id|request_id)":"[0-9a-f-]+"/g, '"$1":"…"')
    .replaceAll(/"(latency_ms|ttfb_ms|duration_ms)":[\d.]+/g, '"$1":…')
    .replaceAll(/duration_ms: \d+/g, "duration_ms: …");

test("the program in the README prints what the README says", () => {
  const [, program = "", output = ""] =
    /## The shortest program\n\n```ts\n(.*?)```\n\n```\n(.*?)```/su.exec(readme) ?? [];
  const printed = execFileSync(
    process.execPath,
    ["--conditions=@vg/source", "--input-type=module-typescript", "--eval", program],
    { cwd: fileURLToPath(new URL("..", import.meta.url)), encoding: "utf8", timeout: 20_000 },
  );
  expect(settled(printed)).toBe(settled(output));
});

test("the README names every variable that is read", () => {
  const asked: string[] = [];
  pooledServerConfigFromEnv(
    new Proxy(
      {},
      {
        get: (_, name) => {
          asked.push(String(name));
          return undefined;
        },
      },
    ),
  );
  expect(asked.length).toBeGreaterThan(10);
  for (const name of asked) expect(readme).toContain(`\`${name}\``);
});
