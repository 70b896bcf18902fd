import * as internal from "@vg/internal";

/** Where in the caller's code something was asked for. The stack is made into text only when it is read. */
export interface CallSite {
  readonly stack?: string;
}

const reader = internal.callSiteReader(import.meta.url);

/** The present stack. It costs some microseconds. */
export const callSite: () => CallSite = internal.callSite;

/** The frames of the caller's code, without this package's and Node's: one a line, innermost first; "" when unknown. */
export const callerStack: (site: CallSite) => string = reader.stack;

/** The innermost of those frames as `file:line:column`; `undefined` when unknown. */
export const callerLocation: (site: CallSite) => string | undefined = reader.location;
