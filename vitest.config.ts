import { defineConfig } from "vitest/config";

const packages = ["internal", "logging", "cache", "pool-db", "pool-http", "pooled-server"];

// Packages resolve to one another's source ("@vg/source"), so no test waits for a build.
const resolve = { conditions: ["@vg/source"] };
const ssr = { resolve: { conditions: ["@vg/source"] } };

const project = (name: string, folder: string) => ({
  resolve,
  ssr,
  test: {
    name,
    root: folder,
    include: ["test/**/*.test.ts"],
    testTimeout: 30_000,
    hookTimeout: 60_000,
    // Of itself it looks every 50 ms, which is most of the time of many a test that waits for an event.
    expect: { poll: { interval: 5 } },
  },
});

export default defineConfig({
  test: {
    reporters: ["default", "./scripts/summary-reporter.ts"],
    projects: [
      ...packages.map((name) => project(name, `packages/${name}`)),
      project("demo", "apps/demo"),
      project("scripts", "scripts"),
    ],
  },
});
