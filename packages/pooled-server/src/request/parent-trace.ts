/** What of a trace that somebody else has begun may be sent on: W3C Trace Context, levels 1 and 2. */

/** Sampled, and random; the other bits are to be sent as zero. */
const KNOWN_BITS = 3;

export function knownFlags(flags: string): string {
  if (flags === "01" || flags === "00") return flags;
  return (Number.parseInt(flags, 16) & KNOWN_BITS).toString(16).padStart(2, "0");
}

/** What every hop has to take; more may cost a call its answer. */
const MAX_CHARACTERS = 512;
const MAX_MEMBERS = 32;
/** Members above it are the first to go. */
const LONG_CHARACTERS = 128;
const SENDABLE = /^[\t\x20-\x7e]*$/;

/**
 * The `tracestate` to send on: as it is where it can be, else without its longest members, then without its last ones.
 * `undefined` where there is none, or none that can be read.
 */
export function passedOn(tracestate: string | undefined): string | undefined {
  if (tracestate === undefined || !SENDABLE.test(tracestate)) return undefined;
  // A member takes two characters at least, and a comma.
  if (tracestate.length <= MAX_MEMBERS * 2) return tracestate;
  let members = tracestate
    .split(",")
    .map((member) => member.trim())
    .filter((member) => member !== "");
  if (tracestate.length <= MAX_CHARACTERS && members.length <= MAX_MEMBERS) return tracestate;
  members = members.slice(0, MAX_MEMBERS);
  if (lengthOf(members) > MAX_CHARACTERS) members = members.filter(({ length }) => length <= LONG_CHARACTERS);
  while (lengthOf(members) > MAX_CHARACTERS) members.pop();
  return members.length === 0 ? undefined : members.join(",");
}

function lengthOf(members: readonly string[]): number {
  return members.reduce((sum, { length }) => sum + length + 1, -1);
}
