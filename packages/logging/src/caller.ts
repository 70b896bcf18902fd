import { findSourceMap } from "node:module";
import { fileURLToPath } from "node:url";
import type { Border } from "./line-hooks.ts";

/**
 * Where `border` was called from, as `folder/file.ts:245`; `undefined` where that can't be told.
 *
 * @param wrappers functions that log for others: the first of them that is on the stack takes the place of `border`
 */
export type CallerOf = (border: Border, wrappers?: readonly Border[]) => string | undefined;

/** As much of V8's CallSite as is read here. */
interface Site {
  getFileName(): string | null | undefined;
  getScriptNameOrSourceURL(): string | null | undefined;
  getEvalOrigin(): string | undefined;
  getLineNumber(): number | null;
  getColumnNumber(): number | null;
}

/** What is known of one place in the running code. */
interface Place {
  /** `undefined`: no place that a person wrote. */
  readonly text: string | undefined;
  /** The package that it belongs to, where it is one under node_modules. */
  readonly packageName: string | undefined;
}

const NOWHERE: Place = { text: undefined, packageName: undefined };
/** How far the search goes past frames that are not the caller. */
const FARTHEST = 32;
const REMEMBERED = 4096;
const places = new Map<string, Map<number, Place>>();
let remembered = 0;

/**
 * One frame is captured, the one that called `border`, so the depth of our own calls doesn't matter, nor does a bundler
 * that puts everything into one file. Only where that is no place of a person's (a callback that Node itself called,
 * code of a package to skip) are more frames looked at. The text of a place is made the first time it is seen.
 *
 * @param skip packages whose frames are not the caller
 */
export function createCallerOf(skip: ReadonlySet<string>): CallerOf {
  const isCaller = ({ text, packageName }: Place): boolean =>
    text !== undefined && (packageName === undefined || !skip.has(packageName));

  return (border, wrappers = []) => {
    const from = wrappers.find((wrapper) => hasFrames(capture(wrapper, 1, keepSites))) ?? border;
    // As in `capture`, but here: each frame between the border and this costs a sixth of the whole.
    const holder: { stack?: unknown } = {};
    const before = borrowError(1, keepSites);
    let frames: unknown;
    try {
      Error.captureStackTrace(holder, from);
      frames = holder.stack;
    } catch {
      return undefined;
    } finally {
      giveErrorBack(before);
    }
    if (typeof frames === "string") return placesOfText(frames).find(isCaller)?.text;
    if (!Array.isArray(frames) || frames.length === 0) return undefined;
    const nearest = placeOf(frames[0] as Site, from, 0);
    if (isCaller(nearest)) return nearest.text;

    const farther = capture(from, FARTHEST, keepSites);
    if (!Array.isArray(farther)) return undefined;
    for (let i = 1; i < farther.length; i++) {
      const place = placeOf(farther[i] as Site, from, i);
      if (isCaller(place)) return place.text;
    }
    return undefined;
  };
}

const keepSites = (_error: unknown, sites: unknown): unknown => sites;

function hasFrames(frames: unknown): boolean {
  return Array.isArray(frames) ? frames.length > 0 : typeof frames === "string" && AT.test(frames);
}

/**
 * The frames below `border`: with `prepare` as sites, without as whatever this process makes of a stack. Where the
 * intrinsics are frozen it is a text in both cases.
 */
function capture(border: Border, limit: number, prepare?: typeof keepSites): unknown {
  const holder: { stack?: unknown } = {};
  const before = borrowError(limit, prepare);
  try {
    Error.captureStackTrace(holder, border);
    return holder.stack;
  } catch {
    // Somebody's prepareStackTrace threw.
    return undefined;
  } finally {
    giveErrorBack(before);
  }
}

/** How stacks were made before; a property that was not there is to be gone again. */
interface ErrorSettings {
  readonly hadLimit: boolean;
  readonly limit: unknown;
  /** `undefined`: it was not touched. */
  readonly hadPrepare: boolean | undefined;
  readonly prepare: unknown;
}

function borrowError(limit: number, prepare: typeof keepSites | undefined): ErrorSettings {
  const before = {
    hadLimit: Object.hasOwn(Error, "stackTraceLimit"),
    limit: Reflect.get(Error, "stackTraceLimit") as unknown,
    hadPrepare: prepare === undefined ? undefined : Object.hasOwn(Error, "prepareStackTrace"),
    prepare: Reflect.get(Error, "prepareStackTrace") as unknown,
  };
  // Reflect.set does not throw where these are frozen (--frozen-intrinsics).
  Reflect.set(Error, "stackTraceLimit", limit);
  if (prepare !== undefined) Reflect.set(Error, "prepareStackTrace", prepare);
  return before;
}

function giveErrorBack(before: ErrorSettings): void {
  if (before.hadLimit) Reflect.set(Error, "stackTraceLimit", before.limit);
  else Reflect.deleteProperty(Error, "stackTraceLimit");
  if (before.hadPrepare === true) Reflect.set(Error, "prepareStackTrace", before.prepare);
  else if (before.hadPrepare === false) Reflect.deleteProperty(Error, "prepareStackTrace");
}

/** @param index of the site among the frames below `border` */
function placeOf(site: Site, border: Border, index: number): Place {
  const file = site.getFileName();
  if (typeof file !== "string") return placeOfEval(site);
  if (file.startsWith("node:")) return NOWHERE;
  const line = site.getLineNumber() ?? 0;
  const column = site.getColumnNumber() ?? 0;
  const key = line * 0x1_0000_0000 + column;
  const known = places.get(file)?.get(key);
  if (known !== undefined) return known;

  const original = originOf(file, line, column) ?? formattedFrame(border, index) ?? { file, line };
  const place = { text: `${shortPath(original.file)}:${original.line}`, packageName: packageOf(file) };
  if (remembered >= REMEMBERED) {
    places.clear();
    remembered = 0;
  }
  const ofFile = places.get(file);
  if (ofFile === undefined) places.set(file, new Map([[key, place]]));
  else ofFile.set(key, place);
  remembered++;
  return place;
}

/** Code made by `eval` or `new Function` has the name that it gives itself, or is where it was made. */
function placeOfEval(site: Site): Place {
  const named = site.getScriptNameOrSourceURL();
  if (typeof named === "string" && named !== "") {
    return { text: `${shortPath(named)}:${site.getLineNumber() ?? 0}`, packageName: undefined };
  }
  const origin = /\(([^()]+):(\d+):(\d+)\)\)*$/.exec(site.getEvalOrigin() ?? "");
  if (origin === null) return NOWHERE;
  const [, file = "", line = "", column = ""] = origin;
  if (file.startsWith("node:")) return NOWHERE;
  const original = originOf(file, Number(line), Number(column)) ?? { file, line };
  return { text: `${shortPath(original.file)}:${original.line}`, packageName: packageOf(file) };
}

interface Origin {
  readonly file: string;
  readonly line: number | string;
}

/** By the source map that Node has read, which it does where source maps are enabled. */
function originOf(file: string, line: number, column: number): Origin | undefined {
  try {
    const origin = findSourceMap(file)?.findOrigin(line, column);
    if (origin === undefined || !("fileName" in origin) || typeof origin.fileName !== "string") return undefined;
    return { file: origin.fileName, line: origin.lineNumber };
  } catch {
    return undefined;
  }
}

const AT = /^\s+at (?:.*\()?(.+):(\d+):\d+\)?$/m;
/** `at name (eval at other (file:///srv/app/server/chat.ts:245:9), <anonymous>:1:1)` */
const MADE_AT = /^\s+at .*\(eval at .*\(([^()]+):(\d+):\d+\)+, /;

/** By whoever formats stacks in this process, as `source-map-support` does. */
function formattedFrame(border: Border, index: number): Origin | undefined {
  const stack = capture(border, index + 1);
  if (typeof stack !== "string") return undefined;
  const frame = AT.exec(stack.split("\n").filter((line) => /^\s+at /.test(line))[index] ?? "");
  return frame === null ? undefined : { file: frame[1] as string, line: frame[2] as string };
}

/** The places of a stack that is a text, `at name (file:///srv/app/server/chat.ts:245:9)`. */
function placesOfText(stack: string): Place[] {
  return stack.split("\n").flatMap((line) => {
    const frame = MADE_AT.exec(line) ?? AT.exec(line);
    if (frame === null) return [];
    const [, file = "", at = ""] = frame;
    return file.startsWith("node:") ? NOWHERE : { text: `${shortPath(file)}:${at}`, packageName: packageOf(file) };
  });
}

function packageOf(file: string): string | undefined {
  const at = file.lastIndexOf("node_modules");
  if (at < 0) return undefined;
  const [, scope = "", name = ""] = file.slice(at).split(/[/\\]/);
  return scope.startsWith("@") ? `${scope}/${name}` : scope;
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
  } else if (file.includes("://")) {
    path = file.replace(/[?#].*$/s, "");
  }
  return path
    .split(/[/\\]/)
    .slice(-2)
    .join("/")
    .replace(/[\p{Cc}\s]+/gu, " ");
}
