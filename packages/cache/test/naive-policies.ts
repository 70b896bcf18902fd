import { FrequencySketch } from "../src/policy/frequency-sketch.ts";
import { KeyHash } from "../src/policy/key-hash.ts";
import type { EvictionPolicy, PolicySettings } from "../src/policy/eviction-policy.ts";
import type { PolicyName } from "../src/policy/make-policy.ts";

/**
 * The policies once more, from their papers, with plain arrays and as slow as that is. Lists begin with what came or was
 * used last. They share with the real ones only the hash and the sketch, which have tests of their own.
 */
export type NaivePolicy = Omit<EvictionPolicy, "grow" | "reuse">;

function drop<T>(list: T[], item: T): boolean {
  const place = list.indexOf(item);
  if (place !== -1) list.splice(place, 1);
  return place !== -1;
}

class NaiveLru implements NaivePolicy {
  #list: number[] = [];

  insert(slot: number): void {
    this.#list.unshift(slot);
  }

  touch(slot: number): void {
    drop(this.#list, slot);
    this.#list.unshift(slot);
  }

  remove(slot: number): void {
    drop(this.#list, slot);
  }

  victim(): number {
    return this.#list.at(-1) ?? 0;
  }

  slots(limit: number): number[] {
    return this.#list.slice(0, limit);
  }

  reset(): void {
    this.#list = [];
  }
}

class NaiveSieve implements NaivePolicy {
  #list: number[] = [];
  #used: Set<number> = new Set();
  /** The slot that the hand points at; undefined: at the oldest. */
  #hand: number | undefined;

  insert(slot: number): void {
    this.#list.unshift(slot);
  }

  touch(slot: number): void {
    this.#used.add(slot);
  }

  remove(slot: number): void {
    if (this.#hand === slot) this.#hand = this.#list[this.#list.indexOf(slot) - 1];
    drop(this.#list, slot);
    this.#used.delete(slot);
  }

  victim(): number {
    if (this.#list.length === 0) return 0;
    for (;;) {
      const slot = this.#hand ?? this.#list.at(-1)!;
      this.#hand = slot;
      if (!this.#used.delete(slot)) return slot;
      this.#hand = this.#list[this.#list.indexOf(slot) - 1];
    }
  }

  /** Lets a copy evict everything. */
  slots(limit: number): number[] {
    const copy = new NaiveSieve();
    copy.#list = [...this.#list];
    copy.#used = new Set(this.#used);
    copy.#hand = this.#hand;
    const evicted: number[] = [];
    for (let slot = copy.victim(); slot !== 0; slot = copy.victim()) {
      copy.remove(slot);
      evicted.push(slot);
    }
    return evicted.toReversed().slice(0, limit);
  }

  reset(): void {
    this.#list = [];
    this.#used.clear();
    this.#hand = undefined;
  }
}

class NaiveS3Fifo implements NaivePolicy {
  readonly #keys: KeyHash;
  readonly #uses: Map<number, number> = new Map();
  readonly #hashes: Map<number, number> = new Map();
  #small: number[] = [];
  #main: number[] = [];
  #ghosts: (number | undefined)[] = [];
  #evicting = 0;

  constructor({ random }: PolicySettings) {
    this.#keys = new KeyHash(random);
  }

  insert(slot: number, key: unknown): void {
    const hash = this.#keys.of(key);
    const ghost = this.#ghosts.indexOf(hash);
    const known = ghost !== -1 && ghost < this.#mainDue();
    if (known) this.#ghosts[ghost] = undefined;
    (known ? this.#main : this.#small).unshift(slot);
    this.#uses.set(slot, 0);
    this.#hashes.set(slot, hash);
  }

  touch(slot: number): void {
    this.#uses.set(slot, Math.min(3, this.#uses.get(slot)! + 1));
  }

  remove(slot: number): void {
    if (drop(this.#small, slot)) {
      if (slot === this.#evicting) {
        // The evicted entry still counts as held.
        const due = this.#small.length + 1 + this.#main.length - this.#smallDue(1);
        this.#ghosts = [this.#hashes.get(slot), ...this.#ghosts].slice(0, due);
      }
    } else {
      drop(this.#main, slot);
    }
    this.#evicting = 0;
  }

  victim(): number {
    while (this.#small.length > 0 && (this.#small.length >= Math.max(1, this.#smallDue()) || this.#main.length === 0)) {
      const slot = this.#small.at(-1)!;
      if (this.#uses.get(slot)! < 2) return (this.#evicting = slot);
      this.#small.pop();
      this.#main.unshift(slot);
      this.#uses.set(slot, 0);
    }
    while (this.#main.length > 0) {
      const slot = this.#main.at(-1)!;
      const uses = this.#uses.get(slot)!;
      if (uses === 0) return (this.#evicting = slot);
      this.#uses.set(slot, uses - 1);
      this.#main.unshift(this.#main.pop()!);
    }
    return 0;
  }

  slots(limit: number): number[] {
    return [...this.#main, ...this.#small].slice(0, limit);
  }

  reset(): void {
    this.#small = [];
    this.#main = [];
    this.#ghosts = [];
  }

  #smallDue(leaving = 0): number {
    return Math.floor((this.#small.length + this.#main.length + leaving) / 10);
  }

  #mainDue(): number {
    return this.#small.length + this.#main.length - this.#smallDue();
  }
}

/** Window, probation and protected segment, of slots or of hashes. */
class NaiveQueues {
  share: number;
  window: number[] = [];
  probation: number[] = [];
  protected: number[] = [];
  readonly #frequency: (item: number) => number;
  readonly #random: () => number;

  constructor(share: number, frequency: (item: number) => number, random: () => number) {
    this.share = share;
    this.#frequency = frequency;
    this.#random = random;
  }

  get all(): number[] {
    return [...this.protected, ...this.window, ...this.probation];
  }

  get #windowDue(): number {
    return Math.max(1, Math.round(this.all.length * this.share));
  }

  insert(item: number): void {
    this.window.unshift(item);
    this.#shrinkWindow();
  }

  touch(item: number): void {
    if (drop(this.window, item)) {
      this.window.unshift(item);
    } else if (drop(this.protected, item)) {
      this.protected.unshift(item);
    } else {
      drop(this.probation, item);
      this.protected.unshift(item);
      const due = Math.floor((this.probation.length + this.protected.length) * 0.8);
      for (let moves = 0; moves < 8 && this.protected.length > due; moves++) {
        this.probation.unshift(this.protected.pop()!);
      }
    }
  }

  remove(item: number): void {
    for (const list of [this.window, this.probation, this.protected]) drop(list, item);
  }

  victim(): number {
    this.#shrinkWindow();
    const main = this.probation.at(-1) ?? this.protected.at(-1);
    const candidate = this.window.at(-1);
    if (main === undefined) return candidate ?? 0;
    if (candidate === undefined || this.window.length < this.#windowDue) return main;
    const uses = this.#frequency(candidate);
    if (uses <= this.#frequency(main) && !(uses >= 6 && this.#random() < 1 / 128)) return candidate;
    this.probation.unshift(this.window.pop()!);
    return main;
  }

  #shrinkWindow(): void {
    for (let moves = 0; moves < 8 && this.window.length > this.#windowDue; moves++) {
      this.probation.unshift(this.window.pop()!);
    }
  }
}

const SHARES = [1, 0.3, 0.01];

class NaiveTinyLfu implements NaivePolicy {
  readonly #keys: KeyHash;
  readonly #sketch: FrequencySketch = new FrequencySketch();
  readonly #random: () => number;
  readonly #hashes: Map<number, number> = new Map();
  #queues: NaiveQueues;
  #miniatures: NaiveQueues[];
  #bits = 0;
  #choice = 0;
  #leads = [0, 0, 0];
  #differences = [0, 0, 0];
  #accesses = 0;
  #evicting = 0;
  /** Entries held at the last insert: the miniatures are made to match. */
  #held = 0;
  /** How often the window was changed: a test that never did that would show little. */
  changes = 0;

  constructor({ random }: PolicySettings) {
    this.#keys = new KeyHash(random);
    this.#random = random;
    this.#queues = this.#emptyQueues();
    this.#miniatures = this.#emptyMiniatures();
  }

  /** The sketch has more counters, so it makes fewer errors, when there is room for more slots. */
  growSketch(slots: number): void {
    this.#sketch.grow(slots);
  }

  insert(slot: number, key: unknown): void {
    const hash = this.#keys.of(key);
    this.#hashes.set(slot, hash);
    this.#queues.insert(slot);
    const held = this.#queues.all.length;
    this.#held = held;
    this.#sketch.hold(held);
    if (Math.floor(held / 2 ** this.#bits) > 1024) this.#sample(this.#bits + 1);
    else if (this.#bits > 0 && Math.floor(held / 2 ** this.#bits) < 64) this.#sample(this.#bits - 1);
    this.#use(hash);
  }

  touch(slot: number): void {
    this.#queues.touch(slot);
    this.#use(this.#hashes.get(slot)!);
  }

  remove(slot: number): void {
    this.#queues.remove(slot);
    if (slot !== this.#evicting) for (const miniature of this.#miniatures) miniature.remove(this.#hashes.get(slot)!);
    this.#evicting = 0;
  }

  victim(): number {
    return (this.#evicting = this.#queues.victim());
  }

  slots(limit: number): number[] {
    return this.#queues.all.slice(0, limit);
  }

  reset(): void {
    this.#sketch.reset();
    this.#queues = this.#emptyQueues();
    this.#miniatures = this.#emptyMiniatures();
    this.#bits = 0;
    this.#held = 0;
    this.#choice = 0;
    this.#leads = [0, 0, 0];
    this.#differences = [0, 0, 0];
    this.#accesses = 0;
  }

  #use(hash: number): void {
    this.#sketch.increment(hash);
    if (!this.#sampled(hash)) return;
    const capacity = Math.max(1, Math.floor(this.#held / 2 ** this.#bits));
    const hits = this.#miniatures.map((miniature) => {
      if (miniature.all.includes(hash)) {
        miniature.touch(hash);
        return 1;
      }
      for (let i = 0; i < 2 && miniature.all.length >= capacity; i++) miniature.remove(miniature.victim());
      miniature.insert(hash);
      return 0;
    });
    const chosen = hits[this.#choice]!;
    hits.forEach((hit, i) => {
      this.#leads[i]! += hit - chosen;
      this.#differences[i]! += Math.abs(hit - chosen);
    });
    const better = [0, 1, 2]
      .filter(() => new Set(hits).size > 1)
      .filter((i) => this.#leads[i]! > 0.02 * capacity + 3 * Math.sqrt(this.#differences[i]!))
      .toSorted((a, b) => this.#leads[b]! - this.#leads[a]!);
    if (better.length > 0) {
      this.#choice = better[0]!;
      this.changes++;
      this.#leads = [0, 0, 0];
      this.#differences = [0, 0, 0];
    }
    this.#accesses++;
    if (this.#accesses >= 8 * capacity) {
      this.#accesses = 0;
      this.#leads = this.#leads.map((lead) => lead / 2);
      this.#differences = this.#differences.map((difference) => difference / 2);
    }
    this.#queues.share = SHARES[this.#choice]!;
  }

  /** Whether the hash begins with so many zeros. */
  #sampled(hash: number): boolean {
    return hash < 2 ** (32 - this.#bits);
  }

  #sample(bits: number): void {
    this.#bits = bits;
    for (const miniature of this.#miniatures) {
      for (const hash of miniature.all) if (!this.#sampled(hash)) miniature.remove(hash);
    }
  }

  #emptyQueues(): NaiveQueues {
    const frequency = (slot: number): number => this.#sketch.estimate(this.#hashes.get(slot)!);
    return new NaiveQueues(SHARES[0]!, frequency, this.#random);
  }

  #emptyMiniatures(): NaiveQueues[] {
    return SHARES.map((share) => new NaiveQueues(share, (hash) => this.#sketch.estimate(hash), this.#random));
  }
}

const NAIVE: Readonly<Record<PolicyName, new (settings: PolicySettings) => NaivePolicy>> = {
  lru: NaiveLru,
  sieve: NaiveSieve,
  s3fifo: NaiveS3Fifo,
  tinylfu: NaiveTinyLfu,
};

export function makeNaive(name: PolicyName, settings: PolicySettings): NaivePolicy {
  return new NAIVE[name](settings);
}
