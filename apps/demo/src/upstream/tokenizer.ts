/**
 * A reversible tokenizer: text is cut into pieces and nothing is dropped or changed, so that joining the pieces gives
 * back the text, for any string, lone surrogates included.
 *
 * A piece is a word or an identifier (at most 24 characters, and a short ending such as 's), a group of up to four
 * digits, a punctuation mark (or up to eight equal ones), each with the one space before it, or white space. The space
 * belongs to the piece that follows it, as in GPT-2's tokenizer (Radford et al., 2019), because text can then be
 * generated piece by piece without a rule for spacing.
 *
 * The lengths are bounded so that a token count cannot be cheated: a word of a million characters is many tokens.
 */

// Every code point is white space, a letter, a digit, "_" or something else, so every position matches.
const PIECE =
  / ?[\p{L}_][\p{L}\p{M}\p{N}_]{0,23}(?:['’]\p{L}{1,2}(?![\p{L}\p{M}\p{N}_]))?| ?\p{N}{1,4}| ?([^\s\p{L}\p{N}_])\1{0,7}|\n{1,8}|\s{1,8}/gu;

/** The pieces of `text`, in order. The empty string has none. */
export function tokenize(text: string): string[] {
  return text.match(PIECE) ?? [];
}

/** The text that the pieces came from. */
export function detokenize(pieces: readonly string[]): string {
  return pieces.join("");
}

/** How many tokens `text` has, as `usage` reports them. */
export function countTokens(text: string): number {
  return tokenize(text).length;
}
