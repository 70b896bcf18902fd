import { hideSecrets } from "@vg/logging";

/** What a check says is for a line of a document, not for a report. */
const MAX_OUTPUT = 300;
const MAX_INFO_CHARS = 2_000;

/** Why a run failed, in one line, without the secrets that such words may hold. */
export function readFailure(failure: unknown): string {
  try {
    const line = hideSecrets(words(failure)).replaceAll(/\s+/g, " ").trim();
    return line.length > MAX_OUTPUT ? `${line.slice(0, MAX_OUTPUT)}…` : line;
  } catch {
    return "failed with something that cannot be read";
  }
}

const NOTHING = "failed without saying why";

function words(failure: unknown): string {
  if (typeof failure === "string" && failure !== "") return failure;
  if (!(failure instanceof Error)) return NOTHING;
  if (failure.message !== "") return failure.message;
  // Node's error for a host with several addresses has no words of its own.
  if (failure instanceof AggregateError && failure.errors.length > 0) return words(failure.errors[0]);
  const { code } = failure as NodeJS.ErrnoException;
  return code ?? NOTHING;
}

/**
 * What a run that passed told: a copy, so that neither the check nor a reader can change it later. What is no plain
 * object, is no JSON, or is long, is left out.
 */
export function readInfo(told: unknown): Readonly<Record<string, unknown>> | undefined {
  if (told === null || typeof told !== "object" || Array.isArray(told)) return undefined;
  try {
    const text = JSON.stringify(told);
    if (text.length > MAX_INFO_CHARS) return undefined;
    const copy: unknown = JSON.parse(hideSecrets(text));
    if (copy === null || typeof copy !== "object" || Array.isArray(copy) || Object.keys(copy).length === 0) {
      return undefined;
    }
    return Object.freeze(copy as Record<string, unknown>);
  } catch {
    return undefined;
  }
}
