import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

const SOURCE = resolve(import.meta.dirname, "../src");

/** The folders in the order of the table in docs/design.md: each may import from those before it. */
function layers(): string[] {
  const design = readFileSync(resolve(import.meta.dirname, "../docs/design.md"), "utf8");
  return [...design.matchAll(/^\| `([a-z-]+)\/` \|/gm)].map(([, name]) => name as string);
}

function folderOf(file: string): string | undefined {
  const [folder, rest] = relative(SOURCE, file).split("/", 2);
  return rest === undefined ? undefined : folder;
}

test("each folder imports only from those above it in the design's table, which has them all", () => {
  const order = layers();
  const folders = readdirSync(SOURCE, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(order.toSorted()).toEqual(folders.map(({ name }) => name).toSorted());

  const files = readdirSync(SOURCE, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
  const upwards = files.flatMap((name) => {
    const file = join(SOURCE, name);
    const own = folderOf(file);
    if (own === undefined) return [];
    const imports = [...readFileSync(file, "utf8").matchAll(/from "(\.[^"]+)"/g)];
    return imports.flatMap(([, path = ""]) => {
      const target = resolve(dirname(file), path);
      const other = folderOf(target);
      // errors.ts, which stands beside the folders, is the language of all.
      if (other === undefined) return relative(SOURCE, target) === "errors.ts" ? [] : [`${name} -> ${path}`];
      return order.indexOf(other) <= order.indexOf(own) ? [] : [`${name} -> ${path}`];
    });
  });
  expect(upwards).toEqual([]);
});
