/** Reads the text of a field out of the bytes that came from the server. */
const { fromCharCode } = String;

/**
 * `bytes[start, end)` as UTF-8. Most fields are a few ASCII characters, and for those a call into C++ takes longer than
 * the reading: one `fromCharCode` of as many arguments as there are characters takes less than half of it.
 */
export function readText(bytes: Buffer, start: number, end: number): string {
  const length = end - start;
  if (length === 0) return "";
  if (length > 12) return bytes.toString("utf8", start, end);
  for (let at = start; at < end; at++) if ((bytes[at] as number) > 127) return bytes.toString("utf8", start, end);
  const at = start;
  // `as number`: all are within the bytes that were just looked at.
  const b = bytes as unknown as Record<number, number> & Buffer;
  const [a0, a1, a2, a3] = [b[at] as number, b[at + 1] as number, b[at + 2] as number, b[at + 3] as number];
  switch (length) {
    case 1:
      return fromCharCode(a0);
    case 2:
      return fromCharCode(a0, a1);
    case 3:
      return fromCharCode(a0, a1, a2);
    case 4:
      return fromCharCode(a0, a1, a2, a3);
    default:
      break;
  }
  const [a4, a5, a6, a7] = [b[at + 4] as number, b[at + 5] as number, b[at + 6] as number, b[at + 7] as number];
  switch (length) {
    case 5:
      return fromCharCode(a0, a1, a2, a3, a4);
    case 6:
      return fromCharCode(a0, a1, a2, a3, a4, a5);
    case 7:
      return fromCharCode(a0, a1, a2, a3, a4, a5, a6);
    case 8:
      return fromCharCode(a0, a1, a2, a3, a4, a5, a6, a7);
    default:
      break;
  }
  const [a8, a9, a10, a11] = [b[at + 8] as number, b[at + 9] as number, b[at + 10] as number, b[at + 11] as number];
  switch (length) {
    case 9:
      return fromCharCode(a0, a1, a2, a3, a4, a5, a6, a7, a8);
    case 10:
      return fromCharCode(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9);
    case 11:
      return fromCharCode(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10);
    default:
      return fromCharCode(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11);
  }
}

/**
 * Decimal digits with an optional sign, as the server writes an integer of up to 9 digits; anything else gives `NaN`,
 * and the caller takes the long way.
 */
export function readInteger(bytes: Buffer, start: number, end: number): number {
  let at = start;
  const negative = bytes[at] === 45;
  if (negative) at++;
  if (at === end || end - at > 9) return NaN;
  let value = 0;
  for (; at < end; at++) {
    const digit = (bytes[at] as number) - 48;
    if (digit < 0 || digit > 9) return NaN;
    value = value * 10 + digit;
  }
  return negative ? -value : value;
}
