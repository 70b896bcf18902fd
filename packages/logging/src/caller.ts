import { fileURLToPath } from "node:url";

type Border = (...args: never[]) => unknown;

interface Site {
  getFileName(): string | null | undefined;
  getLineNumber(): number | null;
  getColumnNumber(): number | null;
}

const REMEMBERED = 4096;
/** Places in the running code, to the text that is shown for them. */
const remembered = new Map<string, string | undefined>();

/**
 * Where `border` was called from, as `folder/file.ts:245`; `undefined` where that can't be told.
 *
 * One frame is captured, the one that called `border`, so the depth of our own calls doesn't matter, nor does a bundler
 * that puts everything into one file. Only the first time a place is seen is its stack turned into text, by whoever
 * does that in this process: that is what applies source maps.
 */
export function callerOf(border: Border): string | undefined {
  const sites = capture(border, keepSites);
  const first = Array.isArray(sites) ? (sites[0] as Site | undefined) : undefined;
  const file = first?.getFileName();
  if (first === undefined || typeof file !== "string" || file.startsWith("node:")) return undefined;

  const place = `${file}:${first.getLineNumber()}:${first.getColumnNumber()}`;
  if (remembered.has(place)) return remembered.get(place);
  const mapped = firstFrame(capture(border)) ?? `${shortPath(file)}:${first.getLineNumber()}`;
  if (remembered.size >= REMEMBERED) remembered.clear();
  remembered.set(place, mapped);
  return mapped;
}

const keepSites = (_error: unknown, sites: unknown): unknown => sites;

function capture(border: Border, prepare?: typeof keepSites): unknown {
  const holder: { stack?: unknown } = {};
  const limit: unknown = Reflect.get(Error, "stackTraceLimit");
  const before: unknown = Reflect.get(Error, "prepareStackTrace");
  // Reflect.set does not throw where these are frozen (--frozen-intrinsics); then the stack is only longer, or a text.
  Reflect.set(Error, "stackTraceLimit", 1);
  if (prepare !== undefined) Reflect.set(Error, "prepareStackTrace", prepare);
  try {
    Error.captureStackTrace(holder, border);
    return holder.stack;
  } catch {
    // Somebody's prepareStackTrace threw.
    return undefined;
  } finally {
    Reflect.set(Error, "stackTraceLimit", limit);
    if (prepare !== undefined) Reflect.set(Error, "prepareStackTrace", before);
  }
}

/** From the text of a stack, `at name (file:///srv/app/server/chat.ts:245:9)`, its first place. */
function firstFrame(stack: unknown): string | undefined {
  if (typeof stack !== "string") return undefined;
  const frame = /^\s+at (?:.*\()?(.+):(\d+):\d+\)?$/m.exec(stack);
  return frame === null ? undefined : `${shortPath(frame[1] as string)}:${frame[2]}`;
}

/** The file with the folder that it is in, which is what tells two `index.ts` apart. */
function shortPath(file: string): string {
  let path = file;
  if (file.startsWith("file://")) {
    try {
      path = fileURLToPath(file);
    } catch {
      // Shown as it is.
    }
  }
  return path
    .split(/[/\\]/)
    .slice(-2)
    .join("/")
    .replace(/[\p{Cc}\s]+/gu, " ");
}
