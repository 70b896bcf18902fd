import fc from "fast-check";
import { expect, test } from "vitest";
import type { Buffering } from "../src/destination/buffering.ts";
import { DescriptorSink } from "../src/destination/descriptor.ts";
import type { LineOwner } from "../src/destination/sink.ts";
import type { System } from "../src/destination/system.ts";

const LEVELS = [10, 20, 30, 40, 50, 60] as const;
const BUFFERING: Buffering = { sizeBytes: 512, flushIntervalMs: 1000, limitBytes: 4096 };
const LONGEST = 300;

/** A descriptor that does as it is told: takes so many bytes in all, then fails with a code; and timers that a test lets go off. */
class FaultyDescriptor implements System {
  taken = "";
  room = Infinity;
  most = Infinity;
  code = "EAGAIN";
  #time = 0;
  readonly #timers = new Set<() => void>();
  readonly #pieces: Buffer[] = [];

  write(_fd: number, data: string | Buffer): number {
    const bytes = Buffer.from(data as string);
    const taken = Math.min(bytes.length, this.room, this.most);
    if (taken === 0) throw Object.assign(new Error(this.code), { code: this.code });
    this.room -= taken;
    this.#pieces.push(Buffer.from(bytes.subarray(0, taken)));
    // Byte for byte, as a character may be out by half.
    this.taken = Buffer.concat(this.#pieces).toString("latin1");
    return taken;
  }

  close = (): void => undefined;
  identityOf = (): string => "one";
  now = (): number => this.#time;
  pause = (ms: number): void => void (this.#time += ms);
  startTimer = (callback: () => void): { cancel(): void } => {
    this.#timers.add(callback);
    return { cancel: () => this.#timers.delete(callback) };
  };

  goOff(): void {
    const due = [...this.#timers];
    this.#timers.clear();
    for (const callback of due) callback();
  }
}

class Owner implements LineOwner {
  readonly buffering: Buffering | undefined;
  readonly dropped: number[] = [];
  reports = 0;
  constructor(buffering: Buffering | undefined) {
    this.buffering = buffering;
  }
  drop(level: number): void {
    this.dropped.push(level);
  }
  reportDrops(): boolean {
    this.reports++;
    return true;
  }
}

interface Model {
  readonly lines: { readonly text: string; readonly level: number }[];
}
interface Real {
  readonly descriptor: FaultyDescriptor;
  readonly sink: DescriptorSink;
  readonly buffered: Owner;
  readonly direct: Owner;
}
type Command = fc.Command<Model, Real>;

function check({ lines }: Model, { descriptor, sink, buffered, direct }: Real): void {
  const out = descriptor.taken.split("\n");
  const torn = out.pop() ?? "";
  // Whole lines only, each once, in the order in which they were logged.
  let at = 0;
  for (const line of out) {
    while (at < lines.length && lines[at]?.text !== `${line}\n`) at++;
    expect(at, `${line} is out of order, or no line`).toBeLessThan(lines.length);
    at++;
  }
  if (torn !== "") expect(lines.slice(at).some(({ text }) => text.startsWith(torn))).toBe(true);
  const held = sink.bufferedBytes;
  expect(held).toBeLessThanOrEqual(BUFFERING.limitBytes + LONGEST);
  if (held === 0) expect(out.length + buffered.dropped.length + direct.dropped.length).toBe(lines.length);
}

const command = (name: string, act: (model: Model, real: Real) => void): Command => ({
  check: () => true,
  run(model, real) {
    act(model, real);
    check(model, real);
  },
  toString: () => name,
});

const log = fc
  .record({
    level: fc.constantFrom(...LEVELS),
    text: fc.stringMatching(/^[a-zé😀]{0,60}$/u),
    times: fc.integer({ min: 1, max: 40 }),
    isDirect: fc.nat(9).map((dice) => dice === 0),
  })
  .map(({ level, text, times, isDirect }) =>
    command(
      `log ${times} of ${level}${isDirect ? " directly" : ""}: ${text}`,
      ({ lines }, { sink, buffered, direct }) => {
        for (let i = 0; i < times; i++) {
          const line = `${lines.length} ${text}\n`;
          lines.push({ text: Buffer.from(line).toString("latin1"), level });
          sink.write(line, level, isDirect ? direct : buffered);
        }
      },
    ),
  );
const fault = fc
  .record({
    room: fc.nat(2000),
    most: fc.integer({ min: 1, max: 700 }),
    code: fc.constantFrom("EAGAIN", "ENOSPC", "EIO", "EBUSY"),
  })
  .map(({ room, most, code }) =>
    command(`room for ${room}, ${most} at once, then ${code}`, (_, { descriptor }) => {
      Object.assign(descriptor, { room, most, code });
    }),
  );
const recover = fc.constant(
  command("recover", (_, { descriptor }) => Object.assign(descriptor, { room: Infinity, most: Infinity })),
);
const goOff = fc.constant(command("timer", (_, { descriptor }) => descriptor.goOff()));
const flushSync = fc.constant(command("flushSync", (_, { sink }) => sink.flushSync()));
const atEnd = fc.constant(command("end of the process", (_, { sink }) => sink.flushAtEnd(true)));

test("whatever a descriptor does: whole lines, in order, none twice, all accounted for, within the limit", () => {
  fc.assert(
    fc.property(fc.commands([log, fault, recover, goOff, flushSync, atEnd], { maxCommands: 60 }), (commands) => {
      const descriptor = new FaultyDescriptor();
      const real: Real = {
        descriptor,
        sink: new DescriptorSink(99, { system: descriptor }),
        buffered: new Owner(BUFFERING),
        direct: new Owner(undefined),
      };
      const model: Model = { lines: [] };
      fc.modelRun(() => ({ model, real }), commands);
      // In the end it recovers: nothing may be left, and a loss has been told.
      Object.assign(descriptor, { room: Infinity, most: Infinity });
      real.sink.flushAtEnd(true);
      expect(real.sink.bufferedBytes).toBe(0);
      check(model, real);
      for (const owner of [real.buffered, real.direct]) expect(owner.reports > 0).toBe(owner.dropped.length > 0);
      void real.sink.close(0);
    }),
    { numRuns: 300 },
  );
});

test("where the limit is reached, the lowest levels make room, their newest lines first", () => {
  const descriptor = new FaultyDescriptor();
  const sink = new DescriptorSink(99, { system: descriptor });
  const owner = new Owner({ sizeBytes: 256, flushIntervalMs: 1000, limitBytes: 4096 });
  descriptor.room = 0;
  const pad = "x".repeat(90);
  for (const level of [20, 30, 50, 20, 30, 50]) {
    for (let i = 0; i < 15; i++) sink.write(`${level} ${i} ${pad}\n`, level, owner);
  }
  descriptor.room = Infinity;
  sink.flushAtEnd(true);
  const kept = descriptor.taken.split("\n").map((line) => Number.parseInt(line, 10));
  expect(kept.filter((level) => level === 50)).toHaveLength(30);
  expect(owner.dropped.length).toBeGreaterThan(40);
  expect(owner.dropped).not.toContain(50);
  void sink.close(0);
});
