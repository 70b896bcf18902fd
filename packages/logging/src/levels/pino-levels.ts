import type { Logger as PinoLogger } from "pino";
import { accessorOf, keepCells, startCell } from "../level-cell.ts";
import type { LogLevel } from "../levels.ts";
import { LevelControl } from "./level-control.ts";

/** Puts the levels of a fresh root, and of the children that it will have, under one control. */
export function controlLevels(
  root: PinoLogger,
  now: () => number,
  levels: Readonly<Record<string, LogLevel>>,
): LevelControl<PinoLogger> {
  keepCells(root);
  // pino's `level` tells nobody when it is set, so children inherit this one.
  const inherited = accessorOf(root, "level");
  const apply = (instance: PinoLogger, level: string): void => {
    inherited.set?.call(instance, level);
  };
  const control = new LevelControl<PinoLogger>(now, levels, {
    root,
    makeChild: () => root.child({}),
    read: (instance) => inherited.get?.call(instance) as string,
    apply,
    start(child, level) {
      startCell(child);
      if (level !== undefined) apply(child, level);
    },
  });
  Object.defineProperty(root, "level", {
    ...inherited,
    get(this: PinoLogger): string {
      return control.levelOf(this);
    },
    set(this: PinoLogger, level: string) {
      apply(this, level);
      control.given(this);
    },
  });
  return control;
}
