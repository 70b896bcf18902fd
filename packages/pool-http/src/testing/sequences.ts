/** Which script a request gets. */
import { redirect } from "./faults.ts";
import type { FaultRequest } from "./records.ts";
import type { RequestScript, Script } from "./script.ts";

type Chooser = (request: FaultRequest) => Script;

/**
 * The first request gets the first script, the second the second, and so on; all after the last one get the last one.
 * It counts the requests that it is asked for, so each use wants one of its own.
 */
export function inTurn(...scripts: readonly [RequestScript, ...RequestScript[]]): Chooser {
  let count = 0;
  return (request) => chosen(scripts[Math.min(count++, scripts.length - 1)] as RequestScript, request);
}

/** By the position of a request on its connection: a fresh connection begins with the first script. */
export function onEachConnection(...scripts: readonly [RequestScript, ...RequestScript[]]): Chooser {
  return (request) => chosen(scripts[Math.min(request.onConnection, scripts.length - 1)] as RequestScript, request);
}

/** So many requests get the one script, so many the next one, and after the last wave the first one comes again. */
export function waves(...parts: readonly [Wave, ...Wave[]]): Chooser {
  const period = parts.reduce((sum, [count]) => sum + count, 0);
  if (!Number.isInteger(period) || period < 1 || parts.some(([count]) => !(count >= 0))) {
    throw new TypeError(
      `waves: counts must be whole numbers from 0, and one of them more, got ${parts.map(([count]) => count).join(", ")}`,
    );
  }
  let count = 0;
  return (request) => {
    let at = count++ % period;
    for (const [length, script] of parts) {
      if (at < length) return chosen(script, request);
      at -= length;
    }
    throw new Error("unreachable: a period is the sum of its parts");
  };
}

export type Wave = readonly [count: number, script: RequestScript];

/**
 * By the path of a request, without its query. One that is not there gets what "*" says, and without that it is an error
 * of the test, which the server reports.
 */
export function byPath(scripts: Readonly<Record<string, RequestScript>>): Chooser {
  return (request) => {
    const path = request.path.split("?", 1)[0] ?? "";
    const script = Object.hasOwn(scripts, path) ? scripts[path] : scripts["*"];
    if (script === undefined) {
      throw new Error(`byPath has ${Object.keys(scripts).join(", ")}, and neither ${path} nor "*"`);
    }
    return chosen(script, request);
  };
}

/** Each of the locations redirects to the next one, and the last one to the first; paths, or whole URLs. */
export function redirectLoop(locations: readonly [string, ...string[]], options: { status?: number } = {}): Chooser {
  const pathOf = (location: string): string => new URL(location, "http://localhost").pathname;
  return (request) => {
    const at = locations.findIndex((location) => pathOf(location) === request.path.split("?", 1)[0]);
    return redirect(locations[(at + 1) % locations.length] as string, options);
  };
}

function chosen(script: RequestScript, request: FaultRequest): Script {
  return typeof script === "function" ? script(request) : script;
}
