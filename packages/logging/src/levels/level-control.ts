import { checkOptions } from "@vg/internal";
import { LoggerConfigError } from "../errors.ts";
import type { LogLevel } from "../levels.ts";
import { checkComponent, checkLevel, componentKey, namesAbove } from "./component-levels.ts";
import { LevelSlot } from "./level-slot.ts";
import { WeaklyHeld } from "./weakly-held.ts";

export interface LevelOptions {
  /** The component whose level is set, with all below it, for every logger of the family. Default: this logger. */
  component?: string | undefined;
  /** Milliseconds after which it ends by itself, from 1 to 2,147,483,647 (24.8 days). Default: it doesn't. */
  forMs?: number | undefined;
}

/** A level that was set. Undone, what was set before it holds again, unless that was undone too. */
export interface LevelChange extends Disposable {
  /** Idempotent. `using change = logger.setLevel("debug")` does it at the end of the block. */
  undo(): void;
}

/** What is known of the instances: a child has its parent as prototype, and its level until it has its own. */
export interface Instances<I> {
  readonly root: I;
  /** A child of the root that adds nothing to it. */
  makeChild(): I;
  /** The level in force for the instance. */
  read(instance: I): string;
  /** Gives the instance a level of its own. */
  apply(instance: I, level: string): void;
  /** The same, or notes that it has one, for an instance that has no children yet. */
  start(instance: I, level: string | undefined): void;
}

/**
 * The levels of a logger and of all its children. pino's instances hold the levels that are in force, and this sets them.
 *
 * Most children need nothing: by way of the prototype they have the level of their parent. For each component there is
 * one instance with the component's level, which is the parent of all its loggers; it lives as long as they do. The
 * few others, whose own level was undone, are told after each change, parents before children. All are held weakly.
 */
export class LevelControl<I extends object> {
  readonly #now: () => number;
  readonly #instances: Instances<I>;
  readonly #rules = new Map<string, LevelSlot>();
  readonly #own = new WeakMap<I, LevelSlot>();
  readonly #components = new WeaklyHeld<string, I>();
  readonly #followers = new WeaklyHeld<object, I>();
  readonly #following = new WeakSet<I>();
  readonly #temporary = new Set<{ readonly endsAt: number; readonly change: LevelChange }>();

  /** @param levels of components */
  constructor(now: () => number, levels: Readonly<Record<string, LogLevel>>, instances: Instances<I>) {
    this.#now = now;
    this.#instances = instances;
    for (const [component, level] of Object.entries(levels)) this.#ruleOf(component).set(level);
    this.madeWith(instances.root);
  }

  /** Notes a level that the instance has been given directly, as by pino's `level`. */
  given(instance: I): void {
    this.#slotOf(instance).set(this.#instances.read(instance));
    this.#tell();
  }

  /** Notes the level that a fresh instance was made with. It has no children yet that would have to be told. */
  madeWith(instance: I): void {
    this.#instances.start(instance, undefined);
    this.#slotOf(instance).set(this.#instances.read(instance));
  }

  /** Gives a fresh child its own level. */
  start(child: I, level: LogLevel): void {
    this.#instances.start(child, level);
    this.#slotOf(child).set(level);
  }

  /** The instance that has the level of the component and nothing else; to be the parent of its loggers. */
  instanceOf(component: string): I {
    this.#endOverdue();
    const key = componentKey(component);
    let instance = this.#components.get(key);
    if (instance === undefined) {
      instance = this.#instances.makeChild();
      this.#instances.start(instance, this.#levelOfComponent(key));
      this.#components.set(key, instance);
    }
    return instance;
  }

  /** Lets a fresh instance have the level of its parent although it needs its own to be told. */
  follow(instance: I): void {
    this.#remember(instance);
    this.#instances.start(instance, this.#instances.read(Object.getPrototypeOf(instance) as I));
  }

  #remember(follower: I): void {
    if (this.#following.has(follower)) return;
    this.#following.add(follower);
    this.#followers.set({}, follower);
  }

  /** @throws LoggerConfigError for a level, a component or a duration that makes no sense */
  setLevel(instance: I, level: unknown, options: unknown): LevelChange {
    const word = checkLevel("Logger", "level", level);
    const { component, forMs } = checkLevelOptions(options);
    this.#endOverdue();
    if (component === undefined && this.#own.get(instance)?.level === undefined) this.#remember(instance);
    const undo = (component === undefined ? this.#slotOf(instance) : this.#ruleOf(component)).set(word);
    if (component === undefined) this.#instances.apply(instance, word);
    this.#tell();

    const change = new Change(() => {
      if (!undo()) return;
      // What holds again is the instance's own, unless it has none and follows.
      const own = component === undefined ? this.#own.get(instance)?.level : undefined;
      if (own !== undefined) this.#instances.apply(instance, own);
      this.#tell();
    });
    return forMs === undefined ? change : this.#until(forMs, change);
  }

  /** The level that is in force for the instance. */
  levelOf(instance: I): string {
    this.#endOverdue();
    return this.#instances.read(instance);
  }

  /** Ends what should have ended by the clock, whose time may go on while timers don't fire. */
  #endOverdue(): void {
    if (this.#temporary.size === 0) return;
    const now = this.#now();
    for (const { endsAt, change } of this.#temporary) if (now >= endsAt) change.undo();
  }

  #until(forMs: number, change: Change): LevelChange {
    const temporary = { endsAt: this.#now() + forMs, change };
    this.#temporary.add(temporary);
    const timer = setTimeout(() => change.undo(), forMs);
    timer.unref();
    change.onEnd = () => {
      clearTimeout(timer);
      this.#temporary.delete(temporary);
    };
    return change;
  }

  #ruleOf(component: string): LevelSlot {
    const key = componentKey(component);
    let slot = this.#rules.get(key);
    if (slot === undefined) this.#rules.set(key, (slot = new LevelSlot()));
    return slot;
  }

  #slotOf(instance: I): LevelSlot {
    let slot = this.#own.get(instance);
    if (slot === undefined) this.#own.set(instance, (slot = new LevelSlot()));
    return slot;
  }

  #tell(): void {
    for (const [key, instance] of this.#components.entries()) this.#bring(instance, this.#levelOfComponent(key));
    const followers = this.#followers.entries().map(([, instance]) => ({ instance, depth: depthOf(instance) }));
    for (const { instance } of followers.toSorted((a, b) => a.depth - b.depth)) {
      const own = this.#own.get(instance)?.level;
      this.#bring(instance, own ?? this.#instances.read(Object.getPrototypeOf(instance) as I));
    }
  }

  #bring(instance: I, level: string): void {
    if (level !== this.#instances.read(instance)) this.#instances.apply(instance, level);
  }

  #levelOfComponent(key: string): string {
    for (const name of namesAbove(key)) {
      const level = this.#rules.get(name)?.level;
      if (level !== undefined) return level;
    }
    return this.#instances.read(this.#instances.root);
  }
}

function depthOf(instance: unknown): number {
  let depth = 0;
  for (let at = instance; at !== null; at = Object.getPrototypeOf(at)) depth++;
  return depth;
}

class Change implements LevelChange {
  readonly #undo: () => void;
  onEnd: (() => void) | undefined;

  constructor(undo: () => void) {
    this.#undo = undo;
  }

  undo(): void {
    this.onEnd?.();
    this.onEnd = undefined;
    this.#undo();
  }

  [Symbol.dispose](): void {
    this.undo();
  }
}

function checkLevelOptions(options: unknown): LevelOptions {
  const check = checkOptions("Logger: setLevel", options ?? {}, (message) => new LoggerConfigError(message));
  const component = check.raw("component");
  if (component !== undefined) checkComponent("Logger: setLevel", "component", component);
  const forMs = check.durationMs("forMs", { fallback: 0, min: 1 });
  check.noOthers();
  return { component: component as string | undefined, forMs: forMs === 0 ? undefined : forMs };
}
