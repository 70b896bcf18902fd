/** Where in the caller's code something was asked for. The stack is made into text only when it is read. */
export interface CallSite {
  readonly stack?: string;
}

const FRAMES = 24;
/** The folder of this package's code, in the published bundle too. Frames name files by URL or by path. */
const OWN = new URL(".", import.meta.url).href.replace("file://", "");

/** The present stack. It costs some microseconds. */
export function callSite(): CallSite {
  const { stackTraceLimit } = Error;
  const site: CallSite = {};
  Error.stackTraceLimit = FRAMES;
  Error.captureStackTrace(site, callSite);
  Error.stackTraceLimit = stackTraceLimit;
  return site;
}

/** The frames of the caller's code, without this package's and Node's: one a line, innermost first; "" when unknown. */
export function callerStack({ stack = "" }: CallSite): string {
  const frames = stack.split("\n").slice(1);
  const foreign = frames.filter((frame) => !frame.includes(OWN) && !frame.includes("node:"));
  // Where everything is bundled into one file, there is no telling whose a frame is.
  return (foreign.length > 0 ? foreign : frames).map((frame) => frame.trim()).join("\n");
}

/** The innermost of those frames as `file:line:column`; `undefined` when unknown. */
export function callerLocation(site: CallSite): string | undefined {
  const [frame = ""] = callerStack(site).split("\n");
  return /\(?((?:file:\/\/)?[^\s()]+:\d+:\d+)\)?$/.exec(frame)?.[1]?.replace("file://", "");
}
