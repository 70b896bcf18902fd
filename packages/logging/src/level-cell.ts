import type { Logger as PinoLogger } from "pino";

/**
 * The level of a pino instance and of those that follow it, where a log call can look at it: a call below the level
 * costs one comparison, and no child has to be found when the level changes.
 */
export interface LevelCell {
  /** pino's number, or `MOVED`. */
  value: number;
}

/** Nothing is below it, so whoever holds such a cell looks closer, and asks `cellOf` for the one that holds now. */
export const MOVED = -1;

/** On an instance with a level of its own; inherited by those that follow it. */
const CELL = Symbol("vg.logging.level");

interface Instance extends PinoLogger {
  [CELL]: LevelCell;
}

export function cellOf(instance: PinoLogger): LevelCell {
  return (instance as Instance)[CELL];
}

/** Keeps the cells of a root and its children right when somebody sets pino's `level`. */
export function keepCells(root: PinoLogger): void {
  startCell(root);
  const inherited = accessorOf(root, "level");
  Object.defineProperty(root, "level", {
    ...inherited,
    set(this: Instance, level: unknown) {
      inherited.set?.call(this, level);
      noteLevel(this);
    },
  });
}

/** For an instance that has, or is about to get, a level of its own, and no followers yet. */
export function startCell(instance: PinoLogger): void {
  (instance as Instance)[CELL] = { value: instance.levelVal };
}

function noteLevel(instance: Instance): void {
  if (Object.hasOwn(instance, CELL)) {
    instance[CELL].value = instance.levelVal;
    return;
  }
  // Its own followers hold the cell that it leaves, and so do those that stay: all have to look again.
  const left = instance[CELL];
  startCell(instance);
  ownerOf(Object.getPrototypeOf(instance) as Instance)[CELL] = { value: left.value };
  left.value = MOVED;
}

function ownerOf(instance: Instance): Instance {
  let owner = instance;
  while (!Object.hasOwn(owner, CELL)) owner = Object.getPrototypeOf(owner) as Instance;
  return owner;
}

/** The getter and setter of a property that the object has or inherits. */
export function accessorOf(object: object, name: string): PropertyDescriptor {
  for (let owner: unknown = object; typeof owner === "object" && owner !== null; owner = Object.getPrototypeOf(owner)) {
    const descriptor = Object.getOwnPropertyDescriptor(owner, name);
    if (descriptor !== undefined) return descriptor;
  }
  throw new TypeError(`pino has no ${name}`);
}
