import { braced, isLabelName, labelText } from "./label-text.ts";
import { numberText } from "./numbers.ts";
import type { Exemplar } from "./family.ts";

/** OpenMetrics' limit for the names and values of an exemplar's labels together. */
const MAX_CHARACTERS = 128;

const NAMES = "trace_id".length + "span_id".length;

/** The last sampled observation of each bucket. Made when the first one comes. */
export class Exemplars {
  readonly #traceIds: (string | undefined)[];
  readonly #spanIds: (string | undefined)[];
  readonly #values: Float64Array;
  readonly #times: Float64Array;

  constructor(slots: number) {
    // Not sparse: every slot is there from the start.
    this.#traceIds = Array.from({ length: slots }, () => undefined);
    this.#spanIds = Array.from({ length: slots }, () => undefined);
    this.#values = new Float64Array(slots);
    this.#times = new Float64Array(slots);
  }

  set(slot: number, value: number, traceId: string, spanId: string | undefined): void {
    if (NAMES + traceId.length + (spanId?.length ?? 0) > MAX_CHARACTERS) return;
    this.#traceIds[slot] = traceId;
    this.#spanIds[slot] = spanId;
    this.#values[slot] = value;
    this.#times[slot] = Date.now();
  }

  /** What stands behind the value of the slot's line. */
  text(slot: number): string {
    const traceId = this.#traceIds[slot];
    if (traceId === undefined) return "";
    const spanId = this.#spanIds[slot];
    const labels: [string, string][] = [["trace_id", traceId]];
    if (spanId !== undefined) labels.push(["span_id", spanId]);
    return line(labels, this.#values[slot] as number, (this.#times[slot] as number) / 1000);
  }
}

/** The same for one that somebody else kept; nothing where OpenMetrics does not allow it. */
export function exemplarText({ labels, value, timestampSeconds }: Exemplar): string {
  const pairs = Object.entries(labels);
  if (!pairs.every(([name]) => isLabelName(name))) return "";
  const characters = pairs.reduce((sum, [name, text]) => sum + name.length + text.length, 0);
  return characters > MAX_CHARACTERS ? "" : line(pairs, value, timestampSeconds);
}

function line(labels: [string, string][], value: number, timestampSeconds: number | undefined): string {
  const time = timestampSeconds === undefined ? "" : ` ${timestampSeconds.toFixed(3)}`;
  return ` # ${braced(labelText(labels)) || "{}"} ${numberText(value)}${time}`;
}
