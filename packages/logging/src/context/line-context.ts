import { Bindings, NO_BINDINGS } from "../line/bindings.ts";
import type { LineWriter } from "../line/line-writer.ts";
import type { Ambient } from "../line-hooks.ts";
import { type Entered, entered } from "./ambient.ts";
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
  const contexts = new ContextLayers(lines);
  const spans = new WeakMap<object, Layer>();
  return (own) => {
    const context = entered();
    const carried = context === undefined ? own : contexts.of(context).under(own);
    const span = withOpenTelemetry ? activeSpan() : undefined;
    if (span === undefined) return carried;
    let layer = spans.get(span);
    if (layer === undefined) spans.set(span, (layer = new Layer(spanIds(span))));
    return layer.under(carried);
  };
}

/**
 * The text of each context for one logger and its children. Most contexts see the lines of one logger only, and few of
 * those: what that made is kept on the context itself, as an entry of a WeakMap costs more than the line.
 */
class ContextLayers {
  readonly #lines: LineWriter;
  readonly #others = new WeakMap<Entered, Layer>();

  constructor(lines: LineWriter) {
    this.#lines = lines;
  }

  of(context: Entered): Layer {
    if (context.owner === this) return context.memo as Layer;
    if (context.owner === undefined) {
      const layer = this.#serialize(context);
      context.memo = layer;
      context.owner = this;
      return layer;
    }
    let layer = this.#others.get(context);
    if (layer === undefined) this.#others.set(context, (layer = this.#serialize(context)));
    return layer;
  }

  #serialize({ fields }: Entered): Layer {
    if (fields.tracestate === undefined) return new Layer(this.#lines.extend(NO_BINDINGS, fields));
    const { tracestate: _carriedOnly, ...shown } = fields;
    return new Layer(this.#lines.extend(NO_BINDINGS, shown));
  }
}

/** The fields of one source, and what came of putting them under those of a logger and of its children. */
class Layer {
  readonly #bindings: Bindings;
  #own: Bindings | undefined;
  #joined: Bindings = NO_BINDINGS;
  #others: WeakMap<Bindings, Bindings> | undefined;

  constructor(bindings: Bindings) {
    this.#bindings = bindings;
  }

  under(own: Bindings): Bindings {
    if (this.#own === own) return this.#joined;
    if (this.#own === undefined) {
      this.#own = own;
      return (this.#joined = join(this.#bindings, own));
    }
    this.#others ??= new WeakMap();
    let joined = this.#others.get(own);
    if (joined === undefined) this.#others.set(own, (joined = join(this.#bindings, own)));
    return joined;
  }
}

function join(below: Bindings, own: Bindings): Bindings {
  if (below.names.length === 0) return own;
  if (own.names.length === 0) return below;
  const hasTrace = own.names.includes("trace_id");
  const kept = below.names.map((name) => !own.names.includes(name) && !(hasTrace && OF_A_TRACE.has(name)));
  if (!kept.includes(false)) {
    return new Bindings([...below.names, ...own.names], [...below.values, ...own.values], below.text + own.text);
  }
  const isKept = (_: string, index: number): boolean => kept[index] === true;
  const names = below.names.filter(isKept);
  if (names.length === 0) return own;
  return new Bindings([...names, ...own.names], [...below.values.filter(isKept), ...own.values]);
}
