import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Flight, type FlightShare, type Ticket } from "../../src/inference/flight.ts";
import { Piece } from "../../src/inference/piece.ts";

/** Lets everything that is ready run. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

interface Reader {
  share: FlightShare<number>;
  abort: AbortController;
  got: number[];
  /** undefined: still reading. */
  end: "whole" | { error: unknown } | undefined;
  left: boolean;
}

interface Model {
  pieces: number;
  outcome: "whole" | "failed" | "abandoned" | undefined;
  aborts: number;
}

interface Real {
  flight: Flight<number>;
  readers: Reader[];
  abandoned: number;
}

const TICKET: Ticket = { result: "miss", startedAt: 0 };
const FAILURE = new Error("the upstream broke");

class Step implements fc.AsyncCommand<Model, Real> {
  readonly #name: string;
  readonly #step: (model: Model, real: Real) => void;

  constructor(name: string, step: (model: Model, real: Real) => void) {
    this.#name = name;
    this.#step = step;
  }

  check(): boolean {
    return true;
  }

  async run(model: Model, real: Real): Promise<void> {
    this.#step(model, real);
    await settle();
    const { flight, readers } = real;
    expect(flight.pieces).toHaveLength(model.pieces);
    expect(flight.waiters).toBe(readers.filter(({ left }) => !left).length);
    expect(flight.signal.aborted).toBe(model.outcome === "abandoned");
    expect(real.abandoned).toBe(model.outcome === "abandoned" ? 1 : 0);
    for (const reader of readers) {
      // Everybody has every piece from the first one on, in order, as long as they are there to read.
      expect(reader.got).toEqual(reader.got.map((_, i) => i));
      if (!reader.left) expect(reader.got).toHaveLength(model.pieces);
    }
  }

  toString(): string {
    return this.#name;
  }
}

function join(model: Model, real: Real): void {
  const abort = new AbortController();
  const share = real.flight.join(() => 0, abort.signal, TICKET);
  const reader: Reader = { share, abort, got: [], end: undefined, left: false };
  real.readers.push(reader);
  void (async () => {
    try {
      for await (const batch of share.batches()) reader.got.push(...batch.map(({ value }) => value["n"] as number));
      reader.end = "whole";
    } catch (error) {
      reader.end = { error };
    }
    reader.left = true;
  })();
  // Who comes after the end gets the whole at once, and has no share to keep.
  if (model.outcome !== undefined) reader.left = true;
}

function leave(model: Model, real: Real, which: number): void {
  const open = real.readers.filter(({ left }) => !left);
  const reader = open[which % Math.max(1, open.length)];
  if (reader === undefined) return;
  reader.left = true;
  reader.abort.abort(new Error("left"));
  if (open.length === 1 && model.outcome === undefined) model.outcome = "abandoned";
}

const commands = [
  fc.constant(new Step("join", join)),
  fc.nat().map((which) => new Step(`leave(${which})`, (model, real) => leave(model, real, which))),
  fc.constant(
    new Step("append", (model, real) => {
      real.flight.append(new Piece("chunk", { n: model.pieces }));
      if (model.outcome === undefined) model.pieces++;
    }),
  ),
];
const endings = [
  fc.constant(
    new Step("end", (model, real) => {
      real.flight.end();
      model.outcome ??= "whole";
    }),
  ),
  fc.constant(
    new Step("fail", (model, real) => {
      real.flight.fail(FAILURE);
      model.outcome ??= "failed";
    }),
  ),
];

test("join, leave, append, end and fail in any order: everybody reads all from the start, the last to leave aborts, all end alike", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.commands([...commands, ...commands, ...commands, ...endings], { maxCommands: 40 }),
      async (steps) => {
        const real: Real = { flight: new Flight(() => real.abandoned++), readers: [], abandoned: 0 };
        const model: Model = { pieces: 0, outcome: undefined, aborts: 0 };
        await fc.asyncModelRun(() => ({ model, real }), steps);
        // Whatever happened, it comes to an end, and that is the same for all who stayed.
        const stayed = real.readers.filter(({ left, abort }) => !left || !abort.signal.aborted);
        real.flight.end();
        await settle();
        for (const { end, abort } of stayed) {
          if (abort.signal.aborted) continue;
          if (model.outcome === "failed") expect(end).toEqual({ error: FAILURE });
          else if (model.outcome !== "abandoned") expect(end).toBe("whole");
        }
        expect(real.flight.waiters).toBe(0);
      },
    ),
    { numRuns: 300 },
  );
});

test("who asks for the document and who reads the stream get the same flight, and a document is made once", async () => {
  const flight = new Flight<number>(() => undefined);
  const shares = Array.from({ length: 3 }, () => flight.join(() => 0, undefined, TICKET));
  const documents = shares.map((share) => share.document());
  flight.append(new Piece("chunk", { choices: [{ index: 0, delta: { content: "a" }, finish_reason: "stop" }] }));
  flight.end();
  const [first, ...rest] = await Promise.all(documents);
  for (const other of rest) expect(other).toBe(first);
});

test("a share that is given back in the middle of a wait ends the wait", async () => {
  const flight = new Flight<number>(() => undefined);
  const stays = flight.join(() => 0, undefined, TICKET);
  const goes = flight.join(() => 0, undefined, TICKET);
  const waiting = goes.document();
  goes.leave();
  goes.leave();
  await expect(waiting).rejects.toMatchObject({ name: "AbortError" });
  expect([flight.waiters, flight.signal.aborted]).toEqual([1, false]);
  stays.leave();
  expect(flight.signal.aborted).toBe(true);
});

test("somebody who had left before joining takes nothing, and aborts a call that nobody else waits for", () => {
  const flight = new Flight<number>(() => undefined);
  flight.join(() => 0, AbortSignal.abort(), TICKET);
  expect([flight.waiters, flight.signal.aborted]).toEqual([0, true]);
});

test("another one's lead takes the place of the leader's once, whoever comes and goes after that", () => {
  const flight = new Flight<string>(() => undefined);
  const first = flight.join(() => "first", undefined, TICKET);
  const second = flight.join(() => "second", undefined, { ...TICKET, body: { n: 2 } });
  first.leave();
  expect(flight.promote()).toBe(second.lead);
  expect(flight.leader?.body).toEqual({ n: 2 });
  flight.join(() => "third", undefined, TICKET).leave();
  expect(flight.promote()).toBeUndefined();
});
