/** The answer to a scrape, written in pieces so that whatever else the process does goes on meanwhile. */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Exposed } from "./gathering.ts";

/** What is written in one go: about a tenth of a millisecond, and still well below one before V8 has optimised it. */
const TURN_CHARACTERS = 16 * 1024;
const CHUNK_CHARACTERS = 64 * 1024;

interface Wanted {
  openMetrics: boolean;
  /** Aborts when nobody waits any longer. */
  signal: AbortSignal | undefined;
  /** Called with what a metric's lines failed with; the metric is left out. */
  failed: (metric: string, error: unknown) => void;
}

/**
 * Writes the metrics in Prometheus' text format 0.0.4, or OpenMetrics 1.0. A metric without lines is left out, and so is
 * one that throws, with all its lines.
 *
 * @throws the signal's reason, as soon as it aborts
 */
export async function write(
  metrics: Iterable<Exposed>,
  { openMetrics, signal, failed }: Wanted,
): Promise<Buffer<ArrayBuffer>[]> {
  const chunks: Buffer<ArrayBuffer>[] = [];
  let text = "";
  let turnEnds = TURN_CHARACTERS;
  for (const metric of metrics) {
    const { definition } = metric;
    const before = { chunks: chunks.length, text };
    let empty = true;
    try {
      for (const piece of metric.lines(openMetrics)) {
        if (empty) text += openMetrics ? definition.openMetricsHead : definition.textHead;
        empty = false;
        text += piece;
        if (text.length < turnEnds) continue;
        if (text.length >= CHUNK_CHARACTERS) {
          chunks.push(Buffer.from(text));
          text = "";
        }
        turnEnds = text.length + TURN_CHARACTERS;
        await nextTurn();
        signal?.throwIfAborted();
      }
    } catch (error) {
      signal?.throwIfAborted();
      chunks.length = before.chunks;
      text = before.text;
      turnEnds = text.length + TURN_CHARACTERS;
      failed(definition.name, error);
    }
  }
  if (openMetrics) text += "# EOF\n";
  if (text !== "") chunks.push(Buffer.from(text));
  return chunks;
}
