const FEW = 64;

/** A map that keeps none of its values alive, and forgets those that are gone as it grows. */
export class WeaklyHeld<K, V extends object> {
  #refs = new Map<K, WeakRef<V>>();
  #sweepAt = FEW;

  get(key: K): V | undefined {
    return this.#refs.get(key)?.deref();
  }

  set(key: K, value: V): void {
    if (this.#refs.size >= this.#sweepAt) {
      this.entries();
      this.#sweepAt = Math.max(FEW, 2 * this.#refs.size);
    }
    this.#refs.set(key, new WeakRef(value));
  }

  /** Those that are left. */
  entries(): [K, V][] {
    const left: [K, V][] = [];
    for (const [key, ref] of this.#refs) {
      const value = ref.deref();
      if (value === undefined) this.#refs.delete(key);
      else left.push([key, value]);
    }
    return left;
  }
}
