/** Bodies of bytes that no JSON parser sees, and that no two places of look alike. */
export const BLOB_BYTES = 65_536;
/** So many different ones there are. */
export const BLOBS = 8;

const made = Array.from({ length: BLOBS }, (_, id) => makeBlob(id));

export function blobOf(id: number): Buffer {
  return made[id % BLOBS]!;
}

/** Whether these bytes are what the blob has from `at` on. The same for every client, and without a copy. */
export function isPartOfBlob(bytes: Uint8Array, id: number, at: number): boolean {
  const end = at + bytes.length;
  return end <= BLOB_BYTES && blobOf(id).compare(bytes, 0, bytes.length, at, end) === 0;
}

export function isBlob(bytes: Uint8Array, id: number): boolean {
  return bytes.length === BLOB_BYTES && isPartOfBlob(bytes, id, 0);
}

function makeBlob(id: number): Buffer {
  const bytes = Buffer.allocUnsafe(BLOB_BYTES);
  let state = id + 1;
  for (let i = 0; i < BLOB_BYTES; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) | 0;
    bytes[i] = state >>> 24;
  }
  return bytes;
}
