import * as internal from "@vg/internal";

/** Where in the caller's code a request was made. The stack is made into text only when it is read. */
export interface CallSite {
  readonly stack?: string;
}

/** The present stack. It costs some microseconds. */
export const callSite: () => CallSite = internal.callSite;

/** The frames of the caller's code, without this package's and Node's: one a line, innermost first; "" when unknown. */
export const callerStack: (site: CallSite) => string = internal.callSiteReader(import.meta.url).stack;
