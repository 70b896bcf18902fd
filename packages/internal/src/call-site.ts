/** Where in the caller's code something was asked for. The stack is made into text only when it is read. */
export interface CallSite {
  readonly stack?: string;
}

const FRAMES = 24;

/** The present stack. It costs some microseconds. */
export function callSite(): CallSite {
  const { stackTraceLimit } = Error;
  const site: CallSite = {};
  Error.stackTraceLimit = FRAMES;
  Error.captureStackTrace(site, callSite);
  Error.stackTraceLimit = stackTraceLimit;
  return site;
}

/**
 * Reads call sites for the package whose `src` (or, published, whose bundle) lies in the folder of `moduleUrl`, the
 * `import.meta.url` of a module there: its own frames and Node's are left out.
 */
export function callSiteReader(moduleUrl: string): {
  /** The frames of the caller's code: one a line, innermost first; "" when unknown. */
  stack(site: CallSite): string;
  /** The innermost of them as `file:line:column`; `undefined` when unknown. */
  location(site: CallSite): string | undefined;
} {
  // Frames name files by URL or by path.
  const own = new URL(".", moduleUrl).href.replace("file://", "");
  const stack = ({ stack: text = "" }: CallSite): string => {
    const frames = text.split("\n").slice(1);
    const foreign = frames.filter((frame) => !frame.includes(own) && !frame.includes("node:"));
    // Where everything is bundled into one file, there is no telling whose a frame is.
    return (foreign.length > 0 ? foreign : frames).map((frame) => frame.trim()).join("\n");
  };
  const location = (site: CallSite): string | undefined => {
    const [frame = ""] = stack(site).split("\n");
    return /\(?((?:file:\/\/)?[^\s()]+:\d+:\d+)\)?$/.exec(frame)?.[1]?.replace("file://", "");
  };
  return { stack, location };
}
