/** An array of slot numbers. */
export type SlotArray = Uint16Array<ArrayBuffer> | Uint32Array<ArrayBuffer>;

/** Slots below this are no entries: 0 means "none", and rings of slots (policy/) are anchored in all of them. */
export const FIRST_SLOT = 4;

/** What 16 bits can number. */
const NARROW_SLOTS = 0x1_0000;

/** Whether a table that may get so many slots needs 32 bits to number them. */
export function isWide(slots: number): boolean {
  return slots > NARROW_SLOTS;
}

/**
 * `array` with room for `length` numbers, or a first one. A cache that is known to get large is wide from the start:
 * V8 compiles faster code for arrays that have had one type only.
 */
export function growSlotArray(array: SlotArray | undefined, length: number, wide: boolean): SlotArray {
  const grown = wide || array instanceof Uint32Array ? new Uint32Array(length) : new Uint16Array(length);
  if (array !== undefined) grown.set(array);
  return grown;
}
