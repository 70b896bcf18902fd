/** From Markdown files to the passages of prose that the model learns from. */
import { readFile, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { UpstreamConfigError } from "./errors.ts";

/** One paragraph or list item, as plain text on one line, and the words of the headings above it. */
export interface Passage {
  readonly heading: string;
  readonly text: string;
}

/** More text than this makes the start slow and the answers no better. */
const MAX_TOTAL_BYTES = 4 * 1024 * 1024;
const SKIPPED_FOLDERS = new Set(["node_modules", "dist", "coverage"]);
const MIN_WORDS = 5;

/** This project's own pages: `*.md` at the root, `docs/`, and the README of every package. */
export async function projectDocumentPaths(): Promise<string[]> {
  const root = fileURLToPath(new URL("../../../../", import.meta.url));
  const pages = (await entriesOf(root)).filter((entry) => entry.isFile() && isPage(entry.name)).map((e) => e.name);
  const packages = (await entriesOf(join(root, "packages"))).filter((entry) => entry.isDirectory()).map((e) => e.name);
  const paths = [
    ...pages.map((name) => join(root, name)),
    join(root, "docs"),
    ...packages.map((name) => join(root, "packages", name, "README.md")),
  ];
  const found = await Promise.all(paths.map(exists));
  return paths.filter((_, i) => found[i]);
}

/**
 * The texts of the given files and of all `*.md` below the given folders, in the order of their paths, so that the
 * same files make the same model. Stops at 4 MiB.
 *
 * @throws UpstreamConfigError for a path that cannot be read
 */
export async function readDocuments(paths: readonly string[]): Promise<string[]> {
  const files: string[] = [];
  for (const path of paths) files.push(...(await pagesBelow(path)));
  const texts: string[] = [];
  let total = 0;
  for (const file of [...new Set(files)].toSorted()) {
    const bytes = await readFile(file);
    total += bytes.length;
    if (total > MAX_TOTAL_BYTES) break;
    texts.push(bytes.toString("utf8"));
  }
  return texts;
}

/**
 * The prose of a Markdown text. Code blocks, tables, HTML and the marks of links and emphasis go; so do fragments
 * without a sentence, which would teach the model to stop in the middle of one.
 */
export function passagesOf(markdown: string): Passage[] {
  const passages: Passage[] = [];
  const headings: string[] = [];
  let paragraph: string[] = [];
  let fence: string | undefined;

  const flush = (): void => {
    const text = plainText(paragraph.join(" "));
    paragraph = [];
    if (isProse(text)) passages.push({ heading: headings.filter(Boolean).join(" "), text });
  };

  for (const line of markdown.split(/\r?\n/u)) {
    const mark = /^\s*(```|~~~)/u.exec(line)?.[1];
    if (fence !== undefined) {
      if (mark === fence) fence = undefined;
      continue;
    }
    const heading = /^(#{1,6})\s+(.*)$/u.exec(line);
    const item = /^\s*(?:[-*+]|\d+[.)])\s+(.*)$/u.exec(line);
    if (mark !== undefined) {
      flush();
      fence = mark;
    } else if (heading !== null) {
      flush();
      headings.length = (heading[1] as string).length - 1;
      headings[(heading[1] as string).length - 1] = plainText(heading[2] as string);
    } else if (/^\s*$|^\s*[|<]|^\s*(?:[-*_]\s*){3,}$|^\s*\[[^\]]+\]:\s/u.test(line)) {
      flush();
    } else if (item !== null) {
      flush();
      paragraph.push(item[1] as string);
    } else {
      paragraph.push(line.replace(/^\s*>+\s?/u, ""));
    }
  }
  flush();
  return passages;
}

function plainText(markdown: string): string {
  return markdown
    .replace(/!\[[^\]]*\]\([^)]*\)/gu, "")
    .replace(/\[([^\]]+)\]\([^)]*\)/gu, "$1")
    .replace(/<[^>\s][^>]*>/gu, "")
    .replace(/\*\*|__|`/gu, "")
    .replace(/(^|[\s(])[*_](\S(?:[^*_]*\S)?)[*_](?=[\s).,;:!?]|$)/gu, "$1$2")
    .replace(/\s+/gu, " ")
    .trim();
}

function isProse(text: string): boolean {
  return /[.!?]["')\]]?$/u.test(text) && (text.match(/\p{L}{2,}/gu)?.length ?? 0) >= MIN_WORDS;
}

async function pagesBelow(path: string): Promise<string[]> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(path)).isDirectory();
  } catch (error) {
    throw new UpstreamConfigError(`documents: cannot read ${JSON.stringify(path)}. Give files or folders that exist.`, {
      cause: error,
    });
  }
  if (!isFolder) return [path];
  const pages: string[] = [];
  for (const entry of await entriesOf(path)) {
    const hidden = entry.name.startsWith(".") || SKIPPED_FOLDERS.has(entry.name);
    if (entry.isDirectory() && !hidden) pages.push(...(await pagesBelow(join(path, entry.name))));
    else if (entry.isFile() && isPage(entry.name)) pages.push(join(path, entry.name));
  }
  return pages;
}

function isPage(name: string): boolean {
  return name.toLowerCase().endsWith(".md") && name !== "CHANGELOG.md";
}

async function entriesOf(folder: string) {
  try {
    return await readdir(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch {
    return false;
  }
}
