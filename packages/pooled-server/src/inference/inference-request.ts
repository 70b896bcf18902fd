/** What somebody asks of a model, and how the service passes it on. */
import type { KeyScope } from "./cache-key.ts";
import type { CacheOutcome } from "./cache-status.ts";
import type { InferenceDirectives } from "./directives.ts";
import type { JsonObject } from "./json.ts";
import type { Forwarded } from "./upstream-pieces.ts";

/** A request for an inference, whatever it came by. */
export interface InferenceRequest {
  /** The body in OpenAI's format. */
  body: JsonObject;
  /** The path or name of what is asked; two routes never share an answer. */
  route: string;
  /** Whose request it is: the credential or a name; never stored. Two tenants never share an answer. Default: nobody's. */
  tenant?: string | undefined;
  /** The model that the request comes down to, where the body's says less (an alias, "auto"). Default: the body's. */
  model?: string | undefined;
  /** A further division: only requests with the same word share answers. Default: none. */
  namespace?: string | undefined;
  /** What the request says about caching besides the body's `cache`. */
  directives?: InferenceDirectives | undefined;
  /** The `traceparent` for the call; default: that of the request being handled. */
  traceparent?: string | undefined;
}

/** What `forward` is given. */
export interface ForwardCall {
  /** The body to send: without the cache's own field, with the model resolved, with the usage asked for in streams. */
  readonly body: JsonObject;
  /** Whether the client who leads wants a stream. Either form will do for everybody. */
  readonly stream: boolean;
  /** Aborts when nobody waits for this call any more. The only one to listen to: others may wait than who asked first. */
  readonly signal: AbortSignal;
  /**
   * For calls by other means than the server's `httpPool`, which sends it by itself. `undefined` where OpenTelemetry's
   * instrumentation of the client does: a second one makes both invalid.
   */
  readonly traceparent: string | undefined;
}

/** Makes the expensive call. */
export type Forward = (call: ForwardCall) => Promise<Forwarded> | Forwarded;

export interface CompleteOptions {
  /** Lets this caller leave; the call goes on for the others, and is aborted when none is left. */
  signal?: AbortSignal | undefined;
  /** Told where the answer will come from, before the call; for answers that fail, too. */
  onOutcome?: ((outcome: CacheOutcome) => void) | undefined;
}

/** Whose the request is and where it belongs. */
export function scopeOf(
  { route, tenant = "", namespace = "" }: InferenceRequest,
  { model }: JsonObject,
  directives: InferenceDirectives,
): KeyScope {
  return {
    route,
    tenant,
    namespace: JSON.stringify([namespace, directives.namespace ?? ""]),
    model: typeof model === "string" ? model : "",
  };
}

/** The body as it is sent: the model resolved, so that an alias and what it stands for share their answers. */
export function resolvedBody({ model, body }: InferenceRequest): JsonObject {
  return model === undefined ? body : { ...body, model };
}
