/** Logs every hostile value with every logger, each in a process of its own, and tells what came of it by the bytes. */
import { fork } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { HOSTILE_CASES, type HostileCase } from "../../../packages/logging/test/support/hostile-cases.ts";
import { GOOD, outcomeOf, type Ending } from "../../../packages/logging/test/support/hostile-outcome.ts";
import { packageVersions, type Machine } from "../harness/machine.ts";
import { replaceSection, writeResults } from "../harness/publish.ts";

const LOGGERS = ["@vg/logging", "pino", "winston", "@logtape/logtape"];
/** pino leaves lines for people to another package. */
const WITHOUT_CONSOLE = new Set(["pino"]);
const PROGRAM = new URL("./log-process.ts", import.meta.url);
const README = new URL("../../../packages/logging/README.md", import.meta.url);
const TIMEOUT_MS = 20_000;

export async function hostileValues(_machine: Machine, { write }: { write: boolean }): Promise<boolean> {
  const versions = await packageVersions(LOGGERS);
  const rows: { title: string; outcomes: string[] }[] = [];
  for (const [number, one] of HOSTILE_CASES.entries()) {
    const outcomes = await Promise.all(LOGGERS.map((logger) => outcome(logger, number, one)));
    console.log(`${one.title}: ${outcomes.join(", ")}`);
    rows.push({ title: one.title, outcomes });
  }
  await writeResults("hostile-values", { versions, loggers: LOGGERS, rows });
  const text = table(rows, versions);
  if (write) await writeFile(README, replaceSection(await readFile(README, "utf8"), "hostile-values", text));
  else console.log(`\n${text}`);
  return rows.every(({ outcomes: [own = ""] }) => GOOD.has(own));
}

async function outcome(logger: string, number: number, one: HostileCase): Promise<string> {
  if (one.as === "console" && WITHOUT_CONSOLE.has(logger)) return "–";
  return outcomeOf(one, await run(logger, number));
}

async function run(logger: string, number: number): Promise<Ending> {
  // A stack must have room for what a logger does with what is deep, as much as it has in a service.
  const child = fork(PROGRAM, [logger, String(number)], { silent: true, env: { ...process.env, NO_COLOR: "1" } });
  let text = "";
  let told: { threw?: string } | undefined;
  let hangs = false;
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (chunk: string) => (text += chunk));
  }
  child.on("message", (message) => (told = message as { threw?: string }));
  const timer = setTimeout(() => {
    hangs = true;
    child.kill("SIGKILL");
  }, TIMEOUT_MS);
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  clearTimeout(timer);
  const ended = hangs ? "hangs" : told === undefined || code !== 0 ? "dies" : undefined;
  return { text, threw: told?.threw, ended };
}

function table(rows: readonly { title: string; outcomes: string[] }[], versions: Record<string, string>): string {
  const heads = LOGGERS.map((name) => (name === "@vg/logging" ? name : `${name} ${versions[name] ?? ""}`.trim()));
  const lines = [
    `| value | ${heads.join(" | ")} |`,
    `|${"---|".repeat(heads.length + 1)}`,
    ...rows.map(({ title, outcomes }) => `| ${title} | ${outcomes.join(" | ")} |`),
  ];
  const good = LOGGERS.map((_, index) => {
    const all = rows.map(({ outcomes }) => outcomes[index] ?? "").filter((word) => word !== "–");
    return `${all.filter((word) => GOOD.has(word)).length} of ${all.length}`;
  });
  return `${lines.join("\n")}\n| **good** | ${good.map((text) => `**${text}**`).join(" | ")} |`;
}
