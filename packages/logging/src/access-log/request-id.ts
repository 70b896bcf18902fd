/** A client's id goes into every line and maybe into the answer, so only a short plain word is taken. */
const HARMLESS = /^[\w.:+/=~-]{1,128}$/;

export function harmlessId(value: unknown): string | undefined {
  return typeof value === "string" && HARMLESS.test(value) ? value : undefined;
}
