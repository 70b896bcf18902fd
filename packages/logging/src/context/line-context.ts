import { Bindings, NO_BINDINGS } from "../line/bindings.ts";
import type { LineWriter } from "../line/line-writer.ts";
import type { Ambient } from "../line-hooks.ts";
import { type AmbientContext, currentContext } from "./ambient.ts";
import { activeSpan, spanIds } from "./open-telemetry.ts";

/** These tell of one span together: a trace_id from nearer by leaves those of another source out. */
const OF_A_TRACE: ReadonlySet<string> = new Set(["trace_id", "span_id", "trace_flags"]);

/**
 * What the lines of one logger and its children carry: ids of OpenTelemetry's active span, then the fields of the
 * context, then the logger's own. Of a name that comes more than once, the later one stands.
 *
 * A context is serialised once by the logger's own writer, so that its redaction and limits hold.
 */
export function createLineContext(lines: LineWriter, withOpenTelemetry: boolean): Ambient {
  const contexts = new Layers<AmbientContext>(({ tracestate: _carriedOnly, ...shown }) =>
    lines.extend(NO_BINDINGS, shown),
  );
  const spans = new Layers<object>(spanIds);
  return (own) => {
    const context = currentContext();
    const carried = context === undefined ? own : contexts.below(context, own);
    const span = withOpenTelemetry ? activeSpan() : undefined;
    return span === undefined ? carried : spans.below(span, carried);
  };
}

/** A layer of fields, with what came of it under the first bindings that it was put, and under others. */
interface Layer {
  readonly bindings: Bindings;
  own: Bindings;
  joined: Bindings;
  others: WeakMap<Bindings, Bindings> | undefined;
}

/** Remembers the text of each source of fields for as long as that lives. */
class Layers<Source extends object> {
  readonly #serialize: (source: Source) => Bindings;
  readonly #known = new WeakMap<Source, Layer>();

  constructor(serialize: (source: Source) => Bindings) {
    this.#serialize = serialize;
  }

  /** `own`, and what the source adds before it. */
  below(source: Source, own: Bindings): Bindings {
    const layer = this.#known.get(source);
    if (layer === undefined) {
      const bindings = this.#serialize(source);
      const joined = join(bindings, own);
      this.#known.set(source, { bindings, own, joined, others: undefined });
      return joined;
    }
    if (layer.own === own) return layer.joined;
    layer.others ??= new WeakMap();
    let joined = layer.others.get(own);
    if (joined === undefined) layer.others.set(own, (joined = join(layer.bindings, own)));
    return joined;
  }
}

function join(below: Bindings, own: Bindings): Bindings {
  if (below.names.length === 0) return own;
  if (own.names.length === 0) return below;
  const hasTrace = own.names.includes("trace_id");
  const names: string[] = [];
  const values: string[] = [];
  below.names.forEach((name, i) => {
    if (own.names.includes(name) || (hasTrace && OF_A_TRACE.has(name))) return;
    names.push(name);
    values.push(below.values[i] as string);
  });
  return names.length === 0 ? own : new Bindings([...names, ...own.names], [...values, ...own.values]);
}
