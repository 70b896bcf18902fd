import { createTextScrubber } from "./line/redact-text.ts";

const scrub = createTextScrubber("[redacted]");

/**
 * The text without the secrets that a logger hides in messages by default (passwords in URLs, `password=…`, headers, keys,
 * tokens; see "Secrets" in the README), for words that go elsewhere than into a log: a health document, an error page.
 */
export function hideSecrets(text: string): string {
  return scrub(text, false);
}
