import type { Logger as PinoLogger } from "pino";
import type { LevelSignal } from "../config.ts";
import { LEVEL_NUMBERS, type LogLevel } from "../levels.ts";
import type { PinoCore } from "../pino-core.ts";
import type { LevelChange } from "./level-control.ts";
import { WeaklyHeld } from "./weakly-held.ts";

const STEPS = ["info", "debug", "trace"] as const;

/** The levels that signals go through from here: what is more talkative, step by step. */
export function stepsFrom(level: string): readonly LogLevel[] {
  const from = level === "silent" ? Infinity : (LEVEL_NUMBERS[level as keyof typeof LEVEL_NUMBERS] ?? 0);
  return STEPS.filter((step) => LEVEL_NUMBERS[step] < from);
}

/** What each follower does at a signal, kept no longer than its root. */
const steps = new WeakMap<PinoLogger, () => void>();
/** One listener a signal, however many loggers follow it. It stays: without one, the next signal ends the process. */
const followers = new Map<LevelSignal, WeaklyHeld<object, PinoLogger>>();

/**
 * Lets the level of the root step with each of these signals, as long as somebody holds the root or a child of it.
 *
 * @returns ends it
 */
export function followSignal(signal: LevelSignal, core: PinoCore): () => void {
  let change: LevelChange | undefined;
  let next: readonly LogLevel[] = [];

  steps.set(core.root, () => {
    const from = core.root.level;
    if (change === undefined) next = stepsFrom(from);
    change?.undo();
    const [step, ...others] = next;
    next = others;
    change = step === undefined ? undefined : core.levels.setLevel(core.root, step, undefined);
    core.say(LEVEL_NUMBERS.info, "log level changed", { from, to: core.root.level, signal });
  });
  followersOf(signal, core)?.set({}, core.root);
  return () => void steps.delete(core.root);
}

function followersOf(signal: LevelSignal, core: PinoCore): WeaklyHeld<object, PinoLogger> | undefined {
  const known = followers.get(signal);
  if (known !== undefined) return known;
  const all = new WeaklyHeld<object, PinoLogger>();
  try {
    process.on(signal, () => {
      for (const [, root] of all.entries()) steps.get(root)?.();
    });
    followers.set(signal, all);
    return all;
  } catch (error) {
    // Windows doesn't know these signals. A service should not fail to start over its logs.
    const reason = error instanceof Error ? error.message : String(error);
    core.say(LEVEL_NUMBERS.warn, `levelSignal has no effect: this system has no ${signal}`, { reason });
    return undefined;
  }
}
