import { setImmediate as turn } from "node:timers/promises";
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { LRUCache } from "../src/index.ts";
import { FakeClock } from "./fake-clock.ts";

type Key = "a" | "b" | "c";
type Outcome = "waiting" | `value ${number}` | `error ${number}` | `left ${number}`;

interface Caller {
  readonly load: number;
  readonly controller: AbortController | undefined;
  expected: Outcome;
  actual: Outcome;
}

interface Load {
  readonly key: Key;
  state: "running" | "abandoned" | "ended";
  readonly signal: AbortSignal;
  readonly resolve: (value: number) => void;
  readonly reject: (error: unknown) => void;
}

const key = fc.constantFrom<Key>("a", "b", "c");
const step = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant("call" as const), key, canLeave: fc.boolean() }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant("end" as const), which: fc.nat(), ok: fc.boolean() }) },
  { weight: 3, arbitrary: fc.record({ op: fc.constant("leave" as const), which: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("set" as const), key }) },
  { weight: 2, arbitrary: fc.record({ op: fc.constant("delete" as const), key }) },
  { weight: 1, arbitrary: fc.record({ op: fc.constant("clear" as const) }) },
);

/** Capacity 2 for 3 keys: loads have to live through evictions. */
const CAPACITY = 2;

test("callers, loads, changes and leaving in any order: everyone gets what they were promised", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
      const cache = new LRUCache<Key, number>({ capacity: CAPACITY, clock: new FakeClock(), cleanupIntervalMs: 0 });
      const loads: Load[] = [];
      const callers: Caller[] = [];
      // The model: what is stored, the most recently used key last, and the load that may write, by key.
      const stored = new Map<Key, number>();
      const current = new Map<Key, number>();
      const counts = { hits: 0, misses: 0, loads_ok: 0, loads_failed: 0, loads_abandoned: 0, loads_deduplicated: 0 };

      const store = (k: Key, value: number): void => {
        stored.delete(k);
        stored.set(k, value);
        if (stored.size > CAPACITY) stored.delete(stored.keys().next().value!);
      };
      const retire = (n: number): boolean => current.get(loads[n]!.key) === n && current.delete(loads[n]!.key);

      const call = (k: Key, canLeave: boolean): void => {
        const found = stored.get(k);
        const running = current.get(k);
        const n = found !== undefined ? -1 : (running ?? loads.length);
        const controller = canLeave ? new AbortController() : undefined;
        const caller: Caller = { load: n, controller, expected: "waiting", actual: "waiting" };
        if (found !== undefined) {
          counts.hits++;
          store(k, found);
          caller.expected = `value ${found}`;
        } else {
          counts.misses++;
          if (running === undefined) current.set(k, n);
          else counts.loads_deduplicated++;
        }
        callers.push(caller);
        const started = loads.length;
        cache
          .getOrLoad(
            k,
            ({ signal, key: loading }) => {
              expect(loading).toBe(k);
              return new Promise<number>((resolve, reject) => {
                loads.push({ key: k, state: "running", signal, resolve, reject });
              });
            },
            { signal: controller?.signal },
          )
          .then(
            (value) => (caller.actual = `value ${value}`),
            (error: unknown) =>
              (caller.actual = error instanceof Error ? `error ${Number(error.message)}` : `left ${Number(error)}`),
          );
        expect(loads.length - started).toBe(found === undefined && running === undefined ? 1 : 0);
      };

      let serial = 100;
      for (const each of steps) {
        serial++;
        if (each.op === "call") {
          call(each.key, each.canLeave);
        } else if (each.op === "end") {
          const unended = loads.filter(({ state }) => state !== "ended");
          const load = unended[each.which % unended.length];
          if (load === undefined) continue;
          const n = loads.indexOf(load);
          if (load.state === "running") {
            for (const caller of callers) {
              if (caller.load === n && caller.expected === "waiting") {
                caller.expected = each.ok ? `value ${serial}` : `error ${serial}`;
              }
            }
            if (each.ok) counts.loads_ok++;
            else counts.loads_failed++;
            if (retire(n) && each.ok) store(load.key, serial);
          }
          load.state = "ended";
          if (each.ok) load.resolve(serial);
          else load.reject(new Error(String(serial)));
        } else if (each.op === "leave") {
          const waiting = callers.filter(
            ({ controller, expected }) => controller !== undefined && expected === "waiting",
          );
          const caller = waiting[each.which % waiting.length];
          if (caller === undefined) continue;
          caller.expected = `left ${serial}`;
          caller.controller!.abort(serial);
          if (!callers.some(({ load, expected }) => load === caller.load && expected === "waiting")) {
            retire(caller.load);
            loads[caller.load]!.state = "abandoned";
            counts.loads_abandoned++;
          }
        } else if (each.op === "set") {
          cache.set(each.key, serial);
          store(each.key, serial);
          current.delete(each.key);
        } else if (each.op === "delete") {
          cache.delete(each.key);
          stored.delete(each.key);
          current.delete(each.key);
        } else {
          cache.clear();
          stored.clear();
          current.clear();
        }
        await turn();
        expect(callers.map(({ actual }) => actual)).toEqual(callers.map(({ expected }) => expected));
        expect([...cache]).toEqual([...stored].toReversed());
        for (const { signal, state } of loads)
          if (state !== "ended") expect(signal.aborted).toBe(state === "abandoned");
        expect(cache.getStats()).toMatchObject({
          ...counts,
          loads_in_flight: loads.filter(({ state }) => state === "running").length,
        });
      }
    }),
    { numRuns: 300 },
  );
});
