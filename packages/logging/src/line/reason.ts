const LONGEST = 200;

/** In few words, what was thrown; never throws, whatever it was. */
export function describeReason(reason: unknown): string {
  try {
    const said: unknown = reason instanceof Error ? reason.message : reason;
    const text = String(said);
    return text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text;
  } catch {
    return "it threw something that can't be read either";
  }
}
