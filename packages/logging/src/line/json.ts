/** What JSON lets stand, but some readers of lines take for an end, and terminals for an instruction. */
const UNSAFE_IN_LINES = /[\u007f-\u009f\u2028\u2029]/g;

/** As `JSON.stringify`, of what is surely JSON; no reader takes it for two lines. */
export function toJson(value: unknown): string {
  return JSON.stringify(value).replace(
    UNSAFE_IN_LINES,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
