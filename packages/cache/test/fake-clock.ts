import type { Clock } from "../src/index.ts";

/** A clock that tests move. It starts at 0, which is a time like any other. */
export class FakeClock implements Clock {
  time = 0;

  now(): number {
    return this.time;
  }

  advance(ms: number): void {
    this.time += ms;
  }
}
