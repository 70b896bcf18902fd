import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

/** The heap after a collection, measured again and again. */
export class Heap {
  readonly #samples: number[] = [];

  /** In bytes. */
  sample(): number {
    collect();
    const { heapUsed, external } = process.memoryUsage();
    this.#samples.push(heapUsed + external);
    return heapUsed + external;
  }

  /**
   * By how many bytes the heap has grown since it had warmed up, in a straight line through the last three quarters of the
   * samples (least squares): a single sample may be taken in the middle of something.
   */
  growth(): number {
    const samples = this.#samples.slice(Math.floor(this.#samples.length / 4));
    const middle = (samples.length - 1) / 2;
    const mean = samples.reduce((sum, each) => sum + each, 0) / samples.length;
    let above = 0;
    let below = 0;
    for (const [index, each] of samples.entries()) {
      above += (index - middle) * (each - mean);
      below += (index - middle) ** 2;
    }
    return below === 0 ? 0 : (above / below) * (samples.length - 1);
  }
}
