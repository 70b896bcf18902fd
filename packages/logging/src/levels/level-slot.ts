/**
 * A level that was set and may be undone. Of all that were set for the same thing, the latest that has not been undone
 * holds.
 */
export class LevelSlot {
  #current: Setting | undefined;

  /** The level that holds; `undefined` where none is set. */
  get level(): string | undefined {
    return this.#current?.level;
  }

  /** @returns what undoes this one; idempotent, and true if that changes the level that holds */
  set(level: string): () => boolean {
    const setting: Setting = { level, undone: false, before: undefined };
    // Only the one who can undo this keeps what was before: a thousand settings that nobody undoes are one.
    const before = this.#current;
    this.#current = setting;
    return () => {
      if (setting.undone) return false;
      setting.undone = true;
      setting.before = before;
      if (this.#current !== setting) return false;
      this.#current = stillHolds(setting);
      return true;
    };
  }
}

interface Setting {
  readonly level: string;
  undone: boolean;
  /** Known once it is undone. */
  before: Setting | undefined;
}

function stillHolds(setting: Setting): Setting | undefined {
  let holds: Setting | undefined = setting;
  while (holds?.undone === true) holds = holds.before;
  return holds;
}
