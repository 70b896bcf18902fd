import type { Contender, Parameters } from "../harness/contender.ts";
import {
  CAPACITY,
  FILL,
  intWorkload,
  runWorkload,
  stringWorkload,
  type CacheUnderTest,
  type Value,
  type Workload,
} from "./cache-workload.ts";

const HOUR_MS = 3_600_000;

type DisposableCache<K> = CacheUnderTest<K> & { [Symbol.dispose]?(): void };

export async function createContender(name: string, parameters: Parameters): Promise<Contender> {
  const ttl = parameters["ttl"] === true;
  return parameters["keyType"] === "int"
    ? contenderOf(await cacheMaker<number>(name, ttl), intWorkload())
    : contenderOf(await cacheMaker<string>(name, ttl), stringWorkload());
}

function contenderOf<K>(makeCache: () => DisposableCache<K>, workload: Workload<K>): Contender {
  let cache = makeCache();
  return {
    // Each round has a cache of its own, filled: every round starts from the same state, for the same answer.
    prepare() {
      cache[Symbol.dispose]?.();
      cache = makeCache();
      runWorkload(cache, workload, 0, FILL);
    },
    run: (operations) => ({ ...runWorkload(cache, workload, FILL, operations) }),
    close: () => cache[Symbol.dispose]?.(),
  };
}

async function cacheMaker<K extends number | string>(name: string, ttl: boolean): Promise<() => DisposableCache<K>> {
  switch (name) {
    case "@vg/cache": {
      const { LRUCache } = await import("@vg/cache");
      return () => new LRUCache<K, Value>({ capacity: CAPACITY, defaultTtlMs: ttl ? HOUR_MS : Infinity });
    }
    case "lru-cache": {
      const { LRUCache } = await import("lru-cache");
      return () => new LRUCache<K, Value>(ttl ? { max: CAPACITY, ttl: HOUR_MS } : { max: CAPACITY });
    }
    default:
      throw new Error(`no cache ${name}`);
  }
}
