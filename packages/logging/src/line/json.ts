/** What JSON lets stand, but some readers of lines take for an end, and terminals for an instruction. */
const UNSAFE_IN_LINES = /[\u007f-\u009f\u2028\u2029]/;
const EACH_UNSAFE = new RegExp(UNSAFE_IN_LINES, "g");

/** As `JSON.stringify`, of what is surely JSON; no reader takes it for two lines. */
export function toJson(value: unknown): string {
  const json = JSON.stringify(value);
  // To replace nothing takes far longer than to see that there is nothing.
  return UNSAFE_IN_LINES.test(json) ? json.replace(EACH_UNSAFE, escaped) : json;
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
