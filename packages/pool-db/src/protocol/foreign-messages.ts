/**
 * The messages that may come while an exchange is under way and that pg's reader is the one to read. It trusts what it
 * reads, up to looking for the end of a text for ever, so each is looked through before it gets it.
 */

const COPY_DATA = 0x64;
const COPY_DONE = 0x63;
const COPY_IN_RESPONSE = 0x47;
const COPY_OUT_RESPONSE = 0x48;
const ERROR_RESPONSE = 0x45;
const NOTICE_RESPONSE = 0x4e;
const NOTIFICATION_RESPONSE = 0x41;
const PARAMETER_STATUS = 0x53;

/** Whether a message of this type with the body `bytes[at, end)` is one that pg reads, and is well formed. */
export function isForPg(type: number, bytes: Buffer, at: number, end: number): boolean {
  switch (type) {
    case ERROR_RESPONSE:
    case NOTICE_RESPONSE:
      return endOfFields(bytes, at, end) === end;
    case NOTIFICATION_RESPONSE:
      return endOfTexts(bytes, at + 4, end, 2) === end;
    case PARAMETER_STATUS:
      return endOfTexts(bytes, at, end, 2) === end;
    case COPY_IN_RESPONSE:
    case COPY_OUT_RESPONSE:
      return end - at >= 3 && at + 3 + 2 * bytes.readUInt16BE(at + 1) === end;
    case COPY_DATA:
      return true;
    case COPY_DONE:
      return at === end;
    default:
      return false;
  }
}

/** Texts, each behind a byte that says what it is, up to a 0 in that byte's place. */
function endOfFields(bytes: Buffer, from: number, end: number): number {
  let at = from;
  while (at < end && bytes[at] !== 0) at = endOfTexts(bytes, at + 1, end, 1);
  return at + 1;
}

/** Where so many texts end that are each closed by a 0; beyond `end` when they are not. */
function endOfTexts(bytes: Buffer, from: number, end: number, count: number): number {
  let at = from;
  for (let texts = 0; texts < count && at <= end; texts++) {
    const zero = bytes.indexOf(0, at);
    at = zero === -1 ? end + 1 : zero + 1;
  }
  return at;
}
