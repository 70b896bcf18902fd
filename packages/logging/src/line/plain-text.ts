import { hasTokenSign } from "./tokens.ts";

const PLAIN = 0;
const NEEDS_LOOK = 1;
/** Suspicious only beside another: the dash of `-----BEGIN`, and the space behind `Bearer` and `Basic`. */
const DASH = 2;
const SPACE = 3;
/** No part of a word. */
const BREAK = 4;
const SIGN = 7;
/** A letter, or "_", that no hexadecimal number has; every token has one, and no trace id and UUID. */
const LETTER = 8;

/** What each character of ASCII may be the sign of; see `needsCare`. */
const SIGNS = new Uint8Array(128);
for (let code = 0; code < 32; code++) SIGNS[code] = NEEDS_LOOK;
for (const character of '"\\=:\u007f') SIGNS[character.charCodeAt(0)] = NEEDS_LOOK;
for (const character of "!#$%&'()*+,./;<>?@[]^`{|}~") SIGNS[character.charCodeAt(0)] = BREAK;
for (const character of "ghijklmnopqrstuvwxyzGHIJKLMNOPQRSTUVWXYZ_") SIGNS[character.charCodeAt(0)] = LETTER;
SIGNS["-".charCodeAt(0)] = DASH;
SIGNS[" ".charCodeAt(0)] = SPACE;

/** For longer texts the regular expression is as fast. */
const SHORT = 48;
/** A credential is no shorter word than this; see tokens.ts. */
const LONG_WORD = 16;

/**
 * Whether a short text is surely plain, so that `needsCare` need not be asked: true only where that is false.
 * Most texts of a line are names, ids and words, for which starting a regular expression takes longer than this loop.
 */
export function isShortAndPlain(text: string): boolean {
  const { length } = text;
  if (length > SHORT) return false;
  let before = 0;
  let wordStart = 0;
  let hasLongWord = false;
  let seen = 0;
  for (let i = 0; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code > 127) return false;
    const signs = SIGNS[code] as number;
    seen |= signs;
    const sign = signs & SIGN;
    if (sign !== PLAIN) {
      if (sign === NEEDS_LOOK || (sign === DASH && before === code) || (sign === SPACE && endsScheme(before)))
        return false;
      if (sign !== DASH) {
        if (i - wordStart >= LONG_WORD) hasLongWord = true;
        wordStart = i + 1;
      }
    }
    before = code;
  }
  if (!hasLongWord && length - wordStart < LONG_WORD) return true;
  return (seen & LETTER) === 0 || !hasTokenSign(text);
}

/** The last letters of `Bearer`, `BEARER`, `Basic`, and of words of which one can't tell. */
function endsScheme(code: number): boolean {
  const lower = code | 32;
  return lower === 114 || lower === 99;
}
