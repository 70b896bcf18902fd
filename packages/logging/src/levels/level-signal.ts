import type { LevelSignal } from "../config.ts";
import { LEVEL_NUMBERS, type LogLevel } from "../levels.ts";
import type { PinoCore } from "../pino-core.ts";
import type { LevelChange } from "./level-control.ts";

const STEPS = ["info", "debug", "trace"] as const;

/** The levels that signals go through from here: what is more talkative, step by step. */
export function stepsFrom(level: string): readonly LogLevel[] {
  const from = level === "silent" ? Infinity : (LEVEL_NUMBERS[level as keyof typeof LEVEL_NUMBERS] ?? 0);
  return STEPS.filter((step) => LEVEL_NUMBERS[step] < from);
}

/** One listener a signal, however many loggers follow it. It stays: without one, the next signal ends the process. */
const followers = new Map<LevelSignal, Set<() => void>>();

/** Lets the level of the root step with each of these signals. */
export function followSignal(signal: LevelSignal, core: PinoCore): void {
  let change: LevelChange | undefined;
  let steps: readonly LogLevel[] = [];

  const step = (): void => {
    const from = core.root.level;
    if (change === undefined) steps = stepsFrom(from);
    change?.undo();
    const [next, ...others] = steps;
    steps = others;
    change = next === undefined ? undefined : core.levels.setLevel(core.root, next, undefined);
    core.say(LEVEL_NUMBERS.info, "log level changed", { from, to: core.root.level, signal });
  };

  const known = followers.get(signal);
  if (known !== undefined) {
    known.add(step);
    return;
  }
  const all = new Set([step]);
  try {
    process.on(signal, () => {
      for (const each of all) each();
    });
    followers.set(signal, all);
  } catch (error) {
    // Windows doesn't know these signals. A service should not fail to start over its logs.
    const reason = error instanceof Error ? error.message : String(error);
    core.say(LEVEL_NUMBERS.warn, `levelSignal has no effect: this system has no ${signal}`, { reason });
  }
}
