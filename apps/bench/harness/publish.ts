import { mkdir, readFile, writeFile } from "node:fs/promises";

const BENCH = new URL("../", import.meta.url);

/** Writes a run's results, and its picture, where they are not kept in the repository: apps/bench/results/<name>.json. */
export async function writeResults(name: string, report: object, svg?: string): Promise<void> {
  await mkdir(new URL("results/", BENCH), { recursive: true });
  if (svg !== undefined) await writeFile(new URL(`results/${name}.svg`, BENCH), svg);
  await writeFile(new URL(`results/${name}.json`, BENCH), `${JSON.stringify(report, undefined, 2)}\n`);
}

/** Puts a run into the repository: its JSON and its picture into published/, its tables into the README. */
export async function publish(name: string, report: object, markdown: string, svg: string | undefined): Promise<void> {
  await mkdir(new URL("published/", BENCH), { recursive: true });
  await writeFile(new URL(`published/${name}.json`, BENCH), `${JSON.stringify(report, undefined, 2)}\n`);
  if (svg !== undefined) await writeFile(new URL(`published/${name}.svg`, BENCH), svg);
  const readme = new URL("README.md", BENCH);
  await writeFile(readme, replaceSection(await readFile(readme, "utf8"), name, markdown));
}

/** The text with what lies between `<!-- bench:name -->` and `<!-- /bench:name -->` replaced. */
export function replaceSection(text: string, name: string, content: string): string {
  const open = `<!-- bench:${name} -->`;
  const close = `<!-- /bench:${name} -->`;
  const start = text.indexOf(open);
  const end = text.indexOf(close);
  if (start === -1 || end < start) throw new Error(`README.md has no section ${open} … ${close}`);
  return `${text.slice(0, start + open.length)}\n\n${content.trim()}\n\n${text.slice(end)}`;
}
