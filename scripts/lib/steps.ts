/** A script's steps: each has a name and a time, a failure names its step, and a table closes the run. */

export interface StepContext {
  /** Sets the step's remark in the table. */
  note(text: string): void;
  /** Adds the time of a part of the step, which gets a row of its own. */
  part(name: string, ms: number): void;
}

interface Row {
  readonly name: string;
  readonly ms: number;
  readonly outcome: "passed" | "failed" | "";
  readonly note: string;
}

export class Steps {
  /** In the order of their ends; a part, which has no outcome of its own, stands below its step. */
  readonly #rows: Row[] = [];

  get failed(): boolean {
    return this.#rows.some(({ outcome }) => outcome === "failed");
  }

  /** Runs one step and returns what it returns. Rejects with what it failed with, and the step's name. */
  async run<T>(name: string, step: (context: StepContext) => Promise<T>): Promise<T> {
    console.log(`\n=== ${name}`);
    const from = performance.now();
    const parts: Row[] = [];
    let note = "";
    const context: StepContext = {
      note: (text) => void (note = text),
      part: (part, ms) => void parts.push({ name: `  ${part}`, ms, outcome: "", note: "" }),
    };
    const finish = (outcome: Row["outcome"]): void =>
      void this.#rows.push({ name, ms: performance.now() - from, outcome, note }, ...parts);
    try {
      const result = await step(context);
      finish("passed");
      return result;
    } catch (error) {
      finish("failed");
      throw new Error(`${name} failed: ${(error as Error).message}`, { cause: error });
    }
  }

  table(): string {
    const rows = this.#rows.map(({ name, ms, outcome, note }) => [name, seconds(ms), outcome, note]);
    const total = this.#rows.reduce((sum, { ms, outcome }) => (outcome === "" ? sum : sum + ms), 0);
    return textTable([["step", "time", "outcome", ""], ...rows, ["all", seconds(total), "", ""]]);
  }
}

/** Runs a script: prints the table whatever happens, and what went wrong under it. */
export async function runScript(script: (steps: Steps) => Promise<void>): Promise<void> {
  const steps = new Steps();
  let failure: unknown;
  try {
    await script(steps);
  } catch (error) {
    failure = error;
  }
  console.log(`\n${steps.table()}`);
  if (failure !== undefined) console.error(`\n${(failure as Error).message}`);
  if (failure !== undefined || steps.failed) process.exitCode = 1;
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

function textTable(rows: readonly (readonly string[])[]): string {
  const widths = [0, 1, 2].map((column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const line = (row: readonly string[]): string =>
    [
      row[0]?.padEnd(widths[0] ?? 0),
      // Times end at one column, so that the eye compares them.
      row[1]?.padStart(widths[1] ?? 0),
      row[2]?.padEnd(widths[2] ?? 0),
      row[3],
    ]
      .join("  ")
      .trimEnd();
  return rows.map(line).join("\n");
}
