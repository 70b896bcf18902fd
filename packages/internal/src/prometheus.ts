/**
 * A real Prometheus for tests, where `prometheus` is on the PATH; Debian's package of that name has it, and promtool.
 */
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Whether the tool is there. */
export function hasTool(tool: "promtool" | "prometheus"): boolean {
  return spawnSync(tool, ["--version"]).error === undefined;
}

export interface Prometheus {
  /** One of `/api/v1`'s answers: its `data`. */
  api(path: string, parameters?: Record<string, string>): Promise<unknown>;
  /** The labels and value of every series that an expression gives now. */
  query(expression: string): Promise<{ metric: Record<string, string>; value: number }[]>;
  stop(): Promise<void>;
}

/**
 * A Prometheus of its own, on a free port and with a folder that goes with it, that scrapes `target` (host:port) five
 * times a second.
 *
 * @param rules a file of rules that it evaluates every second
 */
export async function startPrometheus(target: string, rules?: string): Promise<Prometheus> {
  const folder = await mkdtemp(join(tmpdir(), "vg-prometheus-"));
  const port = await freePort();
  const configuration = {
    global: { scrape_interval: "200ms", scrape_timeout: "200ms", evaluation_interval: "1s" },
    rule_files: rules === undefined ? [] : [rules],
    scrape_configs: [{ job_name: "app", static_configs: [{ targets: [target] }] }],
  };
  // YAML has room for JSON.
  await writeFile(join(folder, "prometheus.yml"), JSON.stringify(configuration));
  const child = spawn(
    "prometheus",
    [
      `--config.file=${join(folder, "prometheus.yml")}`,
      `--storage.tsdb.path=${join(folder, "data")}`,
      `--web.listen-address=127.0.0.1:${port}`,
      "--enable-feature=exemplar-storage",
    ],
    { stdio: ["ignore", "ignore", "pipe"] },
  );
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => (said += chunk.toString()));
  const ended = new Promise<never>((_, reject) => {
    child.once("error", reject);
    child.once("exit", (code) => reject(new Error(`prometheus ended with ${code}: ${said.slice(-2_000)}`)));
  });
  ended.catch(() => undefined);
  const stop = async (): Promise<void> => {
    process.off("exit", kill);
    await end(child);
    await rm(folder, { recursive: true, force: true });
  };
  const api = async (path: string, parameters: Record<string, string> = {}): Promise<unknown> => {
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${path}?${String(new URLSearchParams(parameters))}`);
    const { status, data, error } = (await response.json()) as { status: string; data: unknown; error?: string };
    if (status !== "success") throw new Error(`${path} ${JSON.stringify(parameters)}: ${error}`);
    return data;
  };
  try {
    await Promise.race([ended, listening(port, child)]);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    api,
    async query(expression) {
      const { result } = (await api("query", { query: expression })) as {
        result: { metric: Record<string, string>; value: [number, string] }[];
      };
      return result.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
    },
    stop,
  };
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

async function listening(port: number, child: ChildProcess): Promise<void> {
  while (child.exitCode === null && child.signalCode === null) {
    const ready = await fetch(`http://127.0.0.1:${port}/-/ready`).then(
      (response) => response.ok,
      () => false,
    );
    if (ready) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await exited;
}
