import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, expect, test } from "vitest";
import { passagesOf, projectDocumentPaths, readDocuments } from "../../src/upstream/documents.ts";
import { UpstreamConfigError } from "../../src/upstream/errors.ts";

const folders: string[] = [];

async function folder(files: Record<string, string>): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "upstream-documents-"));
  folders.push(path);
  for (const [name, text] of Object.entries(files)) {
    await mkdir(join(path, name, ".."), { recursive: true });
    await writeFile(join(path, name), text);
  }
  return path;
}

afterEach(async () => {
  for (const path of folders.splice(0)) await rm(path, { recursive: true });
});

test("prose and list items become passages under their headings, and everything else goes", () => {
  const markdown = `# Title
Some **bold** text with \`code\` and a [link](https://example.org/x)
over two lines.

| a | table |
|---|---|
<p>html</p>

## Part
- A first item with enough words.
- A second item that
  goes on here.

\`\`\`ts
const code = "is no prose. It is not.";
\`\`\`
> A quote of _some_ more words.

A fragment without an end
Short one.

# Next
The last passage stands under the second title.`;
  expect(passagesOf(markdown)).toEqual([
    { heading: "Title", text: "Some bold text with code and a link over two lines." },
    { heading: "Title Part", text: "A first item with enough words." },
    { heading: "Title Part", text: "A second item that goes on here." },
    { heading: "Title Part", text: "A quote of some more words." },
    { heading: "Title Part", text: "A fragment without an end Short one." },
    { heading: "Next", text: "The last passage stands under the second title." },
  ]);
});

test("a heading of a higher level ends the lower ones, also when levels are skipped", () => {
  const markdown =
    "### Deep\nOne two three four five.\n# Top\nSix seven eight nine ten.\n### Under\nThe words of another passage.";
  expect(passagesOf(markdown).map(({ heading }) => heading)).toEqual(["Deep", "Top", "Top Under"]);
});

test("folders are read with all their pages, in order, without changelogs and installed packages", async () => {
  const path = await folder({
    "b.md": "B",
    "a.md": "A",
    "sub/c.MD": "C",
    "sub/CHANGELOG.md": "no",
    "code.ts": "no",
    "node_modules/x/README.md": "no",
    ".hidden/x.md": "no",
  });
  expect(await readDocuments([path])).toEqual(["A", "B", "C"]);
  expect(await readDocuments([join(path, "b.md"), join(path, "b.md")])).toEqual(["B"]);
});

test("a path that does not exist is refused by name", async () => {
  const path = join(tmpdir(), "upstream-no-such-folder");
  await expect(readDocuments([path])).rejects.toThrow(UpstreamConfigError);
  await expect(readDocuments([path])).rejects.toThrow("upstream-no-such-folder");
});

test("the project's own pages are found", async () => {
  const paths = await projectDocumentPaths();
  expect(paths.some((path) => path.endsWith("CONTRIBUTING.md"))).toBe(true);
  expect((await readDocuments(paths)).length).toBeGreaterThan(0);
});
