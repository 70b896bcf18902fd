const BYTES = 1024;

/** So many different documents there are. */
export const DOCUMENTS = 1000;

interface Document {
  readonly id: number;
  readonly object: string;
  readonly tags: readonly string[];
  readonly score: number;
  readonly text: string;
}

/** The document of an id: JSON of exactly 1 KiB. */
export function documentOf(id: number): string {
  const head = `{"id":${id},"object":"document","tags":["alpha","beta","gamma"],"score":0.875,"text":"`;
  return `${head}${"abcdefghij".repeat(BYTES / 10).slice(0, BYTES - head.length - 2)}"}`;
}

/** Kept, so that what a check costs is the comparison alone; the same for every contender. */
const parsed = new Map<number, Document>();

/**
 * Whether a parsed document is that of the id, in every field, and has no others. Field by field: a general comparison
 * takes a tenth of the time that a request does, and would make all clients look more alike.
 */
export function isDocument(value: unknown, id: number): boolean {
  if (typeof value !== "object" || value === null) return false;
  let expected = parsed.get(id);
  if (expected === undefined) parsed.set(id, (expected = JSON.parse(documentOf(id)) as Document));
  let fields = 0;
  for (const _ in value) fields++;
  const found = value as Partial<Document>;
  return (
    fields === 5 &&
    found.id === expected.id &&
    found.object === expected.object &&
    found.score === expected.score &&
    found.text === expected.text &&
    areTags(found.tags, expected.tags)
  );
}

function areTags(value: unknown, expected: readonly string[]): boolean {
  return Array.isArray(value) && value.length === expected.length && expected.every((tag, i) => value[i] === tag);
}
