const LONGEST = 200;

/** In few words, what was thrown; never throws, whatever it was. */
export function describeReason(reason: unknown): string {
  try {
    const said: unknown = reason instanceof Error ? reason.message : reason;
    // A list as a text is as long as it likes.
    const text = Array.isArray(said) ? `a list of ${said.length}` : String(said);
    return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  } catch {
    return "it threw something that can't be read either";
  }
}
