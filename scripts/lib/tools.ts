/** Where the tools are: this repository's own (node_modules/.bin), its pnpm, and the machine's npm. */
import { existsSync } from "node:fs";
import { basename, delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { capture } from "./run.ts";

export const ROOT: string = fileURLToPath(new URL("../..", import.meta.url)).replace(/[/\\]$/, "");

/**
 * An environment in which `pnpm` and the tools of the repository at `root` are found by name, however this script was
 * started: by `pnpm`, by `npx -y pnpm@12`, or by `node` alone. turbo and changesets look for `pnpm` themselves.
 */
export async function toolEnvironment(root: string = ROOT): Promise<NodeJS.ProcessEnv> {
  const folders = [join(root, "node_modules", ".bin")];
  const pnpm = await pnpmFolder();
  if (pnpm !== undefined) folders.push(pnpm);
  return { ...process.env, PATH: [...folders, process.env["PATH"] ?? ""].join(delimiter) };
}

/** The folder of a pnpm that is not on PATH, or undefined if one is. */
async function pnpmFolder(): Promise<string | undefined> {
  // Set by whoever runs a script: pnpm names itself, npm names its own npm-cli.js.
  const running = process.env["npm_execpath"];
  if (running !== undefined && basename(running) === "pnpm" && existsSync(running)) return dirname(running);
  const path = (process.env["PATH"] ?? "").split(delimiter);
  if (path.some((folder) => folder !== "" && existsSync(join(folder, "pnpm")))) return undefined;
  const found = await capture("npx", ["-y", "-p", "pnpm@12", "-c", "command -v pnpm"], { env: plainEnvironment() });
  return dirname(found.trim());
}

// What says where packages come from and how the network is reached.
const NETWORK =
  /^npm_config_(registry|cache|userconfig|globalconfig|cafile|ca|strict_ssl|proxy|https?_proxy|noproxy)$/i;

/**
 * The environment of somebody who opens a new terminal: without what pnpm and npm tell the scripts that they run, and
 * without this repository's tools on PATH.
 */
export function plainEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(
    ([name]) => NETWORK.test(name) || !/^(npm|pnpm)_|^(INIT_CWD|NODE_OPTIONS|NODE_ENV|TURBO_HASH)$/i.test(name),
  );
  const path = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => !folder.includes("node_modules"));
  return { ...Object.fromEntries(kept), PATH: path.join(delimiter) };
}

/** As `plainEnvironment`, but `node` is the one that runs this script: for npm and the programs of consumers. */
export function npmEnvironment(): NodeJS.ProcessEnv {
  const plain = plainEnvironment();
  return {
    ...plain,
    PATH: [dirname(process.execPath), plain["PATH"] ?? ""].join(delimiter),
    npm_config_audit: "false",
    npm_config_fund: "false",
    npm_config_update_notifier: "false",
    npm_config_loglevel: "error",
  };
}
