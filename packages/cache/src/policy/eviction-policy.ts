/**
 * Which entry gives way when there is no room. A policy knows slots, not values; the entries are somebody else's.
 *
 * Slots are numbers from FIRST_SLOT on. A slot belongs to the policy from `insert` to `remove`, and may be inserted
 * again after that, for another key. A policy has no idea of a limit: what it calls small or large is a share of what
 * it holds, so it serves a limit of entries, of bytes, and one that changes, alike.
 */
export interface EvictionPolicy {
  /** Makes room for slots below `slots`. The first call comes before the first `insert`. */
  grow(slots: number): void;
  /** A new entry. Never called for a slot that the policy holds. */
  insert(slot: number, key: unknown): void;
  /** A use of an entry: it was read, or its value was replaced. */
  touch(slot: number): void;
  /** The entry left, for whatever reason. */
  remove(slot: number): void;
  /** As `remove` and `insert`: the entry left, and a new one has its slot. */
  reuse(slot: number, key: unknown): void;
  /** The slot that has to give way to a newcomer, 0 if there is none. The caller removes or reuses it before it calls anything else. */
  victim(): number;
  /** Up to `limit` slots, all different, beginning with those that would be kept the longest. */
  slots(limit: number): number[];
  /** Forgets everything, what it remembers of keys that left included. */
  reset(): void;
}

/** What a policy is made with. */
export interface PolicySettings {
  /** Slots will need more than 16 bits. */
  readonly wide: boolean;
  /** A number of 0 or above and below 1. */
  readonly random: () => number;
}
