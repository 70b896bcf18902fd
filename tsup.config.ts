import { defineConfig } from "tsup";

// One build for all packages; tsup finds this file from each package's folder.
export default defineConfig((options) => ({
  entry: options.entry ?? ["src/index.ts"],
  format: "esm",
  platform: "node",
  target: "node22.19",
  sourcemap: true,
  clean: true,
  // Types come from tsc (tsconfig.build.json): tsup's own step needs a compiler API that TypeScript 7 lacks.
  dts: false,
  // Otherwise "node:crypto" ships as "crypto", which can be shadowed by a package.
  removeNodeProtocol: false,
}));
