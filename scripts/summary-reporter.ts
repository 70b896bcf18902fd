/**
 * A vitest reporter that closes a run with one plain line, `N passed, N failed, N skipped`, alone on its line and
 * without colours, for machines and for the eye. Skipped tests are listed above it, with the reason where they gave one.
 *
 * What stops tests from running counts as failed, so that "0 failed" is never said of a run that did not go well: a file
 * that could not be loaded, a hook that threw, an error outside of all tests.
 */
import type { Reporter, SerializedError, TestCase, TestModule, TestSuite } from "vitest/node";

// A run narrowed by `-t` skips all the rest, which nobody wants to read.
const LISTED = 25;

export default class SummaryReporter implements Reporter {
  readonly #write: (text: string) => void;

  constructor({ write = (text: string) => void process.stdout.write(text) }: { write?: (text: string) => void } = {}) {
    this.#write = write;
  }

  async onTestRunEnd(modules: readonly TestModule[], unhandledErrors: readonly SerializedError[]): Promise<void> {
    const skipped = modules.flatMap((module) => [...module.children.allTests("skipped")].map(describeSkipped));
    const passed = countTests(modules, "passed");
    const failed = countTests(modules, "failed") + countBroken(modules) + unhandledErrors.length;
    // The other reporters get the same event at the same moment; what they print on it comes first.
    await new Promise((resolve) => void setImmediate(resolve));
    const lines = skipped.slice(0, LISTED);
    if (skipped.length > LISTED) lines.push(`... and ${skipped.length - LISTED} more`);
    const list = lines.length === 0 ? "" : `Skipped:\n${lines.map((line) => `  ${line}\n`).join("")}\n`;
    this.#write(`${list}${passed} passed, ${failed} failed, ${skipped.length} skipped\n`);
  }
}

function countTests(modules: readonly TestModule[], state: "passed" | "failed"): number {
  return modules.reduce((sum, module) => sum + [...module.children.allTests(state)].length, 0);
}

/** Files and suites with an error of their own: their tests did not run, so none of them counts as failed. */
function countBroken(modules: readonly TestModule[]): number {
  const all = modules.flatMap((module): (TestModule | TestSuite)[] => [module, ...module.children.allSuites()]);
  return all.filter((one) => one.errors().length > 0).length;
}

function describeSkipped(test: TestCase): string {
  const result = test.result();
  const reason = result.state === "skipped" && result.note !== undefined ? `: ${result.note}` : "";
  return `${test.module.project.name}: ${test.fullName}${reason}`;
}
