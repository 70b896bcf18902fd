import { type MultiStreamRes, pino } from "pino";

/** A multistream of pino's: all lines from info on, and those from error on. */
export function byLevel(): { destination: MultiStreamRes<string>; all: string[]; bad: string[] } {
  const all: string[] = [];
  const bad: string[] = [];
  const destination = pino.multistream([
    { level: "info", stream: { write: (line: string) => all.push(line) } },
    { level: "error", stream: { write: (line: string) => bad.push(line) } },
  ]);
  return { destination, all, bad };
}
