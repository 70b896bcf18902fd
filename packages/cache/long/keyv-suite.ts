/**
 * Keyv's own published test suite, with Keyv 5 and 6, on the `KeyvStore` that is published: built, in a folder elsewhere.
 * It needs the network, so it lives here and not among the tests.
 */
import assert from "node:assert/strict";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { capture, CommandError } from "../../../scripts/lib/run.ts";
import { temporaryFolder } from "../../../scripts/lib/temporary-folder.ts";
import { npmEnvironment, toolEnvironment } from "../../../scripts/lib/tools.ts";

const PACKAGE = fileURLToPath(new URL("..", import.meta.url));
const SUITE = "@keyv/test-suite@2.1.2";
const RUNNER = "vitest@4.1.12";
const TIMEOUT_MS = 3 * 60_000;

interface Round {
  readonly keyv: string;
  /** The tests that this Keyv fails with whatever store, a Map included. */
  readonly outdated: readonly string[];
}

const ROUNDS: readonly Round[] = [
  { keyv: "5.6.0", outdated: [] },
  // The suite is of Keyv 5's time. Keyv 6 answers with one boolean for each key.
  { keyv: "6.1.0", outdated: [".deleteMany([keys]) with nonexistent keys resolves to false"] },
];

const TEST = `
import * as test from "vitest";
import { Keyv } from "keyv";
import keyvTestSuite, { keyvIteratorTests } from "@keyv/test-suite";
import { LRUCache } from "../built/index.js";
import { KeyvStore } from "../built/keyv.js";

const shared = new LRUCache({ capacity: 1000, defaultTtlMs: Infinity });
const stores = { "a cache for each store": () => new KeyvStore(), "one cache for all stores": () => new KeyvStore(shared) };
for (const [name, store] of Object.entries(stores)) {
  test.describe(name, () => {
    test.describe("keyvTestSuite", () => keyvTestSuite(test, Keyv, store));
    test.describe("keyvIteratorTests", () => keyvIteratorTests(test, Keyv, store));
  });
}
`;

/** What is used of vitest's JSON report. */
interface Report {
  readonly testResults: readonly {
    readonly message: string;
    readonly assertionResults: readonly {
      readonly title: string;
      readonly status: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

// It goes with this process.
const folder = await temporaryFolder("keyv-suite");
await capture("tsup", ["src/index.ts", "src/keyv.ts", "--out-dir", join(folder.path, "built")], {
  cwd: PACKAGE,
  env: await toolEnvironment(),
});
for (const round of ROUNDS) await runSuite(round);

async function runSuite({ keyv, outdated }: Round): Promise<void> {
  const cwd = join(folder.path, keyv);
  await mkdir(cwd);
  await writeFile(join(cwd, "package.json"), JSON.stringify({ private: true, type: "module" }));
  await writeFile(join(cwd, "suite.test.js"), TEST);
  const env = npmEnvironment();
  const install = ["install", "--silent", "--ignore-scripts", "--prefer-offline"];
  // The suite asks for Keyv 5 as its peer.
  await capture("npm", [...install, "--legacy-peer-deps", `keyv@${keyv}`, SUITE, RUNNER], { cwd, env });
  const program = join("node_modules", "vitest", "vitest.mjs");
  const run = [program, "run", "--root", ".", "--reporter=json", "--outputFile=report.json"];
  // It fails, too, when only outdated tests fail.
  const output = await capture(process.execPath, run, { cwd, env, timeoutMs: TIMEOUT_MS }).catch((error: unknown) => {
    if (error instanceof CommandError) return error.message;
    throw error;
  });

  const report = await readFile(join(cwd, "report.json"), "utf8").catch(() => assert.fail(output));
  const files = (JSON.parse(report) as Report).testResults;
  const all = files.flatMap(({ assertionResults }) => assertionResults);
  const passed = all.filter(({ status }) => status === "passed").length;
  const failed = all.filter(({ status, title }) => status !== "passed" && !outdated.includes(title));
  const reasons = failed.map(({ title, status, failureMessages }) => [title, status, ...failureMessages].join("\n"));
  assert.equal(reasons.length, 0, `keyv ${keyv}: ${reasons.length} of ${all.length} failed\n\n${reasons.join("\n\n")}`);
  assert.ok(passed > 0, files.map(({ message }) => message).join("\n") || output);
  const rest = all.length - passed;
  console.log(
    `keyv ${keyv}: ${passed} of ${all.length} tests of ${SUITE} passed` +
      (rest === 0 ? "" : `; ${rest} fail with any store: ${outdated.join(", ")}`),
  );
}
