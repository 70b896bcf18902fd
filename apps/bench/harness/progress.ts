/** What is used of process.stderr. */
export interface ProgressStream {
  isTTY?: boolean;
  columns?: number;
  write(text: string): unknown;
}

/** Says on standard error what is being measured: a bar on a terminal, otherwise one line a case. */
export class Progress {
  readonly #stream: ProgressStream;
  #lastLabel = "";

  constructor(stream: ProgressStream = process.stderr) {
    this.#stream = stream;
  }

  /** `share` is how much of `label` is done, 0..1. */
  show(label: string, detail: string, share?: number): void {
    if (!this.#stream.isTTY) {
      if (label !== this.#lastLabel) this.#stream.write(`${label} …\n`);
      this.#lastLabel = label;
      return;
    }
    const text = share === undefined ? `${label}  ${detail}` : `${bar(share)} ${label}  ${detail}`;
    this.#stream.write(`\r\x1b[K${text.slice(0, (this.#stream.columns || 80) - 1)}`);
  }

  /** Clears the bar, so that a result can be printed. */
  done(): void {
    if (this.#stream.isTTY) this.#stream.write("\r\x1b[K");
  }
}

const WIDTH = 20;

function bar(share: number): string {
  const full = Math.round(Math.min(1, Math.max(0, share)) * WIDTH);
  return `[${"█".repeat(full)}${"░".repeat(WIDTH - full)}]`;
}
