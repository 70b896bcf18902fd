import fc from "fast-check";

/** Any value that fast-check can make, its names from `key`. */
export function anything(key: fc.Arbitrary<string>, limits: { maxDepth?: number } = {}): fc.Arbitrary<unknown> {
  return fc.anything({
    key,
    ...limits,
    withBigInt: true,
    withBoxedValues: true,
    withDate: true,
    withMap: true,
    withNullPrototype: true,
    withObjectString: true,
    withSet: true,
    withSparseArray: true,
    withTypedArray: true,
    withUnicodeString: true,
  });
}
